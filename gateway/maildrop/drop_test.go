package maildrop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
)

const letter = "Subject: x\r\n\r\nBody\r\n"

func TestSizes(t *testing.T) {
	for _, test := range []struct {
		name    string
		entry   backends.Entry
		want    int64
		fetches int
	}{
		{"exact", backends.Entry{ID: "m", Size: int64(len(letter)), Exact: true}, int64(len(letter)), 0},
		{"exact and empty", backends.Entry{ID: "m", Size: 0, Exact: true}, 0, 0},
		{"estimate", backends.Entry{ID: "m", Size: 7}, int64(len(letter)), 1},
		{"not known", backends.Entry{ID: "m", Size: -1}, int64(len(letter)), 1},
		{"not known but called exact", backends.Entry{ID: "m", Size: -1, Exact: true}, int64(len(letter)), 1},
		{"gone", backends.Entry{ID: "gone", Size: -1}, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			g.store.entries = []backends.Entry{test.entry}
			g.store.bodies = map[backends.MessageID]string{"m": letter}
			drop := g.login()
			for range 3 { // measured once, remembered
				if size, err := drop.Size(t.Context(), 1); err != nil || size != test.want {
					t.Fatalf("%d, %v", size, err)
				}
			}
			if g.store.fetches != test.fetches {
				t.Errorf("%d fetches", g.store.fetches)
			}
		})
	}
}

