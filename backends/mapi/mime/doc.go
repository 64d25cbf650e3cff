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
// are not the body are attachments.
//
// # To MIME
//
// A message is written as a stream. One object gives the same octets each time: boundaries are made
// of what is in the message.
package mime
