package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// sleep waits a moment.
func sleep(ctx context.Context) error {
	select {
	case <-time.After(30 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func dropping(change func(*liarDrop)) func(*liar) { return func(l *liar) { l.drop = change } }

// entries changes the entries of each list.
func entries(change func(*backends.Entry)) func(*liar) {
	return dropping(func(d *liarDrop) { d.entry = change })
}

// listing changes the list as a whole.
func listing(change func([]backends.Entry) []backends.Entry) func(*liar) {
	return dropping(func(d *liarDrop) {
		d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
			return func(yield func(backends.Entry, error) bool) {
				var all []backends.Entry
				for e, err := range d.Maildrop.List(ctx) {
					if err != nil {
						yield(e, err)
						return
					}
					all = append(all, e)
				}
				for _, e := range change(all) {
					if !yield(e, nil) {
						return
					}
				}
			}
		}
	})
}

// rendering changes what is fetched.
func rendering(change func(backends.FetchRequest, []byte) []byte) func(*liar) {
	return dropping(func(d *liarDrop) { d.rewrite(change) })
}

// fetching changes what Fetch answers.
func fetching(change func(*liarDrop, context.Context, backends.FetchRequest) (backends.Content, error)) func(*liar) {
	return dropping(func(d *liarDrop) {
		d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) { return change(d, ctx, r) }
	})
}

var maildropLies = []lie{
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
		fails: []string{"maildrop/unknown-folder", "maildrop/another-folder"},
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
		may: []string{"concurrency/deliveries-and-readers"},
	},
	{
		name: "lines end with LF",
		tell: rendering(func(_ backends.FetchRequest, data []byte) []byte {
			return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		}),
		fails: []string{"maildrop/whole", "maildrop/canonical", "maildrop/sizes"},
		wide:  true,
	},
	{
		name:  "the last line end is missing",
		tell:  rendering(func(_ backends.FetchRequest, data []byte) []byte { return bytes.TrimSuffix(data, []byte("\r\n")) }),
		fails: []string{"maildrop/whole", "maildrop/canonical", "maildrop/sizes"},
		wide:  true,
	},
	{
		name: "long messages are cut and look complete",
		tell: rendering(func(_ backends.FetchRequest, data []byte) []byte { return data[:min(len(data), 350_000)] }),
		fails: []string{
			"maildrop/interleaved", "maildrop/given-up-contents", "maildrop/large", "receiver/content-large",
		},
	},
	{
		name: "a message is rendered anew each time",
		tell: func(l *liar) {
			var n atomic.Int64
			rendering(func(_ backends.FetchRequest, data []byte) []byte {
				return append(fmt.Appendf(nil, "X-Rendered: %09d\r\n", n.Add(1)), data...)
			})(l)
		},
		fails: []string{
			"maildrop/sizes", "maildrop/the-same-again", "maildrop/top-0", "maildrop/top-1", "maildrop/top-n", "maildrop/top-huge",
			"maildrop/top-of-an-empty-body", "maildrop/top-of-long-lines", "maildrop/top-of-a-large-message",
		},
	},
	{
		name: "a content announces another size",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if err != nil {
				return nil, err
			}
			return sizedContent{c, c.Size() + 1}, nil
		}),
		fails: []string{"maildrop/announced-size"},
	},
	{
		name: "a top announces the whole size",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if err != nil || !r.Top {
				return c, err
			}
			whole, err := d.Maildrop.Fetch(ctx, backends.FetchRequest{ID: r.ID})
			if err != nil {
				return nil, err
			}
			return sizedContent{c, whole.Size()}, nil
		}),
		fails: []string{"maildrop/announced-size"},
	},
	{
		name: "small reads lose octets",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if err != nil {
				return nil, err
			}
			return forgetful{c}, nil
		}),
		fails: []string{"maildrop/small-reads"},
	},
	{
		name: "Lines is looked at without Top",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			r.Top = r.Top || r.Lines > 0
			return d.Maildrop.Fetch(ctx, r)
		}),
		fails: []string{"maildrop/lines-without-top"},
	},
	{
		name: "Top counts from the header's start",
		tell: topping(func(whole []byte, lines int) []byte {
			return bytes.Join(bytes.SplitAfter(whole, []byte("\n"))[:min(lines, bytes.Count(whole, []byte("\n")))], nil)
		}),
		fails: []string{
			"maildrop/top-0", "maildrop/top-1", "maildrop/top-n", "maildrop/top-huge", "maildrop/top-of-an-empty-body",
			"maildrop/top-of-long-lines", "maildrop/top-of-a-large-message",
		},
	},
	{
		name: "Top gives the whole message",
		tell: topping(func(whole []byte, _ int) []byte { return whole }),
		fails: []string{
			"maildrop/top-0", "maildrop/top-1", "maildrop/top-n", "maildrop/top-of-long-lines", "maildrop/top-of-a-large-message",
		},
	},
	{
		name: "Top with 0 lines gives the whole message",
		tell: topping(func(whole []byte, lines int) []byte {
			if lines == 0 {
				return whole
			}
			return top(whole, lines)
		}),
		fails: []string{"maildrop/top-0", "maildrop/top-of-long-lines", "maildrop/top-of-a-large-message"},
	},
	{
		name: "Top leaves the empty line out",
		tell: topping(func(whole []byte, lines int) []byte {
			if lines == 0 {
				return bytes.TrimSuffix(top(whole, 0), []byte("\r\n"))
			}
			return top(whole, lines)
		}),
		fails: []string{"maildrop/top-0", "maildrop/top-of-an-empty-body", "maildrop/top-of-long-lines", "maildrop/top-of-a-large-message"},
	},
	{
		name:  "Top gives a line too many",
		tell:  topping(func(whole []byte, lines int) []byte { return top(whole, lines+1) }),
		fails: []string{"maildrop/top-0", "maildrop/top-1", "maildrop/top-n", "maildrop/top-of-long-lines", "maildrop/top-of-a-large-message"},
	},
	{
		name: "Top does not count empty lines",
		tell: topping(func(whole []byte, lines int) []byte {
			for n := 0; ; n++ {
				if part := top(whole, n); len(part) == len(whole) || bytes.Count(part[len(top(whole, 0)):], []byte("\r\n"))-bytes.Count(part[len(top(whole, 0)):], []byte("\r\n\r\n")) >= lines {
					return part
				}
			}
		}),
		fails: []string{"maildrop/top-n"},
	},
	{
		name: "Top is at most 2000 octets",
		tell: topping(func(whole []byte, lines int) []byte { part := top(whole, lines); return part[:min(len(part), 2000)] }),
		fails: []string{
			"maildrop/top-of-long-lines", "maildrop/top-of-a-large-message",
		},
	},
	{
		name: "Top counts up to 32767 lines",
		tell: topping(func(whole []byte, lines int) []byte { return top(whole, int(int16(lines))) }),
		fails: []string{
			"maildrop/top-huge",
		},
	},
	{
		name: "gone is an outage",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if backends.KindOf(err) == backends.NotFound {
				err = backends.Fail(backends.Temporary, "no")
			}
			return c, err
		}),
		fails: []string{"maildrop/nobody's-message", "maildrop/removed-by-another", "remove/then-fetch"},
	},
	{
		name: "a made-up id gives the first message",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			if all := d.entries(ctx); len(all) > 0 && !strings.Contains(string(r.ID), "-") {
				r.ID = all[0].ID
			}
			return d.Maildrop.Fetch(ctx, r)
		}),
		fails: []string{"maildrop/nobody's-message"},
	},
	{
		name: "ids are the store's, not the account's",
		tell: crossAccount(),
		fails: []string{
			"maildrop/another's-message", "remove/another's-message",
		},
	},
	{
		name: "one content at a time",
		tell: dropping(func(d *liarDrop) {
			busy := make(chan struct{}, 1)
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				select {
				case busy <- struct{}{}:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				c, err := d.Maildrop.Fetch(ctx, r)
				if err != nil {
					<-busy
					return nil, err
				}
				return &releasing{Content: c, release: func() { <-busy }}, nil
			}
		}),
		fails: []string{"maildrop/interleaved"},
	},
	{
		name: "contents in flight are mixed up",
		tell: dropping(func(d *liarDrop) {
			var mu sync.Mutex
			var last backends.MessageID
			open := 0
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				mu.Lock()
				defer mu.Unlock()
				if open++; open == 3 {
					r.ID, last = last, r.ID
				} else {
					last = r.ID
				}
				c, err := d.Maildrop.Fetch(ctx, r)
				if err != nil {
					open--
					return nil, err
				}
				return &releasing{Content: c, release: func() { mu.Lock(); open--; mu.Unlock() }}, nil
			}
		}),
		fails: []string{"maildrop/interleaved"},
		may:   []string{"concurrency/fetches"},
	},
	{
		name: "contents that are given up are not given back",
		tell: dropping(func(d *liarDrop) {
			free := make(chan struct{}, 12)
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				select {
				case free <- struct{}{}:
				default:
					return nil, backends.Fail(backends.Temporary, "too many contents are open")
				}
				c, err := d.Maildrop.Fetch(ctx, r)
				if err != nil {
					<-free
					return nil, err
				}
				return &atEnd{Content: c, release: func() { <-free }}, nil
			}
		}),
		fails: []string{"maildrop/given-up-contents"},
		may:   []string{"concurrency/fetches"},
	},
	{
		name: "reading ignores the fetch's context",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			return d.Maildrop.Fetch(context.WithoutCancel(ctx), r)
		}),
		fails: []string{"maildrop/fetch-cancelled"},
	},
	{
		name: "a cancelled fetch ends the session",
		tell: dropping(func(d *liarDrop) {
			var mu sync.Mutex
			var fetches []context.Context
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				mu.Lock()
				fetches = append(fetches, ctx)
				if slices.ContainsFunc(fetches, func(c context.Context) bool { return c.Err() != nil }) {
					_ = d.Maildrop.Close()
				}
				mu.Unlock()
				return d.Maildrop.Fetch(ctx, r)
			}
		}),
		fails: []string{"maildrop/fetch-cancelled", "maildrop/fetch-cancelled-before"},
	},
	{
		name: "a cancelled fetch is a message that is gone",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			if ctx.Err() != nil {
				return nil, backends.Fail(backends.NotFound, "no")
			}
			return d.Maildrop.Fetch(ctx, r)
		}),
		fails: []string{"maildrop/fetch-cancelled-before"},
	},
	{
		name: "Fetch ignores its context",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			_ = deafTo(ctx)
			return d.Maildrop.Fetch(ctx, r)
		}),
		fails: []string{"maildrop/fetch-cancelled-before"},
	},
	{
		name: "the opening's context ends the session",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if err == nil {
					return &bound{d, ctx}, nil
				}
				return nil, err
			}
		},
		fails: []string{"maildrop/context-bounds-the-opening"},
	},
	{
		name: "a cancelled opening is a wrong password",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				if ctx.Err() != nil {
					return nil, backends.Fail(backends.BadCredentials, "no")
				}
				return l.Store.Open(ctx, r)
			}
		},
		fails: []string{"maildrop/open-cancelled"},
	},
	{
		name: "what was read is removed at Close",
		tell: dropping(func(d *liarDrop) {
			var mu sync.Mutex
			var read []backends.MessageID
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				mu.Lock()
				read = append(read, r.ID)
				mu.Unlock()
				return d.Maildrop.Fetch(ctx, r)
			}
			d.close = func() error {
				mu.Lock()
				defer mu.Unlock()
				if len(read) >= 3 { // a client that downloads everything
					_, _ = d.Maildrop.Remove(context.Background(), read, backends.DisposalRemove)
				}
				return d.Maildrop.Close()
			}
		}),
		fails: []string{
			"maildrop/ids-last", "maildrop/close-removes-nothing", "maildrop/removed-by-another",
			"concurrency/deliveries-and-readers",
		},
	},
	{
		name: "new mail is lost when an open session closes",
		tell: dropping(func(d *liarDrop) {
			var second backends.MessageID
			found := d.entries(context.Background())
			before := len(found)
			if before == 2 {
				second = found[1].ID
			}
			d.close = func() error {
				all := d.entries(context.Background())
				if i := len(all) - 1; before == 2 && i == 1 && all[i].ID != second {
					_, _ = d.Maildrop.Remove(context.Background(), []backends.MessageID{all[i].ID}, backends.DisposalRemove)
				}
				return d.Maildrop.Close()
			}
		}),
		fails: []string{"maildrop/new-mail"},
	},
	{
		name: "one session for all accounts",
		tell: func(l *liar) {
			var mu sync.Mutex
			var id string
			open := 0
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if err != nil {
					return nil, err
				}
				mu.Lock()
				defer mu.Unlock()
				if open > 0 && id != d.Account().ID {
					_ = d.Close()
					return nil, backends.Fail(backends.InUse, "another account is open")
				}
				open, id = open+1, d.Account().ID
				return &closingOnceDrop{Maildrop: d, release: func() { mu.Lock(); open--; mu.Unlock() }}, nil
			}
		},
		fails: []string{"maildrop/two-accounts-at-once"},
	},
	{
		name: "a second session is an outage",
		tell: func(l *liar) {
			var mu sync.Mutex
			open := make(map[string]bool)
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if err != nil {
					return nil, err
				}
				id := d.Account().ID
				mu.Lock()
				defer mu.Unlock()
				if open[id] {
					_ = d.Close()
					return nil, backends.Fail(backends.Temporary, "it is open")
				}
				open[id] = true
				return &closingOnceDrop{Maildrop: d, release: func() { mu.Lock(); delete(open, id); mu.Unlock() }}, nil
			}
		},
		fails: []string{
			"maildrop/removed-by-another", "maildrop/one-account-twice", "remove/seen-at-once",
		},
		may: []string{"concurrency/sessions"},
	},
	{
		name: "a maildrop outlives its Close",
		tell: dropping(func(d *liarDrop) { d.close = func() error { return nil } }),
		fails: []string{
			"maildrop/use-after-close", "maildrop/list-after-close", "maildrop/content-after-close",
		},
	},
	{
		name: "failures of a closed maildrop have no class",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if backends.KindOf(err) == backends.Temporary {
				return nil, errors.New("use of closed maildrop")
			}
			return c, err
		}),
		fails: []string{"hygiene/failures-are-failures"},
	},
	{
		name: "no more than eight fetches at once",
		tell: dropping(func(d *liarDrop) {
			busy := make(chan struct{}, 8)
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				select {
				case busy <- struct{}{}:
					defer func() { <-busy }()
				default:
					return nil, backends.Fail(backends.Throttled, "too many")
				}
				if ctx.Err() == nil {
					_ = sleep(ctx)
				}
				return d.Maildrop.Fetch(ctx, r)
			}
		}),
		fails: []string{"concurrency/fetches"},
	},
	{
		name: "large messages do not come",
		tell: fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			c, err := d.Maildrop.Fetch(ctx, r)
			if err == nil && c.Size() > 450_000 {
				return nil, backends.Fail(backends.Poison, "too much")
			}
			return c, err
		}),
		fails: []string{
			"maildrop/fetch-cancelled", "maildrop/large", "maildrop/content-after-close",
			"receiver/content-large", "close/content-under-way-fails",
		},
	},
}

