// Package mapi is Exchange's property world as a library that knows no network: what a message is
// to Exchange, and how its values are written as octets (MS-OXCDATA).
//
// # Messages
//
// A [Message] has properties, recipients, and attachments, and each of these has properties of its
// own. An attachment's data are a [Content]: they are opened and read as a stream, and need not be
// in memory. An attachment that is itself a message has it in Embedded.
//
//	m := &mapi.Message{}
//	m.Set(mapi.PidTagMessageClass, mapi.String("IPM.Note"))
//	m.Set(mapi.PidTagSubject, mapi.String("A bill"))
//	m.Set(mapi.PidLidReminderSet, mapi.Boolean(false)) // a named property
//
//	r := &mapi.Recipient{}
//	r.Set(mapi.PidTagRecipientType, mapi.Integer32(1))
//	m.Recipients = append(m.Recipients, r)
//
//	a := &mapi.Attachment{Data: mapi.ContentOf(octets)}
//	a.Set(mapi.PidTagAttachMethod, mapi.Integer32(1))
//	m.Attachments = append(m.Attachments, a)
//
// # Properties
//
// [Properties] is the bag. A property is found by its [Key]: a [Tag], whose id counts and whose type
// does not, or a [Named] property. Get gives the [Value] as it is, and Text, Integer, Bool, Time and
// Bytes the Go value, or nothing if the property is not there or is of another kind:
//
//	subject := m.Text(mapi.PidTagSubject) // whether it came as PtypString or as PtypString8
//	due, ok := m.Time(mapi.PidLidTaskDueDate)
//	for p := range m.All() {
//		fmt.Println(p, p.Value)
//	}
//
// Properties keep the order in which they were set. The type of a property is that of its value: a
// property that is set to a [String8] has PtypString8 in its tag.
//
// # Values
//
// There is a Go type for each type of MS-OXCDATA §2.11.1: [Integer32] for PtypInteger32, [String] for
// PtypString, and so on; [Multiple] of one of them for the types with many values. A value that is too
// large for memory, such as the body of a message, is a [Streamed]: OpenText and OpenBytes read
// it and those in memory in one way.
//
// # Octets
//
// A [Decoder] takes the structures of MS-OXCDATA from octets one after another, and an [Encoder] writes
// them: values with or without their tags, rows of tables, recipients, names, restrictions.
//
//	d := mapi.NewDecoder(response, mapi.Format{CodePage: 1252})
//	properties := d.TaggedValues()
//	if d.Err() != nil { // says at which octet, and in which property
//
// [ParseEntryID] takes entry ids apart, [ParseXID] source and change keys, [ParseConversationIndex] the place in
// a conversation; AppendTo of what they return is the way back. Properties.Address and SetAddress have
// a sender or recipient whole: its name, types and addresses, entry id and search key.
//
// [WriteDump] and [ReadDump] have a whole message as JSON, for people.
//
// # Bounds
//
// What is decoded is bounded by what is there: a count or a length that a stranger announced
// allocates nothing before it has been compared with the octets that are left, and nesting is bounded
// by [DepthMost].
package mapi
