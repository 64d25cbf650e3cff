package maildrop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
)

// sharedLine is a store all of whose messages come over one connection: a bad one ends that, and
// whatever else is under way fails with it.
type sharedLine struct {
	mu    sync.Mutex
	bad   map[backends.MessageID]bool
	kind  backends.Kind // of the failure
	after bool          // it comes after the message's first octets
	line  *connection
	asked map[backends.MessageID]int
}

type connection struct {
	gone chan struct{}
}

func (l *sharedLine) fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[request.ID]++
	if l.line == nil {
		l.line = &connection{gone: make(chan struct{})}
	}
	line, bad := l.line, l.bad[request.ID] && !request.Top
	if bad {
		l.line = nil
	}
	l.mu.Unlock()
	defer l.mu.Lock()
	if l.after {
		if bad {
			close(line.gone)
		}
		return &lineContent{line: line, fails: l.failure(request.ID), Reader: strings.NewReader(letter)}, nil
	}
	if bad {
		time.Sleep(time.Millisecond) // so that others are under way
		close(line.gone)
	}
	select {
	case <-line.gone:
		return nil, l.failure(request.ID)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(2 * time.Millisecond):
		return &fakeContent{Reader: strings.NewReader(letter)}, nil
	}
}

func (l *sharedLine) failure(id backends.MessageID) error {
	return backends.Fail(l.kind, "the connection broke under %s", id).Say("it cannot be read")
}

// lineContent fails once its connection is gone, midway.
type lineContent struct {
	io.Reader
	line  *connection
	fails error
	read  int
}

func (c *lineContent) Read(p []byte) (int, error) {
	if c.read > 0 {
		select {
		case <-c.line.gone:
			return 0, c.fails
		default:
		}
	}
	n, err := c.Reader.Read(p[:min(len(p), 10)])
	c.read += n
	return n, err
}

func (c *lineContent) Size() int64  { return -1 }
func (c *lineContent) Close() error { return nil }

// TestGuiltIsShownAlone: one message that breaks the connection which others share is held one
// day, and nothing is noted of any other, in whatever way and as whatever it fails.
func TestGuiltIsShownAlone(t *testing.T) {
	for _, kind := range []backends.Kind{backends.Temporary, backends.Permanent, backends.Poison} {
		for name, after := range map[string]bool{"at once": false, "midway": true} {
			for sizes, exact := range map[string]bool{"sizes known": true, "sizes measured": false} {
				t.Run(fmt.Sprint(kind, ", ", name, ", ", sizes), func(t *testing.T) {
					quarantined := newQuarantine(t)
					g := newGateway(t, func(o *maildrop.Options) { o.Quarantine = quarantined })
					line := &sharedLine{bad: map[backends.MessageID]bool{"m7": true}, kind: kind, after: after, asked: map[backends.MessageID]int{}}
					for n := range 12 {
						g.store.add(fmt.Sprint("m", n), letter)
						g.store.entries[n].Exact = exact
					}
					g.store.onFetch = line.fetch
					for range folder.FailuresMost + 2 {
						drop := g.login()
						for n := 1; n <= 12; n++ {
							_, _ = drop.Size(t.Context(), n) // as STAT and LIST ask
						}
						for n := 1; n <= 12; n++ {
							got, err := read(t, drop, n, -1)
							if n != 8 && name == "at once" && (err != nil || got != letter) {
								t.Errorf("message %d is %q (%v)", n, got, err)
							}
						}
						_ = drop.Close()
					}
					entries, err := quarantined.List(t.Context(), 10)
					if err != nil || len(entries) != 1 || entries[0].ID != "m7" || entries[0].State != folder.Held {
						t.Errorf("in quarantine are %+v (%v)", entries, err)
					}
				})
			}
		}
	}
}

