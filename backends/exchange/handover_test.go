package exchange_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

func login(t *testing.T, store *exchange.Store) {
	t.Helper()
	if _, err := store.Login(t.Context(), credential("george-secret")); err != nil {
		t.Fatal(err)
	}
}

// TestHandover: the maildrop that follows a login has its session context, and asks for nothing before the list. Each login is verified.
func TestHandover(t *testing.T) {
	for _, protocol := range []string{"mapi", "rpc"} {
		t.Run(protocol, func(t *testing.T) {
			s := start(t, nil)
			if protocol == "rpc" {
				s, _ = startRPC(t, nil)
			}
			if err := s.put(george, []byte(numbered(0))); err != nil {
				t.Fatal(err)
			}
			store := s.store(t)
			login(t, store)
			m := open(t, store, "")
			ids, _ := list(t, m)
			if got := fetch(t, m, ids[0]); got != numbered(0) {
				t.Errorf("not as it came: %q", got)
			}
			if n := s.Connects(); n != 1 {
				t.Errorf("%d session contexts for a login and a maildrop", n)
			}
			login(t, store)
			login(t, store)
			if n := s.Connects(); n != 3 {
				t.Errorf("%d session contexts, and each of three logins is to be verified by the server", n)
			}
			s.boxes[george].SetPassword("another")
			if _, err := store.Login(t.Context(), credential("george-secret")); backends.KindOf(err) != backends.BadCredentials {
				t.Errorf("a password that was right a moment ago: %v", err)
			}
			if _, err := store.Open(t.Context(), backends.OpenRequest{Credential: credential("wrong")}); backends.KindOf(err) != backends.BadCredentials {
				t.Errorf("a wrong password opens what waits: %v", err)
			}
			s.boxes[george].SetPassword("george-secret")
			if err := store.Close(); err != nil {
				t.Error(err)
			}
			if contexts, _ := s.Left(); contexts != 0 {
				t.Errorf("%d session contexts are left", contexts)
			}
		})
	}
}

// TestFirstMessage has the requests that are under way between a login and its first message.
func TestFirstMessage(t *testing.T) {
	s, store := filled(t, 3, nil)
	for range 2 {
		login(t, store)
		before := len(s.Calls())
		m := open(t, store, "")
		ids, _ := list(t, m)
		fetch(t, m, ids[0])
		// RopOpenFolder, RopGetContentsTable, RopSetColumns, RopSortTable, RopQueryRows; then the table is released, and the message is opened, and its
		// FastTransfer stream read.
		want := []string{"Execute 02 05 12 13 15", "Execute 01 03 07 4d 4e"}
		if got := s.Calls()[before:]; !slices.Equal(got, want) {
			t.Errorf("%s", strings.Join(got, "; "))
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNarrow: the session contexts that are made to read many messages end when nobody has read for a while, and are made again.
func TestNarrow(t *testing.T) {
	s, store := filled(t, 40, nil)
	exchange.KeepLanes(store, 0)
	m := open(t, store, "")
	ids, _ := list(t, m)
	for round := range 3 {
		all, err := m.(backends.ManyFetcher).FetchMany(t.Context(), backends.FetchManyRequest{IDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		for range ids {
			c, err := all.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		}
		if err := all.Close(); err != nil {
			t.Error(err)
		}
		if n := s.Connects(); n < 2 {
			t.Fatalf("round %d: %d session contexts were made", round, n)
		}
		eventually(t, "one session context left", func() bool {
			contexts, _ := s.Left()
			return contexts == 1
		})
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); !is(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
