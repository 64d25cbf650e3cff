package storetest_test

import (
	"context"
	"iter"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
)

// TestManners: the suite itself keeps what the contract asks of a caller. A maildrop is listed
// once and closed once, a content is closed once and in any case.
func TestManners(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := &manners{t: t}
		target := target(dir, func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				d, err := l.Store.Open(ctx, r)
				if err != nil {
					return nil, err
				}
				return &mannerly{Maildrop: d, manners: m, name: m.opened()}, nil
			}
		})
		err := storetest.Check(t.Context(), target, func(r storetest.Result) {
			if r.Err != nil {
				t.Errorf("%s/%s: %v", r.Group, r.Name, r.Err)
			}
			m.judge(r.Group + "/" + r.Name)
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// manners counts, for one case, what was opened, and what was done to it.
type manners struct {
	t                      *testing.T
	mu                     sync.Mutex
	number                 int
	listed, closed, ending map[int]int // by maildrop, maildrop, content
	contents               int
}

func (m *manners) opened() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.number++
	m.add(&m.closed, m.number, 0)
	return m.number
}

func (m *manners) add(to *map[int]int, key, n int) {
	if *to == nil {
		*to = make(map[int]int)
	}
	(*to)[key] += n
}

func (m *manners) note(to *map[int]int, key, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(to, key, n)
}

func (m *manners) judge(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.listed {
		if n > 1 {
			m.t.Errorf("%s lists a maildrop %d times", name, n)
		}
	}
	for _, n := range m.closed {
		if n != 1 {
			m.t.Errorf("%s closes a maildrop %d times", name, n)
		}
	}
	for _, n := range m.ending {
		if n != 1 {
			m.t.Errorf("%s closes a content %d times", name, n)
		}
	}
	m.listed, m.closed, m.ending = nil, nil, nil
}

type mannerly struct {
	backends.Maildrop
	manners *manners
	name    int
}

func (d *mannerly) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	d.manners.note(&d.manners.listed, d.name, 1)
	return d.Maildrop.List(ctx)
}

func (d *mannerly) Close() error {
	d.manners.note(&d.manners.closed, d.name, 1)
	return d.Maildrop.Close()
}

func (d *mannerly) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	c, err := d.Maildrop.Fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	m := d.manners
	m.mu.Lock()
	defer m.mu.Unlock()
	m.contents++
	m.add(&m.ending, m.contents, 0)
	return &mannerlyContent{Content: c, manners: m, name: m.contents}, nil
}

type mannerlyContent struct {
	backends.Content
	manners *manners
	name    int
}

func (c *mannerlyContent) Close() error {
	c.manners.note(&c.manners.ending, c.name, 1)
	return c.Content.Close()
}

// TestDescribed: a store behind the process boundary that describes no capability offers none,
// whatever the Go type that stands for it implements.
func TestDescribed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		target := target(dir, func(l *liar) {
			l.describe = func(_ context.Context, d backends.Description) backends.Description {
				d.Capabilities = backends.Capabilities{}
				return d
			}
			l.openFirst = func(context.Context, backends.OpenRequest) (backends.Maildrop, error) {
				return nil, backends.Fail(backends.Unsupported, "not here")
			}
		})
		target.Described = true
		if err := storetest.Precondition(t.Context(), target); err != nil {
			t.Error(err)
		}
		target.Only = regexp.MustCompile("^(login|maildrop|remove)/")
		passed := 0
		if err := storetest.Check(t.Context(), target, func(r storetest.Result) {
			switch {
			case r.Err != nil:
				t.Errorf("%s/%s: %v", r.Group, r.Name, r.Err)
			case r.Group != "login" && r.Skipped == "":
				t.Errorf("%s/%s was run", r.Group, r.Name)
			case r.Skipped == "":
				passed++
			}
		}); err != nil {
			t.Error(err)
		}
		if passed == 0 {
			t.Error("no case of login passed")
		}
	})
}
