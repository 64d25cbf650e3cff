package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

var sessionLies = []lie{
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
		may: []string{"receiver/stored-as", "mark/exactly-these"},
		fails: []string{
			"maildrop/ids-last", "maildrop/close-removes-nothing", "maildrop/removed-by-another",
			"concurrency/deliveries-and-readers",
		},
	},
	{
		name: "a session that rests is forgotten",
		tell: dropping(func(d *liarDrop) {
			opened := time.Now()
			d.fetch = func(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				if time.Since(opened) >= 90*time.Millisecond {
					return nil, backends.Fail(backends.Temporary, "who is there?")
				}
				return d.Maildrop.Fetch(ctx, r)
			}
		}),
		fails: []string{"maildrop/rests"},
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
				if open > 0 && id != d.Opened().Account.ID {
					_ = d.Close()
					return nil, backends.Fail(backends.InUse, "another account is open")
				}
				open, id = open+1, d.Opened().Account.ID
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
				id := d.Opened().Account.ID
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
			"maildrop/removed-by-another", "maildrop/beside-one-that-fails", "maildrop/one-account-twice", "remove/seen-at-once",
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

// idDrop says of its folder what it likes.
type idDrop struct {
	backends.Maildrop
	id string
}

func (d idDrop) Opened() backends.Opened {
	o := d.Maildrop.Opened()
	o.FolderID = d.id
	return o
}

// folderIDs makes a lie of what a maildrop says of its folder: name is what it was asked for by, n
// the how-manieth opening it is.
func folderIDs(of func(name string, n int64) string) func(*liar) {
	return func(l *liar) {
		var n atomic.Int64
		l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
			d, err := l.Store.Open(ctx, r)
			if err != nil {
				return nil, err
			}
			return idDrop{d, of(r.Folder, n.Add(1))}, nil
		}
	}
}

var folderLies = []lie{
	{
		name:  "a folder has another id each time",
		tell:  folderIDs(func(_ string, n int64) string { return fmt.Sprint("id", n) }),
		fails: []string{"maildrop/folder-id"},
	},
	{
		name:  "all folders have one id",
		tell:  folderIDs(func(string, int64) string { return "mailbox" }),
		fails: []string{"maildrop/folder-id"},
	},
	{
		name:  "a folder has no id",
		tell:  folderIDs(func(string, int64) string { return "" }),
		fails: []string{"maildrop/folder-id"},
	},
	{
		name:  "a folder's id has a line end",
		tell:  folderIDs(func(name string, _ int64) string { return name + "\n" }),
		fails: []string{"maildrop/folder-id"},
	},
}
