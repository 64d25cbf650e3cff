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

type otherAccount struct{ backends.Maildrop }

func (d otherAccount) Opened() backends.Opened {
	return backends.Opened{Account: backends.Account{ID: "somebody"}, FolderID: d.Maildrop.Opened().FolderID}
}

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
					if user != d.Opened().Account.ID {
						o, err := l.Store.Open(ctx, backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialImpersonation, User: user}})
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
