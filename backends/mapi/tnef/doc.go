// Package tnef reads and writes TNEF (MS-OXTNEF), which is how Exchange sends a message with all its properties through
// the Internet: as an attachment called winmail.dat, of the type application/ms-tnef.
//
//	s, err := tnef.Decode(file, size)
//	if s == nil {
//		return err // no TNEF, or the file cannot be read
//	}
//	for _, a := range s.Message.Attachments {
//		r, err := a.Data.Open() // a section of the file
//		...
//	}
//
// # Reading
//
// A file is read once, from its beginning to its end, however deep messages are in messages. The data of attachments,
// and other values of more than 32 KiB, stay in the file. What a message has besides is bounded: what would be more than
// 64 MiB in memory is lost, with [ErrTooMuch].
//
// Files in the wild are often not quite as the specification has them. What can be had is had: wrong checksums, a
// missing end, attributes that are unknown or not where they belong are told as a [Problem] each. Where something of the
// message was lost Decode returns an error, too, and whoever must not lose anything passes the file on as it is.
//
// Attributes that stand for properties, from the time before there were properties, count where the message lacks the
// property (§2.1.3). The names of files are given as they are written, whatever is in them, such as "../../x".
//
// The octets of a PtypObject that is not an attachment's begin with its interface, of 16 octets.
//
// # Writing
//
// Encode writes everything as properties, and the attributes of old beside them, for readers that know these alone.
// Recipients are written with the message if there are any: those that are nobody's business, such as Bcc, are the
// caller's to take out. An attachment that lacks PidTagAttachMethod has it when it is read again.
package tnef
