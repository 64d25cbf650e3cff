package dequeue

import (
	"context"

	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
)

// run starts the mail that one question is about, destination by destination.
type run struct {
	spool  Spool
	table  *route.Table
	wanted route.Wanted
	who    route.Asker

	names  []string // destinations that are next
	looks  bool     // the spool is looked through for more of them, behind after
	after  string
	from   spool.Place // in the first of names
	began  bool        // with the first of names
	filter spool.Filter
	// messages are those that were started, as far as they are counted.
	messages map[spool.ID]struct{}
}

// newRun makes a run. The destinations of one domain are known; for others the spool is looked through.
func newRun(s Spool, t *route.Table, w route.Wanted, who route.Asker) *run {
	r := &run{
		spool: s, table: t, wanted: w, who: who, looks: looksFor(w), messages: make(map[spool.ID]struct{}),
		filter: spool.Filter{Domain: w.Domain, Below: w.Below},
	}
	if !r.looks {
		r.names = r.meant(t.DestinationsOf(w.Domain))
	}
	return r
}

// looksFor says whether the destinations of what is wanted are not known, and looked for among all.
func looksFor(w route.Wanted) bool { return w.Below || w.Route != "" }

// meant leaves the destinations that may have something of it.
func (r *run) meant(names []string) (all []string) {
	seen := make(map[string]bool)
	for _, name := range names {
		if !seen[name] && r.table.AskedFor(r.wanted, r.who, name) {
			all = append(all, name)
		}
		seen[name] = true
	}
	return all
}

// steps goes on for so many steps of some hundred recipients. No more: all is done.
func (r *run) steps(ctx context.Context, most int) (more bool, err error) {
	for range most {
		name, err := r.next(ctx)
		if err != nil || name == "" {
			return false, err
		}
		r.filter.Destination = name
		done, err := r.spool.Retry(ctx, r.filter, r.from)
		if err != nil {
			return false, err
		}
		for _, t := range done.Changed {
			if len(r.messages) < countMost {
				r.messages[t.Message] = struct{}{}
			}
		}
		if r.from, r.began = done.Next, true; r.from == (spool.Place{}) {
			r.names, r.began = r.names[1:], false
		}
	}
	name, err := r.next(ctx)
	return name != "", err
}

// countMost bounds how many messages are counted.
const countMost = 1000

// next is the destination that is next; empty: there is none. Those without mail cost one look.
func (r *run) next(ctx context.Context) (string, error) {
	for {
		for len(r.names) > 0 {
			if r.began {
				return r.names[0], nil
			}
			waits, err := r.spool.Waits(ctx, r.names[0])
			if err != nil {
				return "", err
			}
			if waits {
				return r.names[0], nil
			}
			r.names = r.names[1:]
		}
		if !r.looks {
			return "", nil
		}
		page, err := r.spool.Destinations(ctx, r.after, pageMost)
		if err != nil {
			return "", err
		}
		if r.looks = len(page) == pageMost; len(page) > 0 {
			r.after = page[len(page)-1]
		}
		r.names = r.meant(page)
	}
}