type otherAccount struct{ backends.Maildrop }

func (otherAccount) Account() backends.Account { return backends.Account{ID: "somebody"} }

type sizedContent struct {
	backends.Content
	size int64
}

func (c sizedContent) Size() int64 { return c.size }

// forgetful reads at least 64 octets and gives away what there is room for.
type forgetful struct{ backends.Content }

func (c forgetful) Read(p []byte) (int, error) {
	buffer := make([]byte, max(64, len(p)))
	n, err := c.Content.Read(buffer)
	return copy(p, buffer[:n]), err
}

// releasing calls back when it is closed.
type releasing struct {
	backends.Content
	once    sync.Once
	release func()
}

func (c *releasing) Close() error {
	c.once.Do(c.release)
	return c.Content.Close()
}

// atEnd calls back only when it has been read to its end.
type atEnd struct {
	backends.Content
	once    sync.Once
	release func()
}

func (c *atEnd) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	if errors.Is(err, io.EOF) {
		c.once.Do(c.release)
	}
	return n, err
}

// bound is a maildrop that lives as long as the context that opened it.
type bound struct {
	backends.Maildrop
	ctx context.Context
}

func (d *bound) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	if d.ctx.Err() != nil {
		return nil, backends.Fail(backends.Temporary, "the session is over")
	}
	return d.Maildrop.Fetch(ctx, r)
}

