// Package maildrop opens mailbox folders of stores as POP3 maildrops: it implements
// [pop3.Backend] on [backends.Reader].
//
//	backend := maildrop.New(maildrop.Options{Log: log, Authenticator: authenticator, Locks: &folder.MemoryLocks{}})
//	server := &pop3.Server{Backend: backend, …}
//
// A login goes through the authenticator (package login) to a store's Open, which verifies the credential and
// opens the folder at once. Then the folder is locked ([folder.Locks]; I5), and its list becomes a
// snapshot in memory: ids, sizes and unique-ids of messages numbered from 1. From then on
// numbers mean the same messages until the session ends, however that happens: Close, which the
// engine calls in any case, closes the store's maildrop and then releases the lock.
//
// How long a call to a store may take is the engine's to say: every one is under the context
// that the engine gives.
//
// # Unique-ids
//
// The UIDL of a message is the store's id where that is fit for it, else "~1" and 192 bits of
// the id's SHA-256 in base64url. It depends on the id alone, so it outlasts restarts and is the
// same on every node (I7). A UIDL that the store remembers from another server goes first.
//
// What does not follow from the id is in the index ([index.Index]): unique-ids that were imported
// when the mail moved here from another system, and those that were given because another message
// had the natural one. It is asked once, when a maildrop is opened.
//
// # Sizes
//
// Sizes that a store calls exact are believed, and compared when the message is read. Others
// are found by reading the message once (I6): in the background from the login on, within what
// [Measuring] allows, and at once for a client that asks. What was found is in the index, so no
// later session pays for it. A size that comes with a message goes before that in the list, and what
// came goes before both. Where the policy is fast, a store's estimates are told as they are; where
// it is measure, no store's size is believed.
//
// # What a store cannot give
//
// A message that cannot be rendered, or that fails again and again while others can be had, is
// held: a notice is served in its place ([folder.Quarantine] remembers it), whose size is told from
// then on. In the one session in which that is found out LIST may have told the message's; RETR
// tells the notice's. Deleting a notice hides the message, and removes it only where that is
// configured: nobody has seen it.
//
// Guilt is shown alone (I8): what fails while others are under way, read ahead or to know their
// sizes, is asked for again by itself before anything counts against it. A message that the client
// was told to be gone is not removed either, should it be there after all.
//
// # UTF-8
//
// A client that has asked for UTF8 (RFC 6856) gets messages as they are. For others, a header
// with UTF-8 in it is replaced by one of as many octets (content.Surrogate says how, and why that
// is so), in RETR and TOP alike; the sizes above hold for both.
package maildrop
