// Package quarantine remembers the messages that their stores cannot give, so that each of them
// harms itself alone (I8): a notice is served in its place, and the store keeps the original.
//
//	quarantined := &quarantine.Store{DB: db}
//	entries, err := quarantined.In(ctx, quarantine.Folder{Store: "sakes", Account: "ada"})
//	entry, err := quarantined.Failed(ctx, message, failure, true)
//
// A message is held at once when its store says that it cannot render it (the failure kind
// [backends.Poison]); one that fails in another way is suspected first, and held when it has
// failed [FailuresMost] times although other messages of the mailbox could be had. Once held, the
// store is not asked for it any more.
//
//	suspected ── fails again and again ──▶ held ── its notice is deleted ──▶ hidden
//	    │                                    ▲ │                              │
//	    └── read: forgotten                  │ └──────── Release ─────────────┘
//	                        fails again ── released ◀──────────┘
//
// Release makes the gateway ask the store again. A message that clients had a notice for has
// another unique-id from then on: they would take it for one that they have.
package quarantine
