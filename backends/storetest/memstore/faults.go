package memstore

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Fault is something that goes wrong, for the tests of others. Call says where; the rest says
// what, in this order: it waits for Delay, hangs, ends the process, fails with Kind.
type Fault struct {
	// Call is one of "health", "login", "authenticate", "open", "list", "fetch", "content" (the
	// reading of what fetch or collect opened), "measure", "remove", "resolve", "deliver", "send",
	// "collect", "settle", "watch", "may-send" and "examine".
	Call string `json:"call"`
	// Recipient makes it the verdict on one recipient of resolve, deliver and send; Kind, Text,
	// RetryAfter, Late and Drop count then.
	Recipient string `json:"recipient"`
	// Times is how often it happens; 0: always.
	Times int `json:"times"`
	// While is the path of a file: it happens only as long as there is one.
	While string `json:"while"`

	Delay      Duration `json:"delay"`
	Hang       bool     `json:"hang"` // until the call's context ends
	Exit       bool     `json:"exit"` // the process dies, as in a crash
	Kind       Kind     `json:"kind"`
	Text       string   `json:"text"` // what the client is told
	RetryAfter Duration `json:"retry_after"`

	// Late lets the call do its work before it goes wrong.
	Late bool `json:"late"`
	// Drop is a lie: deliver and send say yes and keep nothing, remove says yes and removes
	// nothing, a content ends early as if it were complete.
	Drop bool `json:"drop"`
	// After is how many octets of a content come before it goes wrong.
	After int `json:"after"`
	// Grow is added to the sizes that list tells.
	Grow int64 `json:"grow"`
}

// Kind is a [backends.Kind] that stands in JSON by its name.
type Kind backends.Kind

// UnmarshalText reads what [backends.Kind.String] gives.
func (k *Kind) UnmarshalText(text []byte) error {
	var names []string
	for kind := range backends.Replies {
		if kind.String() == string(text) {
			*k = Kind(kind)
			return nil
		}
		names = append(names, kind.String())
	}
	slices.Sort(names)
	return fmt.Errorf("expected one of %s", strings.Join(names, ", "))
}

var calls = []string{
	"health", "login", "authenticate", "open", "list", "fetch", "content", "measure", "remove",
	"resolve", "deliver", "send", "collect", "settle", "watch", "may-send", "examine",
}

func (f *Fault) check(wrong *backends.SettingsError, path string) {
	switch {
	case f == nil:
		wrong.Add(path, "expected a mapping")
	case !slices.Contains(calls, f.Call):
		wrong.Add(path+".call", "expected one of %s", strings.Join(calls, ", "))
	case f.After < 0 || f.Times < 0:
		wrong.Add(path, "expected numbers that are not negative")
	}
}

// Inject adds a fault to a store that is running.
func (s *Store) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Mend ends all faults.
func (s *Store) Mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// phase is when in a call a fault strikes.
type phase int

const (
	before phase = iota
	within
	after
)

func (f *Fault) phase() phase {
	switch {
	case f.Call == "content" || f.Drop || f.Grow != 0 || f.Recipient != "":
		return within
	case f.Late:
		return after
	}
	return before
}

// strike finds the fault for this moment, nil as a rule, and uses it up by one. The caller
// holds s.mu.
func (s *Store) strike(call string, when phase, recipient string) *Fault {
	for i, f := range s.faults {
		if f.Call != call || f.phase() != when || (f.Recipient != "" && !strings.EqualFold(f.Recipient, recipient)) {
			continue
		}
		if _, err := os.Stat(f.While); f.While != "" && err != nil {
			continue
		}
		struck := *f
		if f.Times == 1 {
			s.faults = slices.Delete(s.faults, i, i+1)
		} else if f.Times > 1 {
			f.Times--
		}
		return &struck
	}
	return nil
}

func (s *Store) strikeNow(call string, when phase) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.strike(call, when, "")
}

// growth is by how much list lies. The caller holds s.mu.
func (s *Store) growth() int64 {
	if f := s.strike("list", within, ""); f != nil {
		return f.Grow
	}
	return 0
}

// content is a message on its way out, with the fault that it will meet. The caller holds s.mu.
func (s *Store) content(ctx, alive context.Context, data []byte) *content {
	return &content{store: s, ctx: ctx, alive: alive, data: data, fault: s.strike("content", within, "")}
}

// suffer does what a fault says.
func (s *Store) suffer(ctx context.Context, f *Fault) error {
	if f == nil {
		return nil
	}
	if f.Delay > 0 {
		timer := time.NewTimer(time.Duration(f.Delay))
		defer timer.Stop()
		if err := s.wait(ctx, timer.C); err != nil {
			return err
		}
	}
	if f.Hang {
		return s.wait(ctx, nil)
	}
	if f.Exit {
		os.Exit(3)
	}
	if failure := f.failure(); failure != nil {
		return failure
	}
	return nil
}

// failure is what the fault fails with, nil when it does not.
func (f *Fault) failure() *backends.Failure {
	if f.Kind == 0 {
		return nil
	}
	return backends.Fail(backends.Kind(f.Kind), "an injected fault of %s", f.Call).Say(f.Text).After(time.Duration(f.RetryAfter))
}

// wait ends with the time, the context or the store, whichever is first.
func (s *Store) wait(ctx context.Context, timer <-chan time.Time) error {
	select {
	case <-timer:
		return nil
	case <-ctx.Done():
		return backends.Fail(backends.Temporary, "waiting: %w", ctx.Err())
	case <-s.alive.Done():
		return backends.Fail(backends.Temporary, "waiting: the store is closed")
	}
}
