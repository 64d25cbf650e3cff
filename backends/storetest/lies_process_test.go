package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
)

// killable is a process that the reference is said to run in. What it has taken in survives each
// end, unless a lie says otherwise.
type killable struct{ liar func() *liar }

func (k killable) Kill(ctx context.Context) error {
	l := k.liar()
	l.mu.Lock()
	drops := l.drops
	l.drops, l.wasOpen = nil, false
	l.mu.Unlock()
	for _, d := range drops {
		l.wasOpen = l.wasOpen || !d.closed.Load()
	}
	if l.killed != nil {
		return l.killed(ctx)
	}
	return nil
}

func (k killable) End(_ context.Context, way storetest.Ending) error {
	if l := k.liar(); l.ending != nil {
		return l.ending(way)
	}
	return nil
}

// inbox opens anna's inbox, around every lie.
func (l *liar) inbox(ctx context.Context, look func(backends.Maildrop, []backends.Entry)) error {
	d, err := l.Store.Open(ctx, backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialImpersonation, User: "anna"}})
	if err != nil {
		return err
	}
	defer d.Close()
	var all []backends.Entry
	for e, err := range d.List(ctx) {
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	look(d, all)
	return nil
}

// losingKeys makes each further attempt under some keys a new message.
func losingKeys(forgotten func(l *liar, key string) bool) func(*liar) {
	return func(l *liar) {
		n := 0
		l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
			another := d.Retry && forgotten(l, d.Key)
			l.mu.Lock() // attempts come at once
			if another {
				n++
				d.Key = fmt.Sprintf("another-%d", n)
			}
			l.keys = append(l.keys, d.Key)
			l.mu.Unlock()
			return l.Store.Deliver(ctx, d, content)
		}
	}
}

