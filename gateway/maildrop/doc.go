// Package maildrop opens mailbox folders of stores as POP3 maildrops (RFC 1939 §3): it implements
// [pop3.Backend] on [backends.Reader].
//
//	backend := maildrop.New(maildrop.Options{Log: log, Authenticator: authenticator, Locks: &folder.MemoryLocks{}})
//	server := &pop3.Server{Backend: backend, …}
//
// A login goes through the authenticator (package login) to a store's Open, which verifies the
// credential and opens the folder in one call. Then the folder is locked ([folder.Locks]; RFC 1939 §4
// asks for an exclusive lock, I5), and its list becomes a snapshot in memory: ids, sizes and unique-ids
// of messages numbered from 1. A number means the same message until the session ends
// (RFC 1939 §5). The engine always calls Close, which closes the store's maildrop and then releases
// the lock.
//
// The engine decides how long a call to a store may take: each call has the engine's context.
//
// # Unique-ids
//
// The UIDL of a message (RFC 1939 §7) is the store's id where that has the form of a unique-id, else
// "~1" and 192 bits of the id's SHA-256 in base64url (RFC 4648 §5). It depends on the id alone, so it
// survives restarts and is the same on every node (I7). A UIDL that the store remembers from another
// server takes precedence.
//
// The index ([index.Index]) holds the unique-ids that do not follow from the id: those that were
// imported when the mail was moved here from another system, and those that were given because
// another message already had the natural one. It is read once, when a maildrop is opened.
//
// # Sizes
//
// Sizes that a store calls exact are believed, and compared when the message is read. Other sizes
// are found once (RFC 1939 §11 wants octets with CRLF; I6), many with one request by a store that
// measures ([backends.Measurer]), or else by reading the message: in the background from the login on,
// within the bounds of [Measuring], and at once for a client that asks. The index
// keeps what was found, so that later sessions do not read again. A size that the store tells with a
// message replaces the one in its list, and a size that was counted replaces both. With the policy
// "sizes: fast" a store's estimates are told as they are; with "sizes: measure" no store's size is
// believed.
//
// # Forms
//
// A store that keeps properties renders messages in the form that the account's policy asks for
// ([backends.Rendering]), as far as its description has that form; the others are asked for messages as
// they have them. A session keeps the form that it began with. The sizes of a store's list are those of
// the usual form: under another one they are found like sizes that are not exact, and the index keeps
// those of each form apart. Unique-ids are the same in every form.
//
// # TNEF
//
// Where the policy says so, TNEF in messages is opened (content.Winmail). What is told and sent is the message that
// this makes, in LIST, RETR and TOP; so each message is read once to know its size, and the index keeps the sizes of this
// form apart from those of others, too.
//
// # Messages that a store cannot give
//
// A message that cannot be rendered, or that fails again and again while others can be fetched, is
// held: a notice is served in its place, and the notice's size is told from then on (package folder
// remembers it). In the session that finds this out, LIST may have told the message's size; RETR
// tells the notice's. Deleting a notice hides the message. It removes the message only where the
// policy says so, since the user has not seen it.
//
// A message is held only on evidence about itself (I8): one that fails while other messages are
// being fetched, ahead or to learn their sizes, is fetched again alone before the failure counts.
// A message that the client was told to be gone is not removed at QUIT, even if the store has it
// again.
//
// # UTF-8
//
// A client that has sent UTF8 (RFC 6856 §2) gets messages as they are. For other clients, a header
// that contains UTF-8 is replaced by an ASCII header of the same number of octets, in RETR and in TOP
// ([content.Surrogate] describes how and why); the sizes above hold for both.
package maildrop
