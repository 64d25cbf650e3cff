package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func openDrop(t testing.TB, s *Store) backends.Maildrop {
	t.Helper()
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = drop.Close() })
	return drop
}

func fetch(t testing.TB, drop backends.Maildrop, id string) backends.Content {
	t.Helper()
	content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: backends.MessageID(id)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = content.Close() })
	return content
}

// sessions asks the plugin how many maildrops are open there.
func sessions(t testing.TB, s *Store) int {
	t.Helper()
	account, err := s.Login(t.Context(), userNamed("open"))
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(account.DisplayName)
	return n
}

func TestOpen(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		name    string
		request backends.OpenRequest
		kind    backends.Kind
	}{
		{"right", backends.OpenRequest{Credential: ann}, 0},
		{"wrong password", backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialPassword, User: "ann"}}, backends.BadCredentials},
		{"no such folder", backends.OpenRequest{Credential: ann, Folder: "x"}, backends.NotFound},
		{"panic", backends.OpenRequest{Credential: userNamed("panic")}, backends.Temporary},
		{"account that is not valid", backends.OpenRequest{Credential: userNamed("noid")}, backends.Temporary},
		{"folder that is not UTF-8", backends.OpenRequest{Credential: ann, Folder: "\xff"}, backends.Permanent},
	} {
		t.Run(test.name, func(t *testing.T) {
			drop, err := s.Open(t.Context(), test.request)
			if backends.KindOf(err) != test.kind {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			if drop.Opened().Account.ID != "id-ann" || sessions(t, s) != 1 {
				t.Error(drop.Opened(), sessions(t, s))
			}
			if err := drop.Close(); err != nil {
				t.Error(err)
			}
			if n := sessions(t, s); n != 0 {
				t.Errorf("%d sessions are open after Close", n)
			}
			if err := drop.Close(); err != nil {
				t.Error("again:", err)
			}
			_, err = drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:1"})
			kindIs(t, err, backends.Temporary)
		})
	}
	within(t, "no session is left", func() bool { return sessions(t, s) == 0 })
}

// TestOpenOutlivesItsContext: the context bounds the opening alone.
func TestOpenOutlivesItsContext(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	ctx, cancel := context.WithCancel(t.Context())
	drop, err := s.Open(ctx, backends.OpenRequest{Credential: ann})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = drop.Close() }()
	cancel()
	if got, err := io.ReadAll(fetch(t, drop, "size:3")); err != nil || len(got) != 3 {
		t.Error(len(got), err)
	}
}

func TestList(t *testing.T) {
	const many = 25_000 // several windows
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"size:10", "size:20"}, Many: many}))
	drop := openDrop(t, s)
	var entries []backends.Entry
	for entry, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry)
	}
	if len(entries) != many+2 {
		t.Fatalf("%d entries", len(entries))
	}
	want := backends.Entry{ID: "size:20", Size: 20, Exact: true, Received: time.Unix(1e9, 0).UTC(), UIDL: "uidl-size:20"}
	if entries[1] != want {
		t.Errorf("got %+v, want %+v", entries[1], want)
	}
	if entries[2].ID != "many-0:1" || entries[many+1].ID != backends.MessageID(fmt.Sprintf("many-%d:1", many-1)) {
		t.Error("not in their order")
	}
	for range drop.List(t.Context()) {
		break // the rest is not wanted
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:3")); err != nil || len(got) != 3 {
		t.Error("after a list that was left early:", len(got), err)
	}
}

func TestListFails(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"size:1", "listfails:0", "size:2"}}))
	var ids []backends.MessageID
	var last error
	for entry, err := range openDrop(t, s).List(t.Context()) {
		if last = err; err == nil {
			ids = append(ids, entry.ID)
		}
	}
	kindIs(t, last, backends.Throttled)
	if f := backends.AsFailure(last); f.RetryAfter != time.Minute {
		t.Errorf("%+v", f)
	}
	if len(ids) > 1 {
		t.Error(ids)
	}
}

