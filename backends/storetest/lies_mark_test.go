package storetest_test

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

type markFunc = func(context.Context, []backends.MessageID) error

// marking changes what MarkSeen does.
func marking(change func(*liarDrop, markFunc) markFunc) func(*liar) {
	return dropping(func(d *liarDrop) { d.mark = change(d, d.Maildrop.(backends.Marker).MarkSeen) })
}

var markLies = []lie{
	{
		name:  "marks are not described",
		tell:  describing(func(d *backends.Description) { d.Reading.MarksSeen = false }),
		fails: []string{"mark/described"},
	},
	{
		name: "all messages are marked as read",
		tell: marking(func(d *liarDrop, mark markFunc) markFunc {
			return func(ctx context.Context, ids []backends.MessageID) error {
				for _, e := range d.entries(ctx) {
					ids = append(ids, e.ID)
				}
				return mark(ctx, ids)
			}
		}),
		fails: []string{"mark/exactly-these"},
	},
	{
		name: "messages are marked as read up to one that is gone",
		tell: marking(func(d *liarDrop, mark markFunc) markFunc {
			return func(ctx context.Context, ids []backends.MessageID) error {
				var there []backends.MessageID
				for _, e := range d.entries(ctx) {
					there = append(there, e.ID)
				}
				if at := slices.IndexFunc(ids, func(id backends.MessageID) bool { return !slices.Contains(there, id) }); at >= 0 {
					ids = ids[:at]
				}
				return mark(ctx, ids)
			}
		}),
		fails: []string{"mark/gone-or-marked"},
	},
}
