// Package exchange is a double of an Exchange server for tests: MAPI over HTTP on mailboxes in memory.
//
//	server := exchange.Start(t)
//	inbox := server.AddMailbox("george@sakes.example", "secret", "/o=Sakes/cn=Recipients/cn=george")
//	inbox.Deliver("A bill", stream) // a FastTransfer stream, such as one that was recorded
//	config := mapihttp.Config{URL: server.URL, TLS: server.TLS, …}
//
// It is built from the specifications (MS-OXCMAPIHTTP, MS-OXCROPS, MS-OXCTABL, MS-OXCFXICS), shares no code with the client, and is
// strict: what a client must not send fails as the specifications have it, and fails the test too, unless
// [Server.Tolerate] was called. A mailbox has an Inbox, Deleted Items and what [Mailbox.AddFolder] adds, and its messages are known by
// a few properties and by their streams. The address book finds mailboxes by their addresses.
//
// # Faults
//
// [Server.Forget] loses all session contexts, as a restart does. [Server.Busy] answers so many requests with too much to do.
// [Server.Room] makes the buffer for replies smaller.
//
// # Not yet
//
// Compressed requests, chained replies, notifications, writing and sending, the rest of the address book, and signing in by anything but
// Basic.
package exchange
