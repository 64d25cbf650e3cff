//go:build linux

package spool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// losing is a database that does something else with the next write.
type losing struct {
	database
	next atomic.Pointer[func(context.Context, func(*state.Tx) error) error]
}

func (l *losing) Write(ctx context.Context, f func(*state.Tx) error) error {
	if instead := l.next.Swap(nil); instead != nil {
		return (*instead)(ctx, f)
	}
	return l.database.Write(ctx, f)
}

// TestClaimUnanswered (I1): a Claim whose commit is not answered leaves nothing in flight that nobody delivers,
// whether the server has carried it out, has not, or is still at it.
func TestClaimUnanswered(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		db := &losing{database: databases.Open(t, o)}
		s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir(), Lease: time.Hour, Poll: time.Hour, Reserve: 1, deaf: true}, db)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // the test is about something else
		<-s.swept
		committed := func(ctx context.Context, f func(*state.Tx) error) error {
			return errors.Join(db.database.Write(ctx, f), state.ErrUnsynced)
		}
		lost := func(context.Context, func(*state.Tx) error) error { return state.ErrUnsynced }
		failed := func(context.Context, func(*state.Tx) error) error { return errors.New("the server has gone away") }
		accept(t, s, to("k", "a@x.example", "b@x.example"), "text")
		for name, answers := range map[string][]func(context.Context, func(*state.Tx) error) error{
			"carried out":                  {committed},
			"not carried out":              {lost},
			"carried out, then no server":  {committed, failed},
			"carried out, and back, twice": {committed, committed},
			"not carried out, then none":   {lost, failed, lost},
		} {
			for _, instead := range answers {
				next(t, s)
				db.next.Store(&instead)
				if got, err := s.Claim(t.Context(), "x.example", 10); err == nil || len(got) > 0 || db.next.Load() != nil {
					t.Fatalf("%s: %d were claimed, %v", name, len(got), err)
				}
				s.Done("x.example", time.Time{})
			}
			if n := next(t, s); n != "x.example" {
				t.Fatalf("%s: %s is ready", name, n)
			}
			d := one(t, s, "x.example")
			if len(d.Recipients) != 2 || d.Recipients[0].State != Waiting || d.Recipients[0].Attempts != 0 || textOf(t, d) != "text" {
				t.Errorf("%s: it is %+v", name, d)
			}
			settle(t, s, all(d, Outcome{State: Waiting}))
			s.Done("x.example", time.Time{})
		}
	})
}

// TestClaimCommitsLate: the server carries a commit out after its answer was given up.
func TestClaimCommitsLate(t *testing.T) {
	t.Parallel()
	db := &losing{database: databases.Open(t, shared(t))}
	s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir(), Lease: time.Hour, Poll: time.Hour, Reserve: 1, deaf: true}, db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test is about something else
	<-s.swept
	accept(t, s, to("k", "a@x.example"), "text")
	marked, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	late := func(ctx context.Context, f func(*state.Tx) error) error {
		go func() {
			ended <- db.database.Write(ctx, func(tx *state.Tx) error {
				defer func() { <-goOn }()
				defer close(marked)
				return f(tx)
			})
		}()
		<-marked
		return state.ErrUnsynced
	}
	name := next(t, s)
	db.next.Store(&late)
	if _, err := s.Claim(t.Context(), name, 10); !errors.Is(err, state.ErrUnsynced) {
		t.Fatal(err)
	}
	if got, err := s.Claim(t.Context(), name, 10); err == nil {
		t.Errorf("while it is under way %d are claimed", len(got))
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s.Done(name, time.Time{})
	if got := one(t, s, next(t, s)).Recipients; len(got) != 1 || got[0].State != Waiting {
		t.Errorf("there are %+v", got)
	}
}
