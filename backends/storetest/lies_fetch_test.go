package storetest_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
)

var fetchLies = []lie{
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
			"maildrop/encodings-described", "maildrop/bodies-described",
		},
	},
	{
		name: "a fetch that fails is the end of the session",
		tell: func(l *liar) {
			var broken sync.Map // by maildrop
			fetching(func(d *liarDrop, ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
				if _, is := broken.Load(d); is {
					return nil, backends.Fail(backends.Temporary, "the connection was lost")
				}
				c, err := d.Maildrop.Fetch(ctx, r)
				if backends.KindOf(err) == backends.NotFound {
					broken.Store(d, nil)
				}
				return c, err
			})(l)
		},
		fails: []string{"maildrop/beside-one-that-fails", "maildrop/nobody's-message"},
		wide:  true,
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
}