var processLies = []lie{
	{
		name: "mail is in memory alone",
		tell: func(l *liar) {
			l.killed = func(ctx context.Context) error {
				return l.inbox(ctx, func(d backends.Maildrop, all []backends.Entry) {
					var ids []backends.MessageID
					for _, e := range all {
						ids = append(ids, e.ID)
					}
					_, _ = d.Remove(ctx, ids, backends.DisposalRemove)
				})
			}
		},
		fails: []string{
			"process/killed-after-a-delivery", "process/killed-between-two-attempts", "process/killed-after-a-removal",
			"process/ids-last", "process/killed-with-a-session",
		},
	},
	{
		name: "keys are in memory alone",
		tell: func(l *liar) {
			dead := false
			l.killed = func(context.Context) error {
				dead = true
				return nil
			}
			losingKeys(func(*liar, string) bool { return dead })(l)
		},
		may:   []string{"concurrency/one-key-at-once"},
		fails: []string{"process/killed-between-two-attempts"},
	},
	{
		name: "half a message is kept",
		tell: func(l *liar) {
			half := 0
			l.deliver = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				started := make([]byte, 50_000)
				n, _ := io.ReadFull(content, started)
				if n == len(started) && d.Size >= 190_000 && d.Size < 250_000 && !d.Retry {
					half++
					d.Key, d.Size = fmt.Sprintf("half-%d", half), -1
					_, _ = l.Store.Put("anna", "", append(started, "\r\n"...))
					_, err := io.Copy(io.Discard, content)
					return nil, backends.Fail(backends.Temporary, "killed: %w", err)
				}
				return l.Store.Deliver(ctx, d, io.MultiReader(bytes.NewReader(started[:n]), content))
			}
		},
		wide:  true,
		fails: []string{"process/killed-with-half-a-message"},
	},
	{
		name: "a process that is killed leaves the inbox locked",
		tell: func(l *liar) {
			locked := false
			l.killed = func(context.Context) error {
				locked = l.wasOpen
				return nil
			}
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				if locked {
					return nil, backends.Fail(backends.InUse, "locked")
				}
				return l.Store.Open(ctx, r)
			}
		},
		wide:  true,
		fails: []string{"process/killed-with-a-session"},
	},
	{
		name:  "it does not end by Shutdown",
		tell:  func(l *liar) { l.ending = stubborn(storetest.Shutdown) },
		fails: []string{"process/ends-by-shutdown"},
	},
	{
		name:  "it does not end by SIGTERM",
		tell:  func(l *liar) { l.ending = stubborn(storetest.Terminate) },
		fails: []string{"process/ends-by-sigterm"},
	},
	{
		name:  "it outlives its lifeline",
		tell:  func(l *liar) { l.ending = stubborn(storetest.Lifeline) },
		fails: []string{"process/ends-with-its-lifeline"},
	},
	{
		name: "fetches that are cancelled are never ended",
		tell: dropping(func(d *liarDrop) {
			var mu sync.Mutex
			stuck := 0
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				mu.Lock()
				full := stuck >= 64
				mu.Unlock()
				if full {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				c, err := d.Maildrop.Fetch(ctx, r)
				if err != nil {
					return nil, err
				}
				return &leaking{Content: c, leave: func() {
					mu.Lock()
					stuck++
					mu.Unlock()
				}}, nil
			}
		}),
		fails: []string{"maildrop/cancelled-fetches"},
	},
	{
		name: "a content that is not read is given up",
		tell: dropping(func(d *liarDrop) {
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				c, err := d.Maildrop.Fetch(ctx, r)
				if err != nil {
					return nil, err
				}
				return &hasty{Content: c, until: time.Now().Add(200 * time.Millisecond)}, nil
			}
		}),
		wide:  true,
		fails: []string{"maildrop/unread-content-waits"},
	},
	{
		name: "a list that is not read is given up",
		tell: dropping(func(d *liarDrop) {
			d.list = func(ctx context.Context) iter.Seq2[backends.Entry, error] {
				return func(yield func(backends.Entry, error) bool) {
					until := time.Now().Add(200 * time.Millisecond)
					for e, err := range d.Maildrop.List(ctx) {
						if time.Now().After(until) {
							e, err = backends.Entry{}, backends.Fail(backends.Temporary, "more than the window")
						}
						if !yield(e, err) || err != nil {
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/unread-list-waits"},
	},
	{
		name: "keys are forgotten with their messages",
		tell: func(l *liar) {
			emptied := make(map[string]bool)
			l.drop = func(d *liarDrop) {
				d.remove = func(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
					l.mu.Lock()
					for _, key := range l.keys {
						emptied[key] = true
					}
					l.mu.Unlock()
					return d.Maildrop.Remove(ctx, ids, disposal)
				}
			}
			losingKeys(func(l *liar, key string) bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return emptied[key]
			})(l)
		},
		fails: []string{"receiver/key-outlives-its-message"},
	},
	{
		name: "the last ten keys are remembered",
		tell: losingKeys(func(l *liar, key string) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			for i, known := range l.keys {
				if known == key {
					return i < len(l.keys)-10
				}
			}
			return false
		}),
		fails: []string{"receiver/key-among-many"},
	},
}

func stubborn(about storetest.Ending) func(storetest.Ending) error {
	return func(way storetest.Ending) error {
		if way == about {
			return errors.New("it had to be killed")
		}
		return nil
	}
}

// leaking tells of a content that is closed before its end.
type leaking struct {
	backends.Content
	leave func()
	whole bool
}

func (c *leaking) Read(p []byte) (int, error) {
	n, err := c.Content.Read(p)
	c.whole = c.whole || err == io.EOF
	return n, err
}

func (c *leaking) Close() error {
	if !c.whole {
		c.leave()
	}
	return c.Content.Close()
}

// hasty fails when it is not read at once.
type hasty struct {
	backends.Content
	until time.Time
}

func (c *hasty) Read(p []byte) (int, error) {
	if time.Now().After(c.until) {
		return 0, backends.Fail(backends.Temporary, "more than the window")
	}
	return c.Content.Read(p)
}