// TestFailsAloneAsItself: of a message that breaks off beside others, what it does alone counts, and
// nothing else.
func TestFailsAloneAsItself(t *testing.T) {
	torn := func(kind backends.Kind) func() backends.Content {
		return func() backends.Content {
			return &fakeContent{Reader: io.MultiReader(strings.NewReader("Subject: x\r\n\r\n"), failing{backends.Fail(kind, "broken")})}
		}
	}
	short := func() backends.Content {
		return sizedContent{strings.NewReader(letter), int64(len(letter)) + 1}
	}
	whole := func() backends.Content { return &fakeContent{Reader: strings.NewReader(letter)} }
	stored := strings.ReplaceAll(letter, "\r\n", "\n")
	otherForm := func() backends.Content { return contentOfSize(stored, int64(len(stored)), false) }
	for name, tt := range map[string]struct {
		beside, alone func() backends.Content
		sessions      int
		want          folder.QuarantineState // empty: nothing is noted of it
	}{
		"cannot be rendered, beside others only": {torn(backends.Poison), torn(backends.Temporary), 1, folder.Suspected},
		"cannot be rendered, alone only":         {torn(backends.Temporary), torn(backends.Poison), 1, folder.Held},
		"comes whole alone":                      {torn(backends.Temporary), whole, 1, ""},
		"comes alone, in another form":           {torn(backends.Temporary), otherForm, 1, ""},
		"has another size":                       {short, short, 1, folder.Suspected},
		"has another size, always":               {short, short, folder.FailuresMost, folder.Held},
		"has another size, beside others only":   {short, whole, 1, ""},
	} {
		for place, messages := range map[string]int{"among others": 12, "the last": 8} {
			t.Run(name+", "+place, func(t *testing.T) {
				quarantined := newQuarantine(t)
				g := newGateway(t, func(o *maildrop.Options) { o.Quarantine = quarantined })
				for n := range messages {
					g.store.add(fmt.Sprint("m", n), letter)
				}
				var asked atomic.Int32
				g.store.onFetch = func(_ context.Context, request backends.FetchRequest) (backends.Content, error) {
					switch {
					case request.ID != "m7":
						return whole(), nil
					case asked.Add(1) == 1:
						return tt.beside(), nil
					}
					return tt.alone(), nil
				}
				for range tt.sessions {
					drop := g.login()
					for n := 1; n <= 8; n++ {
						if got, err := read(t, drop, n, -1); (err == nil) != (n < 8) {
							t.Errorf("message %d is %q (%v)", n, got, err)
						}
					}
					_ = drop.Close()
				}
				entries, err := quarantined.List(t.Context(), 10)
				got := folder.QuarantineState("")
				if len(entries) == 1 {
					got = entries[0].State
				}
				if err != nil || len(entries) > 1 || got != tt.want {
					t.Errorf("in quarantine are %+v (%v), want it to be %q", entries, err, tt.want)
				}
			})
		}
	}
}

// TestClientThatLeaves: that a client takes no more of a message says nothing of the message.
func TestClientThatLeaves(t *testing.T) {
	for name, writerTo := range map[string]bool{"read": false, "written": true} {
		t.Run(name, func(t *testing.T) {
			r := newQuarantineGateway(t)
			r.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
				return contentOfSize(letter, int64(len(letter)), writerTo), nil
			}
			content, err := r.login().Open(t.Context(), 1, -1)
			if err != nil {
				t.Fatal(err)
			}
			to, from := io.Pipe()
			_ = to.Close()
			if _, err := content.(io.WriterTo).WriteTo(from); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("got %v", err)
			}
			if err := content.Close(); err != nil {
				t.Error(err)
			}
			if got := r.state("m1"); got != "" {
				t.Errorf("it is %s", got)
			}
		})
	}
}

// TestNothingElseIsUnderWay: a message that failed beside others is asked for again when those have
// ended, those that are read ahead and those that are read to know their sizes. What it does then is
// its own.
func TestNothingElseIsUnderWay(t *testing.T) {
	for name, exact := range map[string]bool{"read ahead": true, "measured": false} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, func(o *maildrop.Options) { o.Quarantine = newQuarantine(t) })
			for n := range 12 {
				g.store.add(fmt.Sprint("m", n), letter)
				g.store.entries[n].Exact = exact
			}
			var (
				mu       sync.Mutex
				underWay int
				beside   []int // how many others were under way, each time that the bad one was asked for
			)
			others, release := make(chan struct{}, 12), make(chan struct{})
			g.store.onFetch = func(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
				switch request.ID {
				case "m0", "m1", "m2":
					return &fakeContent{Reader: strings.NewReader(letter)}, nil
				case "m3":
					mu.Lock()
					patience := time.Minute // some come, however busy the machine is
					if len(beside) > 0 {
						patience = 200 * time.Millisecond // none comes when it is alone
					}
					mu.Unlock()
					select {
					case <-others:
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(patience):
					}
					mu.Lock()
					defer mu.Unlock()
					if beside = append(beside, underWay); len(beside) == 2 {
						close(release)
					}
					return nil, backends.Fail(backends.Poison, "it cannot be read")
				}
				mu.Lock()
				underWay++
				mu.Unlock()
				defer func() { mu.Lock(); underWay--; mu.Unlock() }()
				select {
				case others <- struct{}{}:
				default:
				}
				select {
				case <-release:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				return &fakeContent{Reader: strings.NewReader(letter)}, nil
			}
			drop := g.login()
			for n := 1; n <= 3; n++ {
				if !exact {
					_, _ = drop.Size(t.Context(), n)
				}
				_, _ = read(t, drop, n, -1)
			}
			_, _ = read(t, drop, 4, -1)
			_ = drop.Close()
			mu.Lock()
			defer mu.Unlock()
			if len(beside) < 2 || beside[0] == 0 || beside[len(beside)-1] != 0 {
				t.Errorf("asked for with so many others under way: %v", beside)
			}
		})
	}
}

