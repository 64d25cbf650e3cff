package rop

import "github.com/dipylon/dipylon/backends/mapi"

// GetPropertiesSpecific asks for some properties of an object. MS-OXCROPS §2.2.8.3.
type GetPropertiesSpecific struct {
	Input
	// PropertySizeLimit is how large a value may be: a larger one is [NotEnoughMemory], and 0 leaves it to the buffer.
	PropertySizeLimit uint16
	WantUnicode       bool
	PropertyTags      []mapi.Tag
}

// ID says which operation it is.
func (*GetPropertiesSpecific) ID() ID             { return idGetPropertiesSpecific }
func (r *GetPropertiesSpecific) reply() *RowReply { return &RowReply{columns: r.PropertyTags} }
func (r *GetPropertiesSpecific) write(e *mapi.Encoder) {
	e.Uint16(r.PropertySizeLimit)
	writeWide(e, r.WantUnicode)
	e.Tags(r.PropertyTags)
}

// writeWide writes a Boolean of 16 bits.
func writeWide(e *mapi.Encoder, b bool) {
	writeBool(e, b)
	e.Uint8(0)
}

// RowReply is the reply to [GetPropertiesSpecific]: the values in the order of the tags, an error in the place of one
// that could not be had.
type RowReply struct {
	Result
	Values  []mapi.Value
	columns []mapi.Tag
}

func (r *RowReply) read(d *decoder)      { r.Values = d.Row(r.columns) }
func (r *RowReply) whole(code Code) bool { return code == ErrorsReturned }

// Value returns the value of a property, and nil if it was not asked for or could not be had.
func (r *RowReply) Value(tag mapi.Tag) mapi.Value {
	for i, column := range r.columns {
		if column != tag || i >= len(r.Values) {
			continue
		}
		if _, failed := r.Values[i].(mapi.ErrorCode); !failed {
			return r.Values[i]
		}
	}
	return nil
}

// GetPropertiesAll asks for all properties of an object, but those that are too large. MS-OXCROPS §2.2.8.4.
type GetPropertiesAll struct {
	Input
	PropertySizeLimit uint16
	WantUnicode       bool
}

// ID says which operation it is.
func (*GetPropertiesAll) ID() ID                  { return idGetPropertiesAll }
func (*GetPropertiesAll) reply() *PropertiesReply { return &PropertiesReply{} }
func (r *GetPropertiesAll) write(e *mapi.Encoder) {
	e.Uint16(r.PropertySizeLimit)
	writeWide(e, r.WantUnicode)
}

// PropertiesReply is a reply that has properties.
type PropertiesReply struct {
	Result
	Properties []mapi.Property
}

func (r *PropertiesReply) read(d *decoder)      { r.Properties = d.TaggedValues() }
func (r *PropertiesReply) whole(code Code) bool { return code == ErrorsReturned }

// GetPropertiesList asks which properties an object has. MS-OXCROPS §2.2.8.5.
type GetPropertiesList struct{ Input }

// ID says which operation it is.
func (*GetPropertiesList) ID() ID              { return idGetPropertiesList }
func (*GetPropertiesList) write(*mapi.Encoder) {}
func (*GetPropertiesList) reply() *TagsReply   { return &TagsReply{} }

// SetProperties sets properties of an object. MS-OXCROPS §2.2.8.6.
type SetProperties struct {
	Input
	PropertyValues []mapi.Property
}

// ID says which operation it is.
func (*SetProperties) ID() ID                { return idSetProperties }
func (*SetProperties) reply() *ProblemsReply { return &ProblemsReply{} }
func (r *SetProperties) write(e *mapi.Encoder) {
	writeSized(e, func() { e.TaggedValues(r.PropertyValues) })
}

// DeleteProperties deletes properties of an object. MS-OXCROPS §2.2.8.8.
type DeleteProperties struct {
	Input
	PropertyTags []mapi.Tag
}

// ID says which operation it is.
func (*DeleteProperties) ID() ID                  { return idDeleteProperties }
func (*DeleteProperties) reply() *ProblemsReply   { return &ProblemsReply{} }
func (r *DeleteProperties) write(e *mapi.Encoder) { e.Tags(r.PropertyTags) }

// ProblemsReply is a reply that says which of the properties could not be dealt with.
type ProblemsReply struct {
	Result
	PropertyProblems []PropertyProblem
}

// PropertyProblem is a property that could not be set or deleted: its place in the request, and why. MS-OXCDATA §2.7.
type PropertyProblem struct {
	Index       uint16
	PropertyTag mapi.Tag
	ErrorCode   Code
}

func (r *ProblemsReply) read(d *decoder) {
	n := int(d.Uint16())
	r.PropertyProblems = list(d, n, func() PropertyProblem {
		return PropertyProblem{d.Uint16(), d.Tag(), Code(d.Uint32())}
	})
}

func (r *ProblemsReply) whole(code Code) bool { return code == ErrorsReturned }

// GetNamesFromPropertyIDs asks what the ids of named properties mean in this mailbox. MS-OXCROPS §2.2.8.2.
type GetNamesFromPropertyIDs struct {
	Input
	PropertyIDs []mapi.ID
}

// ID says which operation it is.
func (*GetNamesFromPropertyIDs) ID() ID             { return idGetNamesFromPropertyIDs }
func (*GetNamesFromPropertyIDs) reply() *NamesReply { return &NamesReply{} }
func (r *GetNamesFromPropertyIDs) write(e *mapi.Encoder) {
	writeCount(e, len(r.PropertyIDs))
	for _, id := range r.PropertyIDs {
		e.Uint16(uint16(id))
	}
}

// NamesReply is the reply to [GetNamesFromPropertyIDs]. An id that has no name gives the zero Named.
type NamesReply struct {
	Result
	PropertyNames []mapi.Named
}

func (r *NamesReply) read(d *decoder) {
	n := int(d.Uint16())
	r.PropertyNames = list(d, n, d.Named)
}

func (r *NamesReply) whole(code Code) bool { return code == ErrorsReturned }

// NamesCreate gives ids to names that have none, [GetPropertyIDsFromNames.Flags].
const NamesCreate uint8 = 0x02

// GetPropertyIDsFromNames asks which ids named properties have in this mailbox; for all of them if none are named.
// MS-OXCROPS §2.2.8.1.
type GetPropertyIDsFromNames struct {
	Input
	Flags         uint8
	PropertyNames []mapi.Named
}

// ID says which operation it is.
func (*GetPropertyIDsFromNames) ID() ID           { return idGetPropertyIDsFromNames }
func (*GetPropertyIDsFromNames) reply() *IDsReply { return &IDsReply{} }
func (r *GetPropertyIDsFromNames) write(e *mapi.Encoder) {
	e.Uint8(r.Flags)
	writeCount(e, len(r.PropertyNames))
	for _, name := range r.PropertyNames {
		e.Named(name)
	}
}

// IDsReply is the reply to [GetPropertyIDsFromNames]. A name that has no id gives 0.
type IDsReply struct {
	Result
	PropertyIDs []mapi.ID
}

func (r *IDsReply) read(d *decoder) {
	n := int(d.Uint16())
	r.PropertyIDs = list(d, n, func() mapi.ID { return mapi.ID(d.Uint16()) })
}

func (r *IDsReply) whole(code Code) bool { return code == ErrorsReturned }
