package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Result is the outcome of one case.
type Result struct {
	Group, Name string
	// Err tells all that went wrong; nil: it passed, unless it was skipped.
	Err error
	// Skipped is why the case did not run; empty: it ran.
	Skipped string
	// Untested says of a case that did not run that the store may well keep or break the promise:
	// the target gives no means to find out. Otherwise the store does not make it.
	Untested bool
	Took     time.Duration
}

// Passed says that the case ran and nothing was wrong.
func (r Result) Passed() bool { return r.Err == nil && r.Skipped == "" }

// Run runs the suite as subtests, group/name. A case that is not offered is logged. Where the target
// does not say how long things may take, they may take longer than with [Check]: tests share their
// machine with others, and a store that hangs is found all the same.
func Run(t *testing.T, target Target) {
	t.Helper()
	target.Timeout = cmp.Or(target.Timeout, 5*time.Minute)
	target.Patience = cmp.Or(target.Patience, time.Minute)
	s, err := start(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(t)
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				if why, _ := reasonOf(s.lacks(c)); why != "" {
					t.Logf("%s: not offered: %s", c.name, why)
					continue
				}
				t.Run(c.name, func(t *testing.T) { tell(t, s.run(t.Context(), g, c)) })
			}
		})
	}
}

func tell(t *testing.T, r Result) {
	switch {
	case r.Err != nil:
		t.Error(r.Err)
	case r.Skipped != "":
		t.Logf("not offered: %s", r.Skipped)
	}
}

func (s *suite) close(t *testing.T) {
	if err := s.end(); err != nil {
		t.Error(err)
	}
}

// Check runs the suite and reports each case as it ends. It returns when all have, or, with the
// context's error, when the context ends. The error is for a store that could not even be opened or described. To run
// some of the cases only, see Target.Only; with [Run], go test has -run.
func Check(ctx context.Context, target Target, report func(Result)) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	for _, g := range groups() {
		for _, c := range g.cases {
			if ctx.Err() != nil {
				return errors.Join(ctx.Err(), s.end())
			}
			if s.Only != nil && !s.Only.MatchString(g.name+"/"+c.name) {
				continue
			}
			if s.Begins != nil {
				s.Begins(g.name + "/" + c.name)
			}
			// A case that the end of the context has broken off says nothing of the store.
			if r := s.run(ctx, g, c); ctx.Err() == nil {
				report(r)
			}
		}
	}
	return s.end()
}

// Names are the names of all cases, group/name, in the order in which they run.
func Names() []string {
	var all []string
	for _, g := range groups() {
		for _, c := range g.cases {
			all = append(all, g.name+"/"+c.name)
		}
	}
	return all
}

// group is the cases of one capability.
type group struct {
	name  string
	cases []testcase
}

type testcase struct {
	name  string
	needs []need
	run   func(*trial)
}

// groups is the whole suite. A case that leaves damage behind stands last. It is made when it is asked for: the samples of
// content have half a megabyte, and the suite is in a binary that seldom runs it.
var groups = sync.OnceValue(func() []group {
	return []group{
		{"describe", describeCases},
		{"configure", configureCases},
		{"health", healthCases},
		{"login", loginCases},
		{"maildrop", slices.Concat(listCases, idCases, fetchCases, manyCases, measureCases, readingCases, sessionCases, flowCases)},
		{"remove", removeCases},
		{"mark", markCases},
		{"receiver", slices.Concat(resolveCases, directoryCases, deliverCases, contentCases(), keyCases, lifetimeCases)},
		{"sender", slices.Concat(senderCases, sendingCases)},
		{"outbox", outboxCases},
		{"watcher", watcherCases},
		{"sendrights", sendRightsCases},
		{"examine", examineCases},
		{"authenticator", authenticatorCases},
		{"process", processCases},
		{"concurrency", concurrencyCases},
		{"hygiene", hygieneCases},
		{"close", closeCases},
	}
})

// suite is one run against one store.
type suite struct {
	Target
	store       backends.Store
	description backends.Description
	has         backends.Capabilities
	id          string   // of this run, in every message
	leased      sync.Map // by backends.MessageID: the recipients of what came out of the outbox

	provoking chan struct{}    // has a place for the case that fills in failures
	failures  map[string]error // see provoked
}

func start(ctx context.Context, target Target) (*suite, error) {
	if target.Open == nil || target.User == "" || target.Address == "" {
		return nil, errors.New("storetest: the target needs Open, User and Address")
	}
	s := &suite{Target: target.withDefaults(), id: newRunID(), provoking: make(chan struct{}, 1)}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	var err error
	if s.store, err = s.Open(ctx); err != nil {
		return nil, fmt.Errorf("storetest: opening the store: %w", err)
	}
	if s.description, err = s.store.Describe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("storetest: describing the store: %w", err), s.end())
	}
	s.has = offered(s.store, s.description, s.Described)
	return s, nil
}

// offered is what a store can do: what it implements, less what its description takes away.
// A store behind the process boundary implements everything and describes the truth; one in
// process need not describe any.
func offered(store backends.Store, d backends.Description, described bool) backends.Capabilities {
	has := backends.CapabilitiesOf(store)
	if said := d.Capabilities; described || said != (backends.Capabilities{}) {
		has.Reader = has.Reader && said.Reader
		has.Receiver = has.Receiver && said.Receiver
		has.Sender = has.Sender && said.Sender
		has.Outbox = has.Outbox && said.Outbox
		has.Authenticator = has.Authenticator && said.Authenticator
		has.Watcher = has.Watcher && said.Watcher
		has.SendRights = has.SendRights && said.SendRights
		has.SendSessions = has.SendSessions && said.Sender
		has.Examiner = has.Examiner && said.Examiner
	}
	return has
}

func (s *suite) end() error {
	if s.KeepOpen {
		return nil
	}
	closed := make(chan error, 1)
	go func() { closed <- s.store.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(s.Patience):
		return fmt.Errorf("storetest: Close did not end within %v", s.Patience)
	}
}

// run runs one case in a goroutine of its own, which is left behind if it hangs.
func (s *suite) run(ctx context.Context, g group, c testcase) Result {
	result := Result{Group: g.name, Name: c.name}
	result.Skipped, result.Untested = reasonOf(s.lacks(c))
	if result.Skipped != "" {
		return result
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	t := &trial{suite: s, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.cleanUp()
		defer func() {
			if p := recover(); p != nil {
				t.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		c.run(t)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(2 * s.Patience):
			t.Errorf("it hangs: a call goes on after its context has ended")
		}
	}
	skipped, err := t.outcome()
	result.Skipped, result.Untested = reasonOf(skipped)
	result.Err = err
	result.Took = time.Since(began)
	return result
}