func TestFetch(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	for _, n := range []int{0, 1, 2, 60_000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256 << 10, 256<<10 + 1, 320 << 10, 1 << 20, 1<<20 + 1, 5_000_000} {
		for _, what := range []string{"size", "unsized"} {
			id := fmt.Sprintf("%s:%d", what, n)
			want := int64(n)
			if what == "unsized" {
				want = -1
			}
			read := fetch(t, drop, id)
			if got, err := io.ReadAll(struct{ io.Reader }{read}); err != nil || !bytes.Equal(got, wholePattern(n)) || read.Size() != want {
				t.Errorf("%s: %d octets of %d, %v", id, len(got), read.Size(), err)
			}
			var written bytes.Buffer
			if n64, err := fetch(t, drop, id).(io.WriterTo).WriteTo(&written); err != nil || int(n64) != n || !bytes.Equal(written.Bytes(), wholePattern(n)) {
				t.Errorf("%s: %d octets, %v", id, n64, err)
			}
		}
	}
	top, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:60000", Top: true, Lines: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = top.Close() }()
	if got, err := io.ReadAll(top); err != nil || len(got) != 3*lineLen {
		t.Error(len(got), err)
	}
}

// TestFetchFails: whatever goes wrong, the message does not look complete (I3).
func TestFetchFails(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	for _, test := range []struct {
		id    string
		kind  backends.Kind
		early bool // Fetch itself fails
	}{
		{"gone:0", backends.NotFound, true},
		{"poison:0", backends.Poison, true},
		{"panic:0", backends.Temporary, true},
		{"", backends.Permanent, true},
		{string(make([]byte, 2000)), backends.Permanent, true},
		{"fail:0", backends.Throttled, false},
		{"fail:1000", backends.Throttled, false},
		{"fail:3000000", backends.Throttled, false},
		{"short:100000", backends.Temporary, false},
		{"long:100000", backends.Temporary, false},
		{"readpanic:5000", backends.Temporary, false},
	} {
		t.Run(fmt.Sprintf("%.20q", test.id), func(t *testing.T) {
			content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: backends.MessageID(test.id)})
			if test.early {
				kindIs(t, err, test.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = content.Close() }()
			for range 2 { // the error stays
				_, err = io.ReadAll(content)
				kindIs(t, err, test.kind)
			}
		})
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:10")); err != nil || len(got) != 10 {
		t.Error("the session did not go on:", err)
	}
}

// TestFetchInterleaved reads several contents at once, in an order that is made up as it goes.
func TestFetchInterleaved(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.FetchWindow = fetchWindowLeast
	s, _ := start(t, spec)
	drop := openDrop(t, s)
	random := rand.New(rand.NewPCG(1, 2))
	type reading struct {
		content backends.Content
		want    []byte
	}
	var under []*reading
	for i := range 20 {
		n := 400_000 + i
		under = append(under, &reading{fetch(t, drop, fmt.Sprintf("size:%d", n)), wholePattern(n)})
	}
	buf := make([]byte, 70_000)
	for len(under) > 0 {
		i := random.IntN(len(under))
		r := under[i]
		n, err := r.content.Read(buf[:1+random.IntN(len(buf))])
		if !bytes.HasPrefix(r.want, buf[:n]) {
			t.Fatal("other octets")
		}
		r.want = r.want[n:]
		if err == io.EOF && len(r.want) == 0 {
			under = slices.Delete(under, i, i+1)
		} else if err != nil {
			t.Fatalf("%v with %d octets left", err, len(r.want))
		}
	}
}

// TestFetchMany has more fetches in flight than the wire allows: the rest wait their turn.
func TestFetchMany(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	var all sync.WaitGroup
	for i := range 300 {
		all.Go(func() {
			content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: backends.MessageID(fmt.Sprintf("size:%d", 1000*i))})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = content.Close() }()
			if n, err := io.Copy(io.Discard, content); err != nil || n != int64(1000*i) {
				t.Error(n, err)
			}
		})
	}
	all.Wait()
}

// TestFetchEnded: what is open when its maildrop is closed, or its context ends, fails, also where it is small and had come whole.
func TestFetchEnded(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		read  int
		close bool
	}{{0, true}, {10, true}, {0, false}, {10, false}} {
		drop := openDrop(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		content, err := drop.Fetch(ctx, backends.FetchRequest{ID: "size:70000"})
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		if _, err := io.ReadFull(content, make([]byte, test.read)); err != nil {
			t.Fatal(err)
		}
		whole := content.(single).f
		within(t, "all of it has come", func() bool {
			whole.mu.Lock()
			defer whole.mu.Unlock()
			return whole.over
		})
		if !test.close {
			cancel()
		} else if err := drop.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, content); err == nil || n > 0 {
			t.Errorf("%+v: %d octets were read after the end: %v", test, n, err)
		}
	}
}

