// Package index is what the gateway remembers of the messages of a folder: unique-ids that do
// not follow from a message's id, sizes that were found by rendering, and imported unique-ids
// whose messages are yet to be recognised.
//
//	x := index.New(index.Options{Log: log, DB: db})
//	f, err := x.Open(ctx, folder.Key{Store: "sakes", Account: "ada", Folder: ""}, folder.Key{}, "", "")
//	uidl, known := f.UIDL("a-message-id")
//	size, known := f.Size("a-message-id")
//	f.Learn("a-message-id", 4711)
//	err = f.Flush(ctx, ids)
//
// # What has a row, and what has none
//
// A message has no row. As a rule a unique-id follows from the store's id of the message (package
// maildrop says how), and the store tells the exact size; then there is nothing to remember, and
// a folder that is opened costs one query that finds nothing: 23 µs in SQLite. What cannot be
// derived is kept in batches, many messages to a row, which are read in one query:
//
//	kind        an entry
//	uidl        the message's id, and its unique-id; empty: the message was looked at for an
//	            import, and its unique-id is the natural one
//	size…       8 octets of the id's hash, and the size under one form of rendering
//	            by one version of the store's renderer
//	import      a fingerprint, a size, and the unique-id of the message that has both
//
// A row for each message was weighed: each size that is learnt would be a write of its own, and
// database/sql scans rows one by one. In batches the sizes of 100,000 messages are read in 9 ms
// (BenchmarkOpen), imported unique-ids in 100 ms, on two shared cores. With batches, a session that learns
// writes one row at its end, or one for some hundred messages; when a folder has more than a few
// they are put together, and messages that are gone are left out. Two ids whose 64 bits of hash
// are the same would share a size; the size is compared whenever the message is read, so it would
// be put right then.
//
// When a message was first seen is not kept: stores tell when they have received a message
// (backends.Entry.Received), and what a policy wants to know beyond that would be a kind of its
// own.
//
// # Unique-ids for ever (I7)
//
// Entries of the kind uidl are never forgotten, not even when the message is gone: no other
// message is given its unique-id. They do not follow from anything, so they belong into a backup
// ("dipylon state backup"). Sizes are found again, and are dropped when nobody has opened the
// folder for half a year.
//
// # Moving to another mail system
//
// After a migration the messages have new ids, and clients would download everything again. To
// keep the unique-ids, they are exported while the old system is still configured, and imported
// for the new one:
//
//	dipylon uidl export --config old.yaml --user ada@sakes.example --password-stdin old >ada.uidl
//	# … the mail is copied, by whatever tool …
//	dipylon uidl import --config new.yaml --account ada@sakes.example new ada.uidl
//
// Each line of the export has what stays of a message when it moves: its Message-ID, a digest of
// those header fields that mail systems leave alone, and its size. At the next login of the
// account the header of every message is read that has not been looked at, a few at a time, and
// compared; each match gives a message its old unique-id. If there is no time for all of them the
// login fails for now ([SYS/TEMP]) and the next one goes on where it was: a client is never told
// a unique-id that would change. Messages that are copied later are recognised as well, until
// the import is too old ([ImportKept]).
//
// Where an old server was no store of the gateway's, its own files serve: see [ReadDovecot] and
// [ReadCyrus]; and [ReadPlain] takes what a script has put together, such as an Exchange server's
// base64 of message id and GUID beside Message-IDs.
package index