type closingOnceDrop struct {
	backends.Maildrop
	once    sync.Once
	release func()
}

func (d *closingOnceDrop) Close() error {
	d.once.Do(d.release)
	return d.Maildrop.Close()
}

// closed is the failure of a maildrop that has been closed.
func closed(d *liarDrop) error {
	_, err := d.Maildrop.Remove(context.Background(), nil, backends.DisposalRemove)
	return err
}

// top is RFC 1939's TOP.
func top(data []byte, lines int) []byte {
	i := bytes.Index(data, []byte("\r\n\r\n"))
	if i < 0 {
		return data
	}
	for i += 4; lines > 0 && i < len(data); lines-- {
		i += bytes.IndexByte(data[i:], '\n') + 1
	}
	return data[:i]
}

// topping answers Top from the whole message.
func topping(make func(whole []byte, lines int) []byte) func(*liar) {
	return fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
		c, err := d.Maildrop.Fetch(ctx, backends.FetchRequest{ID: r.ID})
		if err != nil || !r.Top {
			return c, err
		}
		return &liarContent{Content: c, change: func(whole []byte) []byte { return make(whole, r.Lines) }}, nil
	})
}

// renamed is a maildrop whose ids are made from the store's and back.
func renamed(to func(d *liarDrop, ctx context.Context, id backends.MessageID) backends.MessageID, from func(d *liarDrop, ctx context.Context, id backends.MessageID) backends.MessageID) func(*liar) {
	return dropping(func(d *liarDrop) {
		d.entry = func(e *backends.Entry) { e.ID = to(d, context.Background(), e.ID) }
		d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			r.ID = from(d, ctx, r.ID)
			return d.Maildrop.Fetch(ctx, r)
		}
		d.remove = func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
			var own []backends.MessageID
			for _, id := range ids {
				own = append(own, from(d, ctx, id))
			}
			results, err := d.Maildrop.Remove(ctx, own, disposal)
			for i := range results {
				results[i].ID = ids[i]
			}
			return results, err
		}
	})
}

