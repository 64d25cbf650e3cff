// Package mime turns Internet mail into Exchange's message objects and back (MS-OXCMAIL). It knows no
// network and no store.
//
//	message, err := mime.Reader{Received: now}.Read(file, size)
//	err = mime.Writer{Domain: "sakes.example"}.Write(w, message)
//
// # From MIME
//
// What is read stays a file that can be read anywhere: attachments, and bodies that are large, are
// sections of it, which are decoded as they are read. So the file must live as long as the message.
//
// Nothing is dropped silently. Header fields that have no property become named ones
// (PS_INTERNET_HEADERS), and the header as it came is PidTagTransportMessageHeaders. Parts that
// are not the body are attachments. Signed and encrypted messages are kept as one attachment, octet
// by octet (MS-OXOSMIME). Reports on delivery and reading, and invitations, which may
// recur (package recurrence), get the classes and properties of theirs (MS-OXCMAIL §2.2.3.7, MS-OXCICAL). Of a series the changed
// instances are messages in the message (MS-OXOCAL §2.2.10), as are several events that come in one calendar. A calendar that Exchange
// cannot say is an attachment, as it came; an object whose calendar iCalendar cannot say goes out with a text that tells it. TNEF is
// opened by a function that the Reader is given, such as that of [OpenTNEF].
//
// Properties that a store computes are left to it: plain text of HTML and HTML of plain text, sizes, and the place in a
// conversation where no Thread-Index says it.
//
// Contacts are written with a vCard beside their text, and meetings with a calendar. A vCard that is all of a message, or says the text
// beside it, becomes a contact; one that somebody has attached is a file.
//
// # As it came
//
// A [Reader] that is asked for it makes a skeleton of the message (PidTagMimeSkeleton), and with that a [Writer] that is asked for it
// (Kept) writes the message as it came: structure, boundaries, header fields, encodings. The skeletons of other stores are read, too. What of
// the object was changed since is as it is now; where the skeleton does not fit any more, the message is made anew.
// There is no skeleton of a message whose TNEF was opened, and none that did not prove to give the message octet by octet.
//
// # To MIME
//
// A message is written as a stream. One object gives the same octets each time: boundaries are made
// of what is in the message. The body is HTML with plain text beside it, as far as there are both; RTF gives what it was
// made from, and is attached as it is where it is damaged, or where it is in
// a code page that is not known. A text goes out in the code page of PidTagInternetCodepage if that has its letters, and otherwise in UTF-8.
// All that is written anew is ASCII with short lines, but for the octets of signed messages and for addresses of SMTPUTF8.
//
// # Other forms
//
// A [Form] is for readers who are old or odd: text alone or HTML alone, each made of the other if the object has it alone (package
// htmltext), short lines, another charset, UUENCODE in the place of MIME, or the whole object as TNEF beside its text. A Reader that
// is asked for it makes attachments of files that stand in a text in UUENCODE; text/enriched is read as HTML, and
// files in BinHex become those files, with or without being asked. What is written and read so is the same from then on.
//
// # Not yet
//
// Calendars that are published (METHOD:PUBLISH), that have files (ATTACH), and those that recur as Exchange's do not (RANGE=THISANDFUTURE, EXRULE,
// RDATE that is no instance moved) stay attachments on the way in. Of a
// calendar these are lost: a description that differs from the text beside it, URL, and what only extensions say. Of OLE
// objects the file in them goes out, or the picture that they have of themselves beside them (package msg); nobody draws one.
package mime