func TestSizeOfAnOutageIsAnError(t *testing.T) {
	g := newGateway(t)
	g.store.entries = []backends.Entry{{ID: "m", Size: -1}}
	fail := true
	g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
		if fail {
			return &fakeContent{Reader: io.MultiReader(strings.NewReader("half"), failing{errors.New("the plugin died")})}, nil
		}
		return &fakeContent{Reader: strings.NewReader(letter)}, nil
	}
	drop := g.login()
	if size, err := drop.Size(t.Context(), 1); code(err) != "-ERR [SYS/TEMP]" {
		t.Errorf("%d, %v", size, err)
	}
	fail = false
	if size, err := drop.Size(t.Context(), 1); err != nil || size != int64(len(letter)) {
		t.Errorf("later: %d, %v", size, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestOpen: a content of the store's that can write itself is not read.
func TestOpen(t *testing.T) {
	for _, writerTo := range []bool{false, true} {
		t.Run(fmt.Sprintf("WriterTo %v", writerTo), func(t *testing.T) {
			g := newGateway(t)
			g.store.add("m", letter)
			g.store.writerTo = writerTo
			drop := g.login()
			c, err := drop.Open(t.Context(), 1, -1)
			if err != nil {
				t.Fatal(err)
			}
			if size := c.Size(); size != int64(len(letter)) {
				t.Errorf("it has %d octets", size)
			}
			var b bytes.Buffer
			if _, err := io.Copy(&b, c); err != nil || b.String() != letter {
				t.Errorf("%q, %v", b.String(), err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if g.store.written != map[bool]int{true: 1}[writerTo] {
				t.Errorf("%d contents have written themselves", g.store.written)
			}
		})
	}
}

func TestTopIsPassedOn(t *testing.T) {
	g := newGateway(t)
	g.store.add("m", letter)
	var asked []backends.FetchRequest
	g.store.onFetch = func(_ context.Context, request backends.FetchRequest) (backends.Content, error) {
		asked = append(asked, request)
		return &fakeContent{Reader: strings.NewReader("Subject: x\r\n\r\n")}, nil
	}
	drop := g.login()
	for _, top := range []int{0, 3, -1} {
		if size, err := drop.Size(t.Context(), 1); err != nil || size != int64(len(letter)) {
			t.Errorf("a part was taken for the whole: %d, %v", size, err)
		}
		if _, err := read(t, drop, 1, top); err != nil {
			t.Fatal(err)
		}
	}
	want := []backends.FetchRequest{{ID: "m", Top: true}, {ID: "m", Top: true, Lines: 3}, {ID: "m"}}
	if fmt.Sprint(asked) != fmt.Sprint(want) {
		t.Errorf("asked %+v", asked)
	}
	if !strings.Contains(g.log.String(), "wrong size") {
		t.Error("a whole message of another size than told is not noted")
	}
	if size, err := drop.Size(t.Context(), 1); err != nil || size != int64(len("Subject: x\r\n\r\n")) {
		t.Errorf("the size that came is not remembered: %d, %v", size, err)
	}
}

func TestMessageOutOfRange(t *testing.T) {
	g := newGateway(t)
	g.store.add("m", letter)
	drop := g.login()
	for _, n := range []int{-1, 0, 2, 1 << 40} {
		if _, err := drop.Open(t.Context(), n, -1); err == nil {
			t.Errorf("message %d was opened", n)
		}
		if _, err := drop.Size(t.Context(), n); err == nil {
			t.Errorf("message %d has a size", n)
		}
		if err := drop.Update(t.Context(), []int{n}); err == nil {
			t.Errorf("message %d was removed", n)
		}
	}
	if len(g.store.removed) != 0 {
		t.Errorf("removed %q", g.store.removed)
	}
}

func TestGoneMessageHarmsItselfAlone(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	g.store.add("m2", letter)
	delete(g.store.bodies, "m1")
	drop := g.login()
	for again := range 3 {
		_, err := read(t, drop, 1, -1)
		if code(err) != "-ERR []" {
			t.Errorf("gone message: %v", err)
		}
		if told, ok := errors.AsType[*pop3.Error](err); !ok || told.Mistake != (again > 0) {
			t.Errorf("asked for the time %d: %+v", again+1, told)
		}
	}
	if got, err := read(t, drop, 2, -1); err != nil || got != letter {
		t.Errorf("%q, %v", got, err)
	}
}

func TestBrokenContentIsNotComplete(t *testing.T) {
	g := newGateway(t)
	g.store.add("m", letter)
	died := errors.New("the plugin died")
	g.store.onFetch = func(context.Context, backends.FetchRequest) (backends.Content, error) {
		return &fakeContent{Reader: io.MultiReader(strings.NewReader("Subject: x\r\n\r\n"), failing{died})}, nil
	}
	drop := g.login()
	got, err := read(t, drop, 1, -1)
	if got != "Subject: x\r\n\r\n" || !errors.Is(err, died) {
		t.Errorf("%q, %v", got, err)
	}
	if size, _ := drop.Size(t.Context(), 1); size != int64(len(letter)) {
		t.Errorf("a part was taken for the whole: %d", size)
	}
}

func TestPoisonIsServedAsANotice(t *testing.T) {
	g := newGateway(t)
	g.store.add("m1", letter)
	g.store.entries = append(g.store.entries, backends.Entry{ID: "bad", Size: -1})
	g.store.onFetch = func(_ context.Context, request backends.FetchRequest) (backends.Content, error) {
		if request.ID == "bad" {
			return nil, backends.Fail(backends.Poison, "property 0x1000 is damaged")
		}
		return &fakeContent{Reader: strings.NewReader(letter)}, nil
	}
	drop := g.login()
	size, err := drop.Size(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read(t, drop, 2, -1)
	if err != nil || int64(len(got)) != size {
		t.Errorf("size is %d, %d octets came, %v", size, len(got), err)
	}
	if !strings.Contains(got, "\r\nIts unique-id is bad\r\n") || strings.Contains(got, "0x1000") || strings.Count(got, "\n") != strings.Count(got, "\r\n") {
		t.Errorf("notice: %q", got)
	}
	top, err := read(t, drop, 2, 1)
	header, _, _ := strings.Cut(got, "\r\n\r\n")
	if err != nil || !strings.HasPrefix(top, header) || strings.Count(top, "\n") != strings.Count(header, "\n")+3 {
		t.Errorf("top of the notice: %q, %v", top, err)
	}
	if err := drop.Update(t.Context(), []int{1, 2}); err != nil || fmt.Sprint(g.store.removed) != "[m1]" {
		t.Errorf("removed %q, %v: nobody has seen the message behind the notice", g.store.removed, err)
	}
}

func TestUpdate(t *testing.T) {
	temporary := backends.Fail(backends.Temporary, "down")
	ok := func(ids []backends.MessageID) (out []backends.Removal) {
		for _, id := range ids {
			out = append(out, backends.Removal{ID: id})
		}
		return out
	}
	for _, test := range []struct {
		name     string
		limit    int
		deleted  []int
		onRemove func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error)
		want     string
		text     string
		batches  string
	}{
		{name: "none", want: "+OK", batches: "[]"},
		{name: "all in one call", deleted: []int{5, 1, 3}, want: "+OK", batches: "[3]"},
		{name: "as many as the store takes", limit: 2, deleted: []int{1, 2, 3, 4, 5}, want: "+OK", batches: "[2 2 1]"},
		{name: "gone already", deleted: []int{1, 2}, want: "+OK", batches: "[2]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			return []backends.Removal{{ID: ids[0], Failure: backends.Fail(backends.NotFound, "gone")}, {ID: ids[1]}}, nil
		}},
		{name: "one is kept", deleted: []int{1, 2, 3}, want: "-ERR [SYS/TEMP]", text: "1 of 3", batches: "[3]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			out := ok(ids)
			out[1].Failure = temporary
			return out, nil
		}},
		{name: "refused for good", deleted: []int{1}, want: "-ERR [SYS/PERM]", text: "1 of 1", batches: "[1]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			return []backends.Removal{{ID: ids[0], Failure: backends.Fail(backends.Permanent, "read-only")}}, nil
		}},
		{name: "one call fails, the others are made", limit: 2, deleted: []int{1, 2, 3, 4, 5}, want: "-ERR [SYS/TEMP]", text: "2 of 5", batches: "[2 2 1]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			if ids[0] == "m3" {
				return nil, errors.New("boom")
			}
			return ok(ids), nil
		}},
		{name: "too few answers", deleted: []int{1, 2}, want: "-ERR [SYS/TEMP]", text: "2 of 2", batches: "[2]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			return ok(ids[:1]), nil
		}},
		{name: "too many answers", deleted: []int{1}, want: "-ERR [SYS/TEMP]", text: "1 of 1", batches: "[1]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			return append(ok(ids), ok(ids)...), nil
		}},
		{name: "answers for others", deleted: []int{1, 2}, want: "-ERR [SYS/TEMP]", text: "2 of 2", batches: "[2]", onRemove: func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
			return ok([]backends.MessageID{ids[1], ids[0]}), nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t)
			for i := range 6 {
				g.store.add(fmt.Sprint("m", i+1), letter)
			}
			g.store.limits.RemovalsAtATime = test.limit
			g.store.onRemove = test.onRemove
			drop := g.login()
			err := drop.Update(t.Context(), test.deleted)
			if got := code(err); got != test.want || (err != nil && !strings.Contains(err.Error(), test.text)) {
				t.Errorf("got %v, want %s with %q", err, test.want, test.text)
			}
			if got := fmt.Sprint(g.store.batches); got != test.batches {
				t.Errorf("batches %s, want %s", got, test.batches)
			}
			if test.onRemove == nil && len(g.store.removed) != len(test.deleted) {
				t.Errorf("removed %q", g.store.removed)
			}
			for i, n := range test.deleted {
				if test.onRemove == nil && string(g.store.removed[i]) != fmt.Sprint("m", n) {
					t.Errorf("removed %q", g.store.removed)
				}
			}
		})
	}
}