func lengthened(by int) func(*liar) {
	filler := strings.Repeat("=", by)
	return renamed(
		func(_ *liarDrop, _ context.Context, id backends.MessageID) backends.MessageID {
			return id + backends.MessageID(filler)
		},
		func(_ *liarDrop, _ context.Context, id backends.MessageID) backends.MessageID {
			own, found := strings.CutSuffix(string(id), filler)
			if !found {
				return "none"
			}
			return backends.MessageID(own)
		})
}

// sessionIDs are good for the session that made them.
func sessionIDs() func(*liar) {
	return renamed(
		func(d *liarDrop, _ context.Context, id backends.MessageID) backends.MessageID {
			return backends.MessageID(fmt.Sprintf("%s@%p", id, d))
		},
		func(d *liarDrop, _ context.Context, id backends.MessageID) backends.MessageID {
			own, found := strings.CutSuffix(string(id), fmt.Sprintf("@%p", d))
			if !found {
				return "none"
			}
			return backends.MessageID(own)
		})
}

// placeIDs are the messages' places in the list, as it was when the session listed it.
func placeIDs() func(*liar) {
	return dropping(func(d *liarDrop) {
		snapshot := d.entries(context.Background())
		name := func(id backends.MessageID) backends.MessageID {
			i := slices.IndexFunc(snapshot, func(e backends.Entry) bool { return e.ID == id })
			return backends.MessageID(fmt.Sprintf("-%d", i+1))
		}
		own := func(id backends.MessageID) backends.MessageID {
			for i, e := range snapshot {
				if string(id) == fmt.Sprintf("-%d", i+1) {
					return e.ID
				}
			}
			return "none"
		}
		d.entry = func(e *backends.Entry) { e.ID = name(e.ID) }
		d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
			r.ID = own(r.ID)
			return d.Maildrop.Fetch(ctx, r)
		}
		d.remove = func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
			var all []backends.MessageID
			for _, id := range ids {
				all = append(all, own(id))
			}
			results, err := d.Maildrop.Remove(ctx, all, disposal)
			for i := range results {
				results[i].ID = ids[i]
			}
			return results, err
		}
	})
}

// crossAccount looks for an id in every account's inbox.
func crossAccount() func(*liar) {
	return func(l *liar) {
		l.drop = func(d *liarDrop) {
			other := func(ctx context.Context) backends.Maildrop {
				for _, user := range []string{"anna", "bert"} {
					if user != d.Account().ID {
						o, err := l.Store.Open(ctx, backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialActing, User: user}})
						if err == nil {
							return o
						}
					}
				}
				return d.Maildrop
			}
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				c, err := d.Maildrop.Fetch(ctx, r)
				if backends.KindOf(err) == backends.NotFound {
					return other(ctx).Fetch(ctx, r)
				}
				return c, err
			}
			d.remove = func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
				results, err := d.Maildrop.Remove(ctx, ids, disposal)
				if err == nil && disposal == backends.DisposalRemove {
					_, _ = other(ctx).Remove(ctx, ids, disposal)
				}
				return results, err
			}
		}
	}
}
