// Package mapihttp is MAPI over HTTP as a client (MS-OXCMAPIHTTP): how Outlook speaks to Exchange from 2013 SP1 on.
//
// A [Session] is a session context on a server, and carries the operations of package rop:
//
//	s, err := mapihttp.Connect(ctx, mapihttp.Config{
//		URL: "https://mail.sakes.example/mapi/emsmdb/?MailboxId=george@sakes.example",
//		Transport: server.Login(signin.Credential{User: "george@sakes.example", Password: password}),
//	}, dn)
//	if err != nil {
//		return err // a *backends.Failure
//	}
//	defer s.Disconnect(ctx)
//	operations := &rop.Session{Transport: s}
//
// # Requests
//
// A session context lives in cookies: the server gives them, changes one of them with each reply, and wants them back.
// So the requests of a session go one after another, and [Session.Execute], [Session.Ping] and [Session.Disconnect] wait
// for each other. [Session.Wait] is a request that the server answers when something has happened: it has a connection of its
// own, and may be under way while others are.
//
// A reply begins before it is ready: PROCESSING, then PENDING from time to time, then DONE and the reply (§2.2.2.2). A
// server that sends nothing at all for [Config.Timeout] is given up, and so is one that is not ready after [Config.Most].
//
// # Session contexts that are lost
//
// A server forgets its session contexts when it is restarted, when nothing was asked for a while, and when a request got
// lost on the way. Then, and whenever it is not known whether a request was executed, errors are [rop.ErrLost], and so is
// everything after it, until [Session.Revive] has connected anew. No object of before is known there: [Session.Generation] tells
// whoever has some.
//
// # The address book
//
// An [AddressBook] is a session context of the same server's address book. It finds the distinguished name that [Connect] and
// rop.Logon want:
//
//	book, err := mapihttp.Bind(ctx, config) // whose URL is that of /mapi/nspi/
//	found, err := book.Resolve(ctx, []string{"=SMTP:george@sakes.example"}, []mapi.Tag{mapi.PidTagEmailAddress})
//
// # Signing in
//
// [Config.Transport] signs in: a Login of package signin, which is for that server alone.
//
// # Errors
//
// Each error is a [backends.Failure].
//
// # Not yet
//
// Of the address book, what is not needed to find people by name, address and distinguished name. Auxiliary buffers are sent empty and not read.
package mapihttp