// TestDeletionThatCannotBe: DELE is refused where QUIT could do nothing, and the store is asked once.
func TestDeletionThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct {
		says error
		want string
	}{
		"unsupported": {backends.Fail(backends.Unsupported, "no UIDPLUS"), "-ERR [SYS/PERM] messages of this mailbox cannot be deleted"},
		"an outage":   {backends.Fail(backends.Temporary, "down"), "+OK message 2 deleted"}, // told at QUIT, if it lasts
		"can be":      {nil, "+OK message 2 deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, with(func(p *policy.Policy) { p.Disposal = backends.DisposalTrash }))
			g.store.add("m1", letter)
			g.store.add("m2", letter)
			g.store.onRemove = func(_ context.Context, ids []backends.MessageID) ([]backends.Removal, error) {
				if len(ids) > 0 {
					t.Errorf("%q are removed", ids)
				}
				return nil, test.says
			}
			conn := g.serve()()
			ask(t, conn, "USER alice", "+OK")
			ask(t, conn, "PASS sesame", "+OK")
			ask(t, conn, "DELE 2", test.want)
			ask(t, conn, "RSET", "+OK")
			ask(t, conn, "DELE 2", test.want)
			ask(t, conn, "RSET", "+OK")
			ask(t, conn, "QUIT", "+OK")
			if got := fmt.Sprint(g.store.batches, g.store.disposal); got != "[0] trash" {
				t.Errorf("the store was asked for %s", got)
			}
			if warned := strings.Contains(g.log.String(), "DELE is refused"); warned != (name == "unsupported") {
				t.Errorf("log: %s", g.log)
			}
		})
	}
}

