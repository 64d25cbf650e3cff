// Package collect fetches mail from POP3 and IMAP servers elsewhere into the mailboxes of the gateway's stores.
//
//	c := collect.New(collect.Options{Log: log, DB: db, Locks: locks, Table: router.Table, …})
//	c.Use(accounts) // again after each reload
//	…
//	c.Close()
//
// An account is a mailbox elsewhere. Its mail goes to one mailbox here, or it is spread by the fields of the header that say
// whom a message was sent to: never by To and Cc, unless they are named.
//
// # Who has a message
//
// The source has it until all of its recipients have it: stores are asked directly, and a message that they do not take now
// waits at the source. Nobody is sent a report, as nobody here has promised anything to the sender. For each message:
//
//  1. it is read whole into a buffer, bounded;
//  2. the ledger has it as begun, with the digest of its content;
//  3. its recipients' stores take it, under a key made of account, unique-id and content (I2);
//  4. the ledger has it as taken;
//  5. the source is told to remove it, in this session or, where it stays for a time, in a later one;
//  6. the source confirms that, at QUIT or by its answer to EXPUNGE;
//  7. the ledger forgets it once the source does not list it any more: some confirm a removal, and keep the message.
//
// Whatever ends in between: before 2 nothing has happened. Before 4 it is read again, and handed over under the same key as
// a retry, so that a store that has it knows it. Before 7 it is in the ledger as taken, and is not handed over again.
//
// # Which message it is
//
// Unique-ids of POP3 servers last, and are unique, as a rule. A message whose id is missing or another message's, too, is known by
// its content, and so are all where the ids are the numbers of the session. Before a message of an earlier session is removed its
// header is compared with what was taken. A message that the server has by another id than before is recognised by its content, if
// it has a Message-ID or a Date, and goes on under its key. So are all of an account that is another mailbox from now on. An IMAP server's ids are its UIDVALIDITY with a UID, which never are another
// message's.
//
// # What goes wrong
//
// A message that cannot be read, that nobody takes or that is in a loop is set aside: it stays at the source, is told, and is tried again
// after pauses that grow. One that its recipient refuses for good goes to the fall-back mailbox, if there is one. A connection
// that breaks three times at the same message sets that message aside. One without a unique-id is known by its size, and by which one of
// this size it is in the list, until it was read. An account that fails is left alone for pauses that
// grow; one whose password is refused for a day, or until its configuration is another one, as servers lock accounts.
//
// With a PostgreSQL that several gateways share one of them at a time has an account, by a lease ([folder.Locks]).
package collect
