//go:build linux

// Command ledger shows whether a mail server loses mail that it has acknowledged. It knows of the server only
// what anybody can see: replies, mailboxes, what the next hop took.
//
//	ledger sink  --listen 127.0.0.1:2525 --record sink.jsonl
//	ledger send  --to 127.0.0.1:587 --record ledger.jsonl --from erika@store.example --near max@store.example --far far.example
//	ledger judge --sent ledger.jsonl --sink sink.jsonl --mailbox max@store.example=mail/store.example/max --reports mail/store.example/erika
//
// Each is a process of its own, and none of them shares one with the server: what is done to the server
// does not touch them.
//
// send writes down each attempt to send a message with what came of it: "taken" is written once the reply 250
// to the end of the data has been read, and never before. What was not taken is sent again under the same id.
// sink is a next hop. It writes down and syncs what it takes before it says so. It reads its habits from its
// standard input, a line each: good, refuse, silent, close, nonsense, down,
// or a reply of its own at a stage: "auth 432 4.3.2 slowly". judge compares: each recipient of a
// message that was taken has a whole copy in a mailbox, at the sink, or in the spool, or is one that the sink refuses
// (nobody@…) and the sender has a report that it failed. Everything else is lost.
package main
