// Package exchange is the backend for Exchange servers, in their own protocol: MAPI over HTTP (packages mapihttp and rop), which
// Exchange has from 2013 SP1 on, and other servers that speak it.
//
// A maildrop is a folder in a session context of its own. Opening one takes a question to the address book, where the mailbox
// is not known yet, a Connect and a RopLogon; a list takes one request for each page, and messages are opened and their
// FastTransfer streams begun together, sixteen with one request. What a stream has is made mail by package mapi/mime: as it came,
// where the server has kept what that takes.
//
// Where there is no MAPI over HTTP, or as settings have it, the same is done by EWS (package ews): a client for each maildrop, one
// question for the folder, one for each page of a list, and one for fifty messages, whose mail the server makes.
//
// Servers up to Exchange 2010 are spoken to by RPC over TCP (packages mapirpc and dcerpc) as others are over HTTP: both carry the same operations,
// and the interfaces transport and book are what they have alike.
//
// # Identity
//
// A message's id is the LongTermID that its MID stands for, which is the source key of what was not made by synchronisation. It lasts
// as long as the message lives in its folder, and is the same in each session (MS-OXCDATA §2.2.1.3.1, MS-OXCFXICS §2.2.1.2.5).
// EWS tells it within the message's entry id (MS-OXCDATA §2.2.4.2).
//
// # Sessions that are lost
//
// A server forgets session contexts. Then the session connects anew with the credential of its login, and what was asked for is asked again:
// reading changes nothing, and what was removed or marked as read already stays so.
//
// # Sending and taking in
//
// A message that is sent becomes an object in the Outbox by a FastTransfer stream, and one that is taken in without SMTP an object in the Inbox, with two properties of ours: the key of its delivery, and whom it is
// for. By these what became of it is found out when a reply is lost.
//
// # Mail that the server wants sent
//
// What waits in a mailbox's folder is leased by a property on the message itself, and whose recipients are finished is another: so a message is handed over again where the gateway was ended, and is
// deleted when it is settled. A foreign connector's Drop folder has files in their place (package drop), and takes no server.
//
// # At hand
//
// It was tested against a double (test/exchange).
package exchange
