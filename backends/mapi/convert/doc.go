// Package convert makes one form of a message of another: Internet mail, TNEF, a FastTransfer stream, a dump of its
// properties, and from Outlook's .msg. It reads all of them into a message object ([mapi.Message]), and writes that.
//
//	format, ok := convert.Detect(head)
//	message, problems, err := convert.Reader{Keep: keep}.Read(format, file, size)
//	err = convert.Writer{}.Write(convert.EML, out, message)
//
// Contents stay in the file that was read, and in what Keep returned. Only a dump is read and written in memory, and is
// bounded for that.
//
// [Explain] tells the choices that a conversion makes, and [Lost] what of a message another one does not have.
package convert
