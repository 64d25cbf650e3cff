package maildrop_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
)

// MarkSeen implements [backends.Marker].
func (d *fakeDrop) MarkSeen(_ context.Context, ids []backends.MessageID) error {
	d.marks = append(d.marks, fmt.Sprint(ids))
	return d.onMark
}

func markRead(p *policy.Policy) { p.MarkRead = true }

// TestFetchedIsMarkedAsRead: what was fetched whole is marked, once, at the session's end; what
// was only looked at, read ahead, measured or removed is not.
func TestFetchedIsMarkedAsRead(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*policy.Policy)
		end    func(t *testing.T, g *gateway)
		want   string
	}{
		{"fetched", markRead, func(t *testing.T, g *gateway) {
			drop := g.login()
			for _, n := range []int{3, 1, 3} {
				if got, err := read(t, drop, n, -1); err != nil || got != letter {
					t.Errorf("%q, %v", got, err)
				}
			}
			_ = drop.Close()
		}, "[[m1 m3]]"},
		{"not wanted", func(*policy.Policy) {}, func(t *testing.T, g *gateway) {
			_, _ = read(t, g.login(), 1, -1)
		}, "[]"},
		{"TOP", markRead, func(t *testing.T, g *gateway) {
			_, _ = read(t, g.login(), 1, 1_000_000)
		}, "[]"},
		{"given up midway", markRead, func(t *testing.T, g *gateway) {
			content, err := g.login().Open(t.Context(), 1, -1)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = content.Read(make([]byte, 3))
			_ = content.Close()
		}, "[]"},
		{"measured", markRead, func(t *testing.T, g *gateway) {
			g.store.entries[0].Exact = false
			if size, err := g.login().Size(t.Context(), 1); err != nil || size != int64(len(letter)) {
				t.Errorf("%d octets, %v", size, err)
			}
		}, "[]"},
		{"removed", markRead, func(t *testing.T, g *gateway) {
			drop := g.login()
			_, _ = read(t, drop, 1, -1)
			_, _ = read(t, drop, 2, -1)
			if err := drop.Update(t.Context(), []int{1}); err != nil {
				t.Error(err)
			}
		}, "[[m2]]"},
		{"a notice", markRead, func(t *testing.T, g *gateway) {
			g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) { return nil, errDamaged }
			if got, err := read(t, g.login(), 1, -1); err != nil || !isNotice(got) {
				t.Errorf("%q, %v", got, err)
			}
		}, "[]"},
		{"a store that cannot", markRead, func(t *testing.T, g *gateway) {
			g.store.onMark = errors.New("no such mark")
			drop := g.login()
			_, _ = read(t, drop, 1, -1)
			if err := drop.Close(); err != nil {
				t.Errorf("the session's end: %v", err)
			}
		}, "[[m1]]"},
	} {
		for _, writerTo := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " ", writerTo), func(t *testing.T) {
				g := newGateway(t, with(c.change), func(o *maildrop.Options) { o.Quarantine = nil })
				g.store.writerTo = writerTo
				for _, id := range []string{"m1", "m2", "m3"} {
					g.store.add(id, letter)
				}
				t.Run("session", func(t *testing.T) {
					g.t = t // the session ends with this
					c.end(t, g)
				})
				if got := fmt.Sprint(g.store.marks); got != c.want {
					t.Errorf("marked are %s, not %s", got, c.want)
				}
			})
		}
	}
}