// TestEndOfTheStoresMaildrop: once that is over, whatever fails says nothing of a message.
func TestEndOfTheStoresMaildrop(t *testing.T) {
	r := newQuarantineGateway(t)
	ended := make(chan struct{})
	r.store.ends = ended
	down := backends.Fail(backends.Temporary, "the stream is lost")
	r.bad["m1"], r.bad["m2"], r.bad["m3"] = down, down, down
	drop := r.login()
	close(ended)
	<-r.store.told
	for n := 1; n <= 3; n++ {
		if got, err := read(t, drop, n, -1); err == nil {
			t.Errorf("%q", got)
		}
	}
	for _, id := range []string{"m1", "m2", "m3"} {
		if got := r.state(id); got != "" {
			t.Errorf("%s is %s", id, got)
		}
	}
}

// TestGoneIsNotRemoved: what the client was told to be gone is not removed, should it be there after
// all: nobody has seen it.
func TestGoneIsNotRemoved(t *testing.T) {
	r := newQuarantineGateway(t)
	r.bad["m2"] = backends.Fail(backends.NotFound, "gone")
	drop := r.login()
	if _, err := read(t, drop, 2, -1); err == nil {
		t.Fatal("it came")
	}
	if err := drop.Update(t.Context(), []int{1, 2}); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(r.store.removed); got != "[m1]" {
		t.Errorf("removed %s", got)
	}
}

// sizedContent tells a size with its content.
type sizedContent struct {
	io.Reader
	size int64
}

func (c sizedContent) Size() int64  { return c.size }
func (c sizedContent) Close() error { return nil }

// contentOfSize is a content that tells a size, and can write itself where it is to.
func contentOfSize(text string, size int64, writerTo bool) backends.Content {
	reader := strings.NewReader(text)
	content := sizedContent{struct{ io.Reader }{reader}, size}
	if !writerTo {
		return content
	}
	return struct {
		sizedContent
		io.WriterTo
	}{content, reader}
}

// TestSizeThatComesWithTheMessage goes before the list's, is told, and is remembered. Content that
// contradicts it is no message.
func TestSizeThatComesWithTheMessage(t *testing.T) {
	long := "Subject: x\r\n\r\n" + strings.Repeat("line\r\n", 800)
	for name, tt := range map[string]struct {
		head int64
		fine bool
	}{"true": {int64(len(long)), true}, "too small": {100, false}, "too large": {int64(len(long)) + 1, false}} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, withIndex(newIndex(t)))
			g.store.add("m1", long)
			g.store.entries[0].Size = 100
			g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
				return sizedContent{strings.NewReader(long), tt.head}, nil
			}
			dial := g.serve()
			conn := dial()
			ask(t, conn, "USER alice", "+OK")
			ask(t, conn, "PASS sesame", "+OK")
			ask(t, conn, "LIST 1", "+OK 1 100")
			if !tt.fine {
				if err := conn.PrintfLine("RETR 1"); err != nil {
					t.Fatal(err)
				}
				if line, err := conn.ReadLine(); err == nil && strings.HasPrefix(line, "+OK") {
					if got, err := conn.ReadDotBytes(); err == nil {
						t.Errorf("content that contradicts its size comes whole, with %d octets", len(got))
					}
				}
				return
			}
			ask(t, conn, "RETR 1", fmt.Sprintf("+OK %d octets", tt.head))
			if _, err := conn.ReadDotBytes(); err != nil {
				t.Fatal(err)
			}
			ask(t, conn, "LIST 1", fmt.Sprintf("+OK 1 %d", len(long)))
			ask(t, conn, "STAT", fmt.Sprintf("+OK 1 %d", len(long)))
			ask(t, conn, "DELE 1", "+OK")
			ask(t, conn, "STAT", "+OK 0 0")
			ask(t, conn, "RSET", "+OK")
			ask(t, conn, "QUIT", "+OK")
			next := g.login()
			if size, err := next.Size(t.Context(), 1); size != int64(len(long)) || err != nil {
				t.Errorf("the next session is told %d octets (%v)", size, err)
			}
		})
	}
}

