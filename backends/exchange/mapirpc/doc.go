// Package mapirpc speaks to an Exchange server by RPC over TCP, as clients did up to Exchange 2010: EMSMDB for mailboxes
// (MS-OXCRPC), and NSPI for the address book (MS-OXNSPI). Package mapihttp speaks the same over HTTP.
//
//	config := mapirpc.Config{Host: "mail.sakes.example", SignIn: mapirpc.NTLM(`SAKES\george`, password)}
//	book, err := mapirpc.Bind(ctx, config)
//	found, err := book.Resolve(ctx, []string{"=SMTP:george@sakes.example"}, columns)
//	session, err := mapirpc.Connect(ctx, config, dn)
//	operations := rop.Session{Transport: session, Chain: true}
//
// A [Session] is a session context on a connection of its own, which is signed and sealed. When the connection ends, so does the
// session context: what was asked for fails as [rop.ErrLost], and [Session.Revive] connects anew.
//
// The server's ports are asked of its endpoint mapper, unless they are given.
//
// # Not here
//
// RPC over HTTP, the older calls of Exchange 5.0, 5.5 and 2000 (EcDoConnect, EcDoRpc), notifications (EcRegisterPushNotification,
// EcDoAsyncWaitEx), and referrals to the address book of another server (MS-OXABREF).
package mapirpc
