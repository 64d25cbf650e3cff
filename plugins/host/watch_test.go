package host

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestFollow: the hints of one process after another are told, and what may have been missed between
// them. The closed store is not followed any more.
func TestFollow(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"ann"}}))
	hints, ended := make(chan backends.Hint), make(chan struct{})
	go func() {
		defer close(ended)
		s.Follow(context.Background(), func(h backends.Hint) { hints <- h })
	}()
	expect := func(when string, accounts ...string) {
		t.Helper()
		for _, account := range append([]string{""}, accounts...) {
			want := backends.Hint{Account: account}
			if account != "" {
				want.Kind = backends.HintCredentials
			}
			select {
			case got := <-hints:
				if got != want {
					t.Fatalf("%s: %+v, and should be %+v", when, got, want)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: no hint", when)
			}
		}
	}
	expect("at the start", "ann")
	if err := s.KillProcess(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after the process was killed", "ann")
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{Messages: []string{"bob"}})); err != nil {
		t.Fatal(err)
	}
	expect("after another process took over", "bob")
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{Extra: map[string]string{"watch": "ends"}})); err != nil {
		t.Fatal(err)
	}
	expect("of a store that stops")
	expect("of a store that is asked again")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case <-hints: // one may have been under way
			continue
		case <-ended:
			return
		case <-time.After(30 * time.Second):
			t.Fatal("a closed store is followed")
		}
	}
}

// TestFloodOfHints: a plugin that tells more than there can be is held back.
func TestFloodOfHints(t *testing.T) {
	var flood []string
	for n := range 2*hintsMost + 1 {
		flood = append(flood, fmt.Sprint("account-", n))
	}
	s, _ := start(t, specOf(t, "store", fakeSettings{Messages: flood}))
	ctx, cancel := context.WithCancel(t.Context())
	begin, told := time.Now(), 0
	err := s.Watch(ctx, func(backends.Hint) {
		if told++; told == len(flood) {
			cancel()
		}
	})
	if took := time.Since(begin); told != len(flood) || took < 2*hintsWithin {
		t.Errorf("%d hints in %v (%v)", told, took, err)
	}
}
