// Package rop is the layer of Remote Operations of Exchange: what a client asks for and what a server
// replies, as octets (MS-OXCROPS), independent of how they travel. A [Transport] carries them: MAPI over HTTP
// (MS-OXCMAPIHTTP), or RPC (MS-OXCRPC).
//
// # Batches
//
// Operations are gathered in a [Batch] and sent together: what one of them opens can be used by the next
// before the server has said anything.
//
//	var b rop.Batch
//	folder, _ := rop.Open(&b, logon, &rop.OpenFolder{FolderID: inbox})
//	table, opened := rop.Open(&b, folder, &rop.GetContentsTable{})
//	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
//	rows := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: 100, Columns: columns})
//	rop.Release(&b, table)
//	if err := session.Do(ctx, &b); err != nil { // nothing more was answered
//		return err
//	}
//	if err := b.Err(); err != nil { // an operation was answered and has failed
//		return err
//	}
//	for _, row := range rows.Rows { // values by column; an error in the place of a value is a mapi.ErrorCode
//
// A request has the fields of its request buffer and a reply those of its response buffer, by the names that
// MS-OXCROPS gives them. What a reply cannot be read without, such as the columns of a table, is in the
// request as well.
//
// [Session.Do] splits a batch that is too large for one buffer, sends again what a server had no room to
// answer (RopBufferTooSmall), reads replies that go on in further buffers (chained), keeps the notifications
// that come between replies, and returns a [BackoffError] when the server asks to be left alone. After that
// error Do goes on with the same batch where it stopped.
//
// # Streams
//
// [Session.Download] reads a FastTransfer stream, for package fasttransfer, and [Session.Stream] the value of a
// property, both as an io.Reader. [Session.Upload] gives one to an object that is being made.
//
// # Buffers
//
// [Framing] and [Payloads] write and read the extended buffers in which all of this travels, with compression
// (LZ77 with DIRECT2, MS-OXCRPC §3.1.4.1.1.2) and obfuscation (§3.1.4.1.1.3).
//
// # Bounds
//
// A count or length that a server announces allocates nothing before it was compared with the octets that
// are there, what was compressed grows to no more than [MemoryMost] in a reply, and no more than
// [NotificationsMost] notifications are kept.
//
// # Not yet
//
// Uploads by synchronisation, permissions and rules, public folders, categories of
// tables, and asynchronous operations (RopProgress) are not here. The operations were compared with recordings
// of a server that is not Microsoft's, and with the examples of the specifications.
package rop