// TestFetchUnread: a content that nobody reads holds nobody up, and is given up by Close.
func TestFetchUnread(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	for range 200 { // many times what may be in flight: Close frees the place
		content := fetch(t, drop, "size:50000000")
		if err := content.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := content.Read(make([]byte, 10)); err == nil || err == io.EOF {
			t.Fatal("read after Close:", err)
		}
	}
	unread := fetch(t, drop, "size:50000000")
	if got, err := io.ReadAll(fetch(t, drop, "size:3000000")); err != nil || len(got) != 3_000_000 {
		t.Error(len(got), err)
	}
	if n, err := io.Copy(io.Discard, unread); err != nil || n != 50_000_000 {
		t.Error(n, err)
	}
}

func TestFetchContextEnds(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	content, err := drop.Fetch(ctx, backends.FetchRequest{ID: "hang:100000"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	if _, err := io.ReadFull(content, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(content); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestStall(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.StallTimeout = 200 * time.Millisecond
	s, _ := start(t, spec)
	drop := openDrop(t, s)
	_, err := io.ReadAll(fetch(t, drop, "hang:0"))
	kindIs(t, err, backends.Temporary)
	if !errors.Is(err, errStalled) {
		t.Error(err)
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:10")); err != nil || len(got) != 10 {
		t.Error("the session did not go on:", err)
	}
}

func TestRemove(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	ids := func(names ...string) (ids []backends.MessageID) {
		for _, name := range names {
			ids = append(ids, backends.MessageID(name))
		}
		return ids
	}
	var thousands []string
	for i := range 2500 {
		thousands = append(thousands, fmt.Sprintf("size:%d", i))
	}
	for _, test := range []struct {
		name     string
		ids      []backends.MessageID
		disposal backends.Disposal
		kind     backends.Kind
		kept     int
	}{
		{"none", nil, backends.DisposalRemove, 0, 0},
		{"some", ids("size:1", "kept:1", "size:2"), backends.DisposalRemove, 0, 1},
		{"thousands", ids(thousands...), backends.DisposalRemove, 0, 0},
		{"in a way it cannot", ids("size:1"), backends.DisposalTrash, backends.Unsupported, 0},
		{"an answer about others", ids("size:2", "other:1"), backends.DisposalRemove, backends.Temporary, 0},
		{"an answer about fewer", ids("size:1", "forgotten:1"), backends.DisposalRemove, backends.Temporary, 0},
		{"no id", ids(""), backends.DisposalRemove, backends.Permanent, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			drop := openDrop(t, s) // a lie ends the session
			removals, err := drop.Remove(t.Context(), test.ids, test.disposal)
			if backends.KindOf(err) != test.kind {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			kept := 0
			for i, r := range removals {
				if r.ID != test.ids[i] {
					t.Fatalf("removal %d is about %q", i, r.ID)
				}
				if r.Failure != nil {
					kept++
				}
			}
			if len(removals) != len(test.ids) || kept != test.kept {
				t.Errorf("%d removals, %d kept", len(removals), kept)
			}
		})
	}
	t.Run("a later batch fails", func(t *testing.T) {
		many := ids(thousands...)
		many[1500] = "other:1"
		removals, err := drop.Remove(t.Context(), many, backends.DisposalRemove)
		if err != nil || len(removals) != len(many) {
			t.Fatal(len(removals), err)
		}
		if removals[999].Failure != nil || removals[1000].Failure == nil || removals[2499].Failure == nil {
			t.Error("what is known and what is not is mixed up")
		}
	})
}

// TestMarkSeenOfAStoreWithout: a store that has no such mark, as those have none that were made
// before there was one, says so, and the session goes on.
func TestMarkSeenOfAStoreWithout(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	err := drop.(backends.Marker).MarkSeen(t.Context(), []backends.MessageID{"size:1"})
	if backends.KindOf(err) != backends.Unsupported {
		t.Errorf("marking: %v", err)
	}
	if _, err := drop.Remove(t.Context(), []backends.MessageID{"size:1"}, backends.DisposalRemove); err != nil {
		t.Errorf("after that: %v", err)
	}
}
