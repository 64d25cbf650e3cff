// Package exchange is a double of an Exchange server for tests: MAPI over HTTP and EWS on mailboxes in memory.
//
//	server := exchange.Start(t)
//	inbox := server.AddMailbox("george@sakes.example", "secret", "/o=Sakes/cn=Recipients/cn=george")
//	inbox.Deliver("A bill", stream) // a FastTransfer stream, such as one that was recorded
//	config := mapihttp.Config{URL: server.URL, TLS: server.TLS, …}
//
// It is built from the specifications (MS-OXCMAPIHTTP, MS-OXCROPS, MS-OXCTABL, MS-OXCFXICS, MS-OXWS*), shares no code with the client, and is
// strict: what a client must not send fails as the specifications have it, and fails the test too, unless
// [Server.Tolerate] was called. A mailbox has an Inbox, an Outbox, Sent Items, Deleted Items and what [Mailbox.AddFolder] adds. Messages are
// made operation by operation, or of FastTransfer streams, several pieces of which go in one request unless [Server.PacksNothing] was called; what is
// submitted is delivered to the server's own mailboxes, or has left ([Server.Sent]). The address book finds mailboxes by their addresses.
//
// [Mailbox.Grant] lets somebody open the mailbox of another.
//
// # Faults
//
// [Server.Forget] loses all session contexts, as a restart does, and [Server.RestartAt] when it comes to an operation. [Server.CutAt] executes an
// operation, and loses its reply; [Server.StallAt] says nothing any more. [Server.Busy] answers so many requests with too much to do. [Server.Room] makes the buffer for replies smaller.
// [Mailbox.Quota] is how large a mailbox may be, [Mailbox.SendAs] whom its owner may send as, [Server.Refuse] whom the transport refuses, and
// [Server.NoTransport] leaves in the Outbox what is submitted.
// [Server.Twist] has requests of EWS go wrong: busy with a time to come back, another status, a reply
// that is cut off or edited, and whether what was asked for is done all the same.
//
// # Signing in
//
// Clients sign in by Basic, or as [Server.SignInBy] says: by Negotiate and NTLM, which somebody else judges (peers.StartGSS). The connection
// belongs to the login then. As Exchange does from 2019 CU14 on, /mapi wants the channel binding of its certificate, and /EWS takes a
// login without one. [Server.StartFront] has a proxy before it that ends TLS. [Server.ForgetLogins] and [Server.HangUpAtLogin] are faults of it, and
// [Server.Judged] counts how often a password was looked at.
//
// # EWS
//
// A message is given as mail over EWS where [Mailbox.DeliverMail] or CreateItem has brought it as that. [Server.Schema] has the server be an
// older one.
//
// # RPC
//
// [Server.StartRPC] has the server be there over RPC and TCP, with an endpoint mapper, for logins by NTLM. [RPC.Twist] changes what
// it sends, and [RPC.Restart] has it come back at other ports. What is not sealed, or not as MS-OXCRPC and MS-OXNSPI have it, is refused.
//
// # Not yet
//
// Compressed requests, notifications, and the rest of the address book.
package exchange