// TestSizesOfAnotherForm: a store that counts its own line ends, in its list and with each message,
// tells fewer octets than are sent (I6). Whoever was told them sees the connection drop; the true
// size is remembered and is not overruled again by what the store tells.
func TestSizesOfAnotherForm(t *testing.T) {
	for name, tt := range map[string]struct {
		header   string
		writerTo bool
	}{
		"read": {"Subject: x\n\n", false}, "written": {"Subject: x\n\n", true},
		"body alone, read": {"Subject: x\r\n\r\n", false}, "body alone, written": {"Subject: x\r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			stored := tt.header + strings.Repeat("line\n", 20) + "end"
			sent := strings.ReplaceAll(strings.ReplaceAll(stored, "\r", ""), "\n", "\r\n") + "\r\n"
			g := newGateway(t, withIndex(newIndex(t)))
			g.store.add("m1", stored)
			g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
				return contentOfSize(stored, int64(len(stored)), tt.writerTo), nil
			}
			dial := g.serve()
			conn := dial()
			ask(t, conn, "USER alice", "+OK")
			ask(t, conn, "PASS sesame", "+OK")
			ask(t, conn, "LIST 1", fmt.Sprintf("+OK 1 %d", len(stored)))
			if err := conn.PrintfLine("RETR 1"); err != nil {
				t.Fatal(err)
			}
			if line, err := conn.ReadLine(); err == nil && strings.HasPrefix(line, "+OK") {
				if got, err := conn.ReadDotBytes(); err == nil {
					t.Errorf("after LIST with %d octets, %q and %d", len(stored), line, len(got))
				}
			}
			for session := range 2 { // who sees the connection drop may come back at once
				conn := dial()
				ask(t, conn, "USER alice", "+OK")
				ask(t, conn, "PASS sesame", "+OK")
				ask(t, conn, "LIST 1", fmt.Sprintf("+OK 1 %d", len(sent)))
				ask(t, conn, "STAT", fmt.Sprintf("+OK 1 %d", len(sent)))
				ask(t, conn, "RETR 1", fmt.Sprintf("+OK %d octets", len(sent)))
				if _, err := conn.ReadDotBytes(); err != nil {
					t.Fatalf("session %d: %v", session+2, err)
				}
				ask(t, conn, "LIST 1", fmt.Sprintf("+OK 1 %d", len(sent)))
				ask(t, conn, "QUIT", "+OK")
			}
		})
	}
}

// TestMeasuredInAnotherForm: what is measured is the form that is sent, whatever the store tells.
func TestMeasuredInAnotherForm(t *testing.T) {
	const stored, sent = "Subject: x\n\nBody\n", int64(len(letter))
	for name, measure := range map[string]bool{"estimates": false, "policy": true} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, withIndex(newIndex(t)), with(func(p *policy.Policy) { p.MeasureSizes = measure }))
			g.store.add("m1", stored)
			g.store.entries[0].Exact = measure
			g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
				return contentOfSize(stored, int64(len(stored)), false), nil
			}
			conn := g.serve()()
			ask(t, conn, "USER alice", "+OK")
			ask(t, conn, "PASS sesame", "+OK")
			ask(t, conn, "STAT", fmt.Sprintf("+OK 1 %d", sent))
			for range 2 {
				ask(t, conn, "RETR 1", fmt.Sprintf("+OK %d octets", sent))
				if _, err := conn.ReadDotBytes(); err != nil {
					t.Fatal(err)
				}
			}
			ask(t, conn, "QUIT", "+OK")
		})
	}
}

// TestSizesThatCannotBe: a size beyond all measure is not known, and found by reading.
func TestSizesThatCannotBe(t *testing.T) {
	g := newGateway(t)
	for n := range 2 {
		g.store.add(fmt.Sprint("m", n), letter)
		g.store.entries[n].Size = 9e18
	}
	drop := g.login()
	for n := 1; n <= 2; n++ {
		if size, err := drop.Size(t.Context(), n); size != int64(len(letter)) || err != nil {
			t.Errorf("message %d has %d octets (%v)", n, size, err)
		}
	}
}

// TestMeasuredSizes: where the policy says so, no size of the store's is believed, and none is asked
// for twice.
func TestMeasuredSizes(t *testing.T) {
	index := newIndex(t)
	g := newGateway(t, withIndex(index), with(func(p *policy.Policy) { p.MeasureSizes = true }))
	for n := range 5 {
		g.store.add(fmt.Sprint("m", n), letter)
		g.store.entries[n].Size += int64(n)
	}
	for range 2 {
		drop := g.login()
		for n := 1; n <= 5; n++ {
			size, err := drop.Size(t.Context(), n)
			if got, err2 := read(t, drop, n, 0); err != nil || err2 != nil || size != int64(len(letter)) {
				t.Errorf("message %d has %d octets (%v), and its top is %q (%v)", n, size, err, got, err2)
			}
		}
		_ = drop.Close()
	}
	whole := 0
	for _, request := range g.store.requests {
		if !request.Top {
			whole++
		}
	}
	if whole != 5 {
		t.Errorf("five messages were read %d times", whole)
	}
}