// lostLocks are leases that have run out.
type lostLocks struct{ *folder.MemoryLocks }

func (lostLocks) Acquire(context.Context, folder.Key) (folder.Lock, error) {
	return lostLocks{}, nil
}

func (lostLocks) Held(context.Context) error {
	return backends.Fail(backends.Temporary, "the lease ran out")
}
func (lostLocks) Lost() bool { return true }
func (lostLocks) Release()   {}

func TestNothingIsRemovedWithoutTheLock(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.Locks = lostLocks{} })
	g.store.add("m", letter)
	if err := g.login().Update(t.Context(), []int{1}); code(err) != "-ERR [SYS/TEMP]" || len(g.store.batches) != 0 {
		t.Errorf("%v, batches %v", err, g.store.batches)
	}
}

// TestNothingIsReadWithoutTheLock: somebody else may have the maildrop, and remove what is read.
func TestNothingIsReadWithoutTheLock(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.Locks = lostLocks{} })
	g.store.add("m", letter)
	if _, err := g.login().Open(t.Context(), 1, -1); code(err) != "-ERR [SYS/TEMP]" {
		t.Errorf("%v", err)
	}
}

// expiring are leases that run out once they have been asked for so often.
type expiring struct {
	lostLocks
	left int
}

func (e *expiring) Acquire(context.Context, folder.Key) (folder.Lock, error) { return e, nil }

func (e *expiring) Held(ctx context.Context) error {
	if e.left--; e.left < 0 {
		return e.lostLocks.Held(ctx)
	}
	return nil
}

// TestLeaseEndsWhileRemoving: a removal that takes long asks again, and stops.
func TestLeaseEndsWhileRemoving(t *testing.T) {
	g := newGateway(t, func(o *maildrop.Options) { o.Locks = &expiring{left: 2} })
	g.store.limits.RemovalsAtATime = 1
	for i := range 5 {
		g.store.add(fmt.Sprint("m", i+1), letter)
	}
	err := g.login().Update(t.Context(), []int{1, 2, 3, 4, 5})
	if code(err) != "-ERR [SYS/TEMP]" || len(g.store.removed) != 2 {
		t.Errorf("%v, removed %v", err, g.store.removed)
	}
}

func TestNothingIsRemovedWithoutUpdate(t *testing.T) {
	g := newGateway(t)
	g.store.add("m", letter)
	drop := g.login()
	_ = drop.Close()
	if len(g.store.batches) != 0 {
		t.Error("Close removed something")
	}
	g.idle()
}
