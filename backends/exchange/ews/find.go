package ews

import "context"

// Found is an item that was found by a property, with values of others.
type Found struct {
	Item
	Values map[string]string // by the names of properties
}

// FindBy finds items of a folder that have a property with its value, MS-OXWSSRCH §2.2.4.17, and reads other properties of them.
func (c *Client) FindBy(ctx context.Context, folder FolderID, by Property, most int, others ...Property) (found []Found, err error) {
	shape := `<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` + extended(propEntryID, "Binary") + by.uri()
	for _, p := range others {
		shape += p.uri()
	}
	r, err := c.do(ctx, newOperation("FindItem", `<m:FindItem Traversal="Shallow">`+shape+"</t:AdditionalProperties></m:ItemShape>"+
		page("IndexedPageItemView", most, 0)+"<m:Restriction><t:IsEqualTo>"+by.uri()+`<t:FieldURIOrConstant><t:Constant Value="`+escape(by.Value)+
		`"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds>`+folder.xml()+"</m:ParentFolderIds></m:FindItem>"))
	var more bool
	err = one(r, err, func(depth int) error {
		return r.root(depth, "Items", &more, func() error {
			f := Found{Values: make(map[string]string)}
			err := r.found(&f)
			// A server that does not obey the restriction gives any items.
			if f.Values[by.Name] == by.Value && len(found) < most {
				found = append(found, f)
			}
			return err
		})
	})
	return found, err
}

// found reads an item with named properties.
func (r *reply) found(f *Found) error {
	err := r.entries(func() error {
		if r.x.name != (name{typesSpace, "ExtendedProperty"}) {
			return r.itemField(&f.Item)
		}
		return r.property(func() func(string) error {
			if r.x.attr("PropertyTag") != "" {
				return binary(&f.EntryID) // no other is asked for by its tag
			}
			named := r.x.attr("PropertyName")
			return func(value string) error {
				f.Values[named] = value
				return nil
			}
		})
	})
	if err == nil && f.ID.ID == "" {
		err = r.lacks("an ItemId")
	}
	return err
}
