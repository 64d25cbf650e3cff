// Package msg reads messages as Outlook saves them in files (.msg, MS-OXMSG): compound files (MS-CFB) with a stream for
// each property whose size is not fixed, and a storage for each recipient and attachment.
//
//	file, err := msg.Read(f, size)
//	if file == nil {
//		return err // no such file
//	}
//	use(file.Message) // what could be had; err says what could not
//
// Large values and the data of attachments stay in the file, which must stay as it is for as long as the message is in
// use. They may be read by several readers at once.
//
// A hostile file costs memory and time in proportion to its size at most, whatever it announces: its sectors and its
// directory are checked before they are followed, streams may not be larger together than the file, and what is kept in
// memory is bounded.
package msg
