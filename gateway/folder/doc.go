// Package folder is what the gateway remembers of a mailbox folder: the key that stands for it
// ([Keys]), its lock ([Locks]), when it was opened last ([Openings]), which of its deleted messages
// are kept for a time ([Retention]), and which of them its store cannot give ([Quarantine]). What
// is remembered of each message, its unique-id and its size, is in package index.
//
//	keys := folder.NewKeys(db, index)
//	known, err := keys.Find(ctx, identity)            // once the store has opened the folder
//	lock, err := locks.Acquire(ctx, identity.Lock(known))
//	known, err = keys.TakeOver(ctx, identity, known)  // with the lock: before anything is asked for
//	kept, err := retention.In(ctx, known.Key, known.Names...)
//	entries, err := quarantine.In(ctx, known.Key)
//
// # The key
//
// A folder is what its store says that it is (backends.Opened), and
// not what a client has typed: one folder can have several names, and names that differ in case
// can be two folders. The key, though, is a pair of texts that was first given out for the folder,
// and it stays whatever the store says later.
//
// Earlier versions used the account's id and the name as it was typed, in lower case. A folder that
// is opened for the first time takes that pair as its key, so that nothing has to move: unique-ids
// last (I7). Each further name, and each id that the account had before ([Identity.FormerIDs]), is
// looked at once: what was remembered under it is put to the rest.
//
// Two folders whose names differ in case shared one pair. The first one to be opened gets it, and
// the other a new one with a copy of its unique-ids. Deletions that are kept say by what name they
// were made, to the letter: each folder gets its own, and none of the other's.
//
// # The lock
//
// Where several gateways share a PostgreSQL database, the lock is a lease (I5): a row that its
// holder keeps alive.
//
//	locks := folder.NewLocks(folder.LockOptions{Log: log, DB: db, Time: 30 * time.Second})
//	defer locks.Close()
//
// A lease is taken in one round trip, and given back, at once, with its session. One statement
// renews all leases of a gateway, three times in the time that they last. When a gateway dies
// nothing renews its leases, and others get them when that time is over. The time is the
// database's alone: no gateway's clock is asked for more than how long something took.
//
// Each taking has a generation, larger than any before it, so a gateway that was out of touch
// finds out that somebody else has had the folder meanwhile: [Lock].Held asks the database, and
// without its yes nothing is removed. While the database cannot be reached nobody can log in;
// sessions that are there go on until their leases are out.
//
// Leases may be forgotten when the database's machine dies: commits do not wait for its disk.
// Two sessions can have a folder then, and one of them cannot remove anything.
//
// With SQLite there is one gateway, and [MemoryLocks] are all that it takes: NewLocks gives
// those. Measured with go test -run '^$' -bench . ./gateway/folder on two shared cores: taking a
// lock and giving it back is done 4,400,000 times a second in memory, and with a PostgreSQL of
// the same machine 7,000 times by one session after another and 14,500 times by 16 at once.
//
// # Deleted messages that are kept
//
// Where a policy keeps what clients delete, those messages are hidden from clients, and removed
// from the store when their time is over. Whatever else is in a folder, and however old, does not
// matter here.
//
//	err := retention.Keep(ctx, key, owner, ids, time.Now().Add(14*24*time.Hour)) // at QUIT
//	kept, err := retention.In(ctx, key)                                          // at a login: to be hidden
//	due, err := retention.Due(ctx, []string{"sakes"}, 200)                       // now and then: to be removed
//	err = retention.Forget(ctx, key, ids)                                        // once they are gone
//
// # Messages in quarantine
//
// A message that its store cannot give harms itself alone (I8): a notice is served in its place,
// and the store keeps the original. It is held at once when its store says that it cannot render it
// (the failure kind [backends.Poison]); one that fails in another way is suspected first, and held
// when it has failed [FailuresMost] times although other messages of the mailbox could be had. Once
// held, the store is not asked for it any more.
//
//	suspected ── fails again and again ──▶ held ── its notice is deleted ──▶ hidden
//	    │                                    ▲ │                              │
//	    └── read: forgotten                  │ └──────── Release ─────────────┘
//	                        fails again ── released ◀──────────┘
//
// Messages of a store's outbox that break collections are here, too, under an account without a name and the folder
// "outbox" (package outbox): nobody has a notice for them, and other mail need not be had for one to be held.
//
// Release makes the gateway ask the store again. A message that clients had a notice for has
// another unique-id from then on: they would take it for one that they have.
package folder
