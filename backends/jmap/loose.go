package jmap

import "encoding/json"

// into is what is read of an object, by their names: pointers to where each goes.
type into map[string]any

// loosely reads an object of which any member may be odd: one that is not of its type, or too large
// for it, stays as it was, and costs nothing else. What is no object has no members.
func loosely(raw []byte, targets into) map[string]json.RawMessage {
	var given map[string]json.RawMessage
	if json.Unmarshal(raw, &given) != nil {
		return nil
	}
	for name, target := range targets {
		if value, ok := given[name]; ok {
			_ = json.Unmarshal(value, target)
		}
	}
	return given
}

// truths reads a set (RFC 8620 §1.3: String[Boolean]); a member that is no boolean is left out.
type truths map[string]bool

// UnmarshalJSON implements [json.Unmarshaler].
func (t *truths) UnmarshalJSON(raw []byte) error {
	for name, value := range loosely(raw, nil) {
		if string(value) != "true" {
			continue
		}
		if *t == nil {
			*t = make(truths)
		}
		(*t)[name] = true
	}
	return nil
}

// texts reads an array of texts; an element that is none is an empty one.
type texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *texts) UnmarshalJSON(raw []byte) error {
	var all []json.RawMessage
	_ = json.Unmarshal(raw, &all)
	*t = make(texts, len(all))
	for i, one := range all {
		if json.Unmarshal(one, &(*t)[i]) != nil {
			(*t)[i] = ""
		}
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *methodError) UnmarshalJSON(raw []byte) error {
	loosely(raw, into{
		"type": &e.Type, "description": &e.Description, "invalidRecipients": (*texts)(&e.InvalidRecipients), "existingId": &e.ExistingID,
		"maxRecipients": &e.MaxRecipients, "maxSize": &e.MaxSize, "properties": (*texts)(&e.Properties),
	})
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *mailbox) UnmarshalJSON(raw []byte) error {
	loosely(raw, into{"id": &m.ID, "name": &m.Name, "parentId": &m.ParentID, "role": &m.Role})
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (i *identity) UnmarshalJSON(raw []byte) error {
	loosely(raw, into{"id": &i.ID, "email": &i.Email})
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *created) UnmarshalJSON(raw []byte) error {
	var status map[string]json.RawMessage
	given := loosely(raw, into{"id": &c.ID, "emailId": &c.EmailID, "undoStatus": &c.UndoStatus, "deliveryStatus": &status})
	if json.Unmarshal(given["envelope"], &c.Envelope) != nil {
		c.Envelope = nil // whoever is in it is not known
	}
	for recipient, one := range status {
		if c.DeliveryStatus == nil {
			c.DeliveryStatus = make(map[string]deliveryStatus)
		}
		var d deliveryStatus
		loosely(one, into{"smtpReply": &d.SMTPReply, "delivered": &d.Delivered})
		c.DeliveryStatus[recipient] = d
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *limits) UnmarshalJSON(raw []byte) error {
	loosely(raw, into{
		"maxObjectsInGet": &l.ObjectsInGet, "maxObjectsInSet": &l.ObjectsInSet, "maxCallsInRequest": &l.CallsInRequest, "maxSizeRequest": &l.SizeRequest,
		"maxSizeUpload": &l.SizeUpload, "maxConcurrentRequests": &l.ConcurrentRequests, "maxConcurrentUpload": &l.ConcurrentUpload,
	})
	return nil
}
