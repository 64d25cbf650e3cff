package storetest_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var listLies = []lie{
	{
		name:  "newest first",
		tell:  listing(func(all []backends.Entry) []backends.Entry { slices.Reverse(all); return all }),
		fails: []string{"maildrop/oldest-first", "maildrop/many"},
		wide:  true,
	},
	{
		name: "the list is one page",
		tell: listing(func(all []backends.Entry) []backends.Entry { return all[:min(len(all), 25)] }),
		fails: []string{
			"maildrop/many", "concurrency/deliveries-and-readers",
		},
	},
	{
		name: "the account is somebody else's",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if err != nil {
					return nil, err
				}
				return otherAccount{d}, nil
			}
		},
		fails: []string{"maildrop/account", "authenticator/grant-opens-once"},
	},
	{
		name:  "sizes with LF",
		tell:  entries(func(e *backends.Entry) { e.Size -= 3 }),
		fails: []string{"maildrop/sizes"},
	},
	{
		name:  "sizes are not known though exact ones are promised",
		tell:  entries(func(e *backends.Entry) { e.Size, e.Exact = -1, false }),
		fails: []string{"maildrop/sizes"},
	},
	{
		name: "an estimate that says it is exact",
		tell: func(l *liar) {
			describing(func(d *backends.Description) { d.ExactSizes = false })(l)
			entries(func(e *backends.Entry) { e.Size = 1000 })(l)
		},
		fails: []string{"maildrop/sizes"},
	},
	{
		name:  "local times",
		tell:  entries(func(e *backends.Entry) { e.Received = e.Received.In(time.FixedZone("CET", 3600)) }),
		fails: []string{"maildrop/times"},
	},
	{
		name:  "times of another century",
		tell:  entries(func(e *backends.Entry) { e.Received = e.Received.AddDate(-100, 0, 0) }),
		fails: []string{"maildrop/times"},
	},
	{
		name: "the list follows what comes in",
		tell: dropping(func(d *liarDrop) {
			d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
				return func(yield func(backends.Entry, error) bool) {
					if ctx.Err() != nil {
						yield(backends.Entry{}, ctx.Err())
						return
					}
					if err := closed(d); err != nil {
						yield(backends.Entry{}, err)
						return
					}
					for i := 0; i < len(d.entries(ctx)); i++ {
						if !yield(d.entries(ctx)[i], nil) {
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/as-it-stands-at-the-call"},
	},
	{
		name: "a list that was given up holds a lock",
		tell: dropping(func(d *liarDrop) {
			var stuck atomic.Bool
			d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
				return func(yield func(backends.Entry, error) bool) {
					for e, err := range d.Maildrop.List(ctx) {
						if !yield(e, err) {
							stuck.Store(true)
							return
						}
					}
				}
			}
			d.close = func() error {
				if stuck.Load() {
					return errors.New("a list is open")
				}
				return d.Maildrop.Close()
			}
		}),
		fails: []string{"maildrop/given-up"},
	},
	{
		name: "a cancelled list looks complete",
		tell: dropping(func(d *liarDrop) {
			d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
				return func(yield func(backends.Entry, error) bool) {
					for e, err := range d.Maildrop.List(ctx) {
						if ctx.Err() != nil || !yield(e, err) {
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/cancelled"},
	},
	{
		name: "List ignores its context",
		tell: dropping(func(d *liarDrop) {
			d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
				_ = deafTo(ctx)
				return d.Maildrop.List(ctx)
			}
		}),
		fails: []string{"maildrop/cancelled"},
	},
	{
		name: "every folder is the inbox",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				r.Folder = ""
				return l.Store.Open(ctx, r)
			}
		},
		fails: []string{"maildrop/folder-id", "maildrop/unknown-folder", "maildrop/another-folder"},
	},
	{
		name: "an emptied inbox has an announcement",
		tell: listing(func(all []backends.Entry) []backends.Entry {
			if len(all) == 0 {
				return []backends.Entry{{ID: "announcement", Size: 10}}
			}
			return all
		}),
		fails: []string{"maildrop/empty"},
		wide:  true,
	},
	{
		name: "ids are too long",
		tell: lengthened(1100),
		may:  []string{"receiver/stored-as", "mark/exactly-these", "mark/gone-or-marked"},
		fails: []string{
			"maildrop/ids",
		},
	},
	{
		name:  "unique-ids are not unique",
		tell:  entries(func(e *backends.Entry) { e.UIDL = "1" }),
		fails: []string{"maildrop/uidls"},
	},
	{
		name:  "unique-ids with spaces",
		tell:  entries(func(e *backends.Entry) { e.UIDL = "1 " + string(e.ID) }),
		fails: []string{"maildrop/uidls"},
	},
	{
		name: "ids are of the session",
		tell: sessionIDs(),
		may:  []string{"receiver/stored-as", "mark/exactly-these", "mark/gone-or-marked"},
		fails: []string{
			"maildrop/ids-last", "maildrop/the-same-again", "maildrop/context-bounds-the-opening",
			"maildrop/removed-by-another", "maildrop/one-account-twice", "remove/seen-at-once",
		},
	},
	{
		name: "ids are places in the list",
		tell: placeIDs(),
		fails: []string{
			"maildrop/ids-last", "maildrop/ids-are-not-used-again", "remove/seen-at-once", "remove/gone-already",
		},
		may: []string{"receiver/stored-as", "mark/exactly-these", "mark/gone-or-marked", "concurrency/deliveries-and-readers"},
	},
}
