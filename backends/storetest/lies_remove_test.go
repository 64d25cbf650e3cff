package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

type removeFunc = func(context.Context, []backends.MessageID, backends.Disposal) ([]backends.Removal, error)

// removing changes what Remove does.
func removing(change func(*liarDrop, removeFunc) removeFunc) func(*liar) {
	return dropping(func(d *liarDrop) { d.remove = change(d, d.Maildrop.Remove) })
}

var removeLies = []lie{
	{
		name: "a disposal is described that there is not",
		tell: describing(func(d *backends.Description) {
			d.Reading.Disposals = append(d.Reading.Disposals, backends.DisposalMark)
		}),
		fails: []string{"remove/disposals-described"},
	},
	{
		name: "a disposal is refused only when there is something to remove",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if len(ids) == 0 {
					return nil, nil
				}
				return remove(ctx, ids, disposal)
			}
		}),
		fails: []string{"remove/asked-with-no-message"},
	},
	{
		name: "the neighbour is removed too",
		tell: removing(func(d *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				all := d.entries(ctx)
				results, err := remove(ctx, ids, disposal)
				if len(ids) == 2 && len(all) == 5 && ids[0] == all[1].ID {
					_, _ = remove(ctx, []backends.MessageID{all[2].ID}, disposal)
				}
				return results, err
			}
		}),
		fails: []string{"remove/exactly-these"},
	},
	{
		name: "results come sorted",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				results, err := remove(ctx, ids, disposal)
				slices.SortFunc(results, func(a, b backends.Removal) int {
					if len(a.ID) != len(b.ID) {
						return len(a.ID) - len(b.ID)
					}
					return slices.Compare([]byte(a.ID), []byte(b.ID))
				})
				return results, err
			}
		}),
		fails: []string{"remove/results-in-order"},
	},
	{
		name: "results for each message once",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				results, err := remove(ctx, ids, disposal)
				return slices.CompactFunc(results, func(a, b backends.Removal) bool { return a.ID == b.ID }), err
			}
		}),
		fails: []string{"remove/twice-in-one-call"},
	},
	{
		name: "removal waits for Close",
		tell: dropping(func(d *liarDrop) {
			var mu sync.Mutex
			var marked []backends.MessageID
			d.remove = func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if disposal != backends.DisposalRemove || closed(d) != nil {
					return d.Maildrop.Remove(ctx, ids, disposal)
				}
				mu.Lock()
				defer mu.Unlock()
				marked = append(marked, ids...)
				var results []backends.Removal
				for _, id := range ids {
					results = append(results, backends.Removal{ID: id})
				}
				return results, nil
			}
			d.close = func() error {
				mu.Lock()
				defer mu.Unlock()
				_, _ = d.Maildrop.Remove(context.Background(), marked, backends.DisposalRemove)
				return d.Maildrop.Close()
			}
		}),
		fails: []string{"remove/seen-at-once", "remove/then-fetch"},
	},
	{
		name: "gone already is a failure",
		tell: removing(func(d *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				all := d.entries(ctx)
				results, err := remove(ctx, ids, disposal)
				for i, id := range ids {
					if err == nil && !slices.ContainsFunc(all, func(e backends.Entry) bool { return e.ID == id }) {
						results[i].Failure = backends.Fail(backends.NotFound, "gone")
					}
				}
				return results, err
			}
		}),
		fails: []string{"maildrop/removed-by-another", "remove/gone-already", "remove/by-two-at-once"},
	},
	{
		name: "the same id twice is a failure",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				results, err := remove(ctx, ids, disposal)
				for i, id := range ids {
					if err == nil && slices.Contains(ids[:i], id) {
						results[i].Failure = backends.Fail(backends.NotFound, "gone")
					}
				}
				return results, err
			}
		}),
		fails: []string{"remove/twice-in-one-call"},
	},
	{
		name: "no ids are all ids",
		tell: removing(func(d *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if len(ids) == 0 {
					for _, e := range d.entries(ctx) {
						_, _ = remove(ctx, []backends.MessageID{e.ID}, disposal)
					}
				}
				return remove(ctx, ids, disposal)
			}
		}),
		fails: []string{"remove/nothing", "remove/asked-with-no-message"},
	},
	{
		name: "an id that never was spoils the call",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if slices.Contains(ids, "storetest-no-such-message") && disposal == backends.DisposalRemove {
					return nil, backends.Fail(backends.NotFound, "no such message")
				}
				return remove(ctx, ids, disposal)
			}
		}),
		fails: []string{"remove/made-up-ids"},
	},
	{
		name: "what is marked is listed again",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if disposal != backends.DisposalMark {
					return remove(ctx, ids, disposal)
				}
				var results []backends.Removal
				for _, id := range ids {
					results = append(results, backends.Removal{ID: id})
				}
				return results, nil
			}
		}),
		fails: []string{"remove/disposals-described", "remove/mark"},
	},
	{
		name: "the trash is not emptied and not filled",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				if disposal == backends.DisposalTrash {
					var results []backends.Removal
					for _, id := range ids {
						results = append(results, backends.Removal{ID: id})
					}
					return results, nil
				}
				return remove(ctx, ids, disposal)
			}
		}),
		fails: []string{"remove/to-the-trash"},
	},
	{
		name: "every disposal removes",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, _ backends.Disposal) ([]backends.Removal, error) {
				return remove(ctx, ids, backends.DisposalRemove)
			}
		}),
		fails: []string{"remove/disposals-described", "remove/unknown-disposal"},
	},
	{
		name: "Remove ignores its context",
		tell: removing(func(_ *liarDrop, remove removeFunc) removeFunc {
			return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				_ = deafTo(ctx)
				return remove(ctx, ids, disposal)
			}
		}),
		fails: []string{"remove/cancelled"},
	},
	{
		name: "two who remove are in each other's way",
		tell: func(l *liar) {
			busy := make(chan struct{}, 1)
			removing(func(_ *liarDrop, remove removeFunc) removeFunc {
				return func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
					select {
					case busy <- struct{}{}:
						defer func() { <-busy }()
					default:
						return nil, errors.New("locked")
					}
					_ = sleep(ctx)
					return remove(ctx, ids, disposal)
				}
			})(l)
		},
		fails: []string{"remove/by-two-at-once"},
	},
}
