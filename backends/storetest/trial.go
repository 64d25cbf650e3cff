package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// ownNature begins a reason that lies in the store: it does not make the promise.
const ownNature = "\x00"

// reasonOf parts a reason from what it begins with.
func reasonOf(why string) (reason string, untested bool) {
	reason, own := strings.CutPrefix(why, ownNature)
	return reason, !own && reason != ""
}

// need says why a case cannot be run on a store; empty: it can.
type need func(*suite) string

func (s *suite) lacks(c testcase) string {
	first := ""
	for _, n := range c.needs {
		why := n(s)
		if strings.HasPrefix(why, ownNature) {
			return why
		}
		if first == "" {
			first = why
		}
	}
	return first
}

// capability is a need for one of the optional interfaces.
func capability(name string, has func(backends.Capabilities) bool) need {
	return func(s *suite) string {
		if has(s.has) {
			return ""
		}
		return ownNature + "the store is no " + name
	}
}

var (
	reader        = capability("Reader", func(c backends.Capabilities) bool { return c.Reader })
	receiver      = capability("Receiver", func(c backends.Capabilities) bool { return c.Receiver })
	sender        = capability("Sender", func(c backends.Capabilities) bool { return c.Sender })
	outbox        = capability("Outbox", func(c backends.Capabilities) bool { return c.Outbox })
	watcher       = capability("Watcher", func(c backends.Capabilities) bool { return c.Watcher })
	sendRights    = capability("judge of senders", func(c backends.Capabilities) bool { return c.SendRights })
	examiner      = capability("Examiner", func(c backends.Capabilities) bool { return c.Examiner })
	authenticator = capability("Authenticator", func(c backends.Capabilities) bool { return c.Authenticator })
)

func feed(s *suite) string {
	if s.Put == nil && !s.has.Receiver {
		return "there is no way to put mail into it: it is no Receiver, and the target has no Put"
	}
	return ""
}

func password(s *suite) string {
	if !slices.Contains(s.description.Credentials, backends.CredentialPassword) {
		return ownNature + "it takes no passwords"
	}
	return ""
}

func secondAccount(s *suite) string {
	if s.SecondUser == "" || s.SecondAddress == "" {
		return "the target has no second account"
	}
	return ""
}

func octets(s *suite) string {
	if s.Renders {
		return ownNature + "it renders messages, and does not keep their octets"
	}
	return ""
}

// trial is one case being run.
type trial struct {
	*suite
	ctx context.Context

	mu       sync.Mutex
	errs     []error
	skipped  string
	over     bool
	cleanups []func()
}

// Errorf notes that something is wrong. It may be called from any goroutine.
func (t *trial) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.errs) < 20 && !t.over {
		t.errs = append(t.errs, fmt.Errorf(format, args...))
	}
}

// Fatalf is Errorf and the end of the case, or of the goroutine that called it.
func (t *trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf ends a case that turns out not to be offered.
func (t *trial) Skipf(format string, args ...any) {
	t.mu.Lock()
	t.skipped = fmt.Sprintf(format, args...)
	t.mu.Unlock()
	runtime.Goexit()
}

// notOffered ends a case about something that the store need not have, and does not.
func (t *trial) notOffered(format string, args ...any) { t.Skipf(ownNature+format, args...) }

// Cleanup has something done when the case ends; what came last is done first.
func (t *trial) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *trial) cleanUp() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
}

// outcome is what came of the case; what a call that hangs still has to say comes too late.
func (t *trial) outcome() (skipped string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if err := errors.Join(t.errs...); err != nil {
		return "", err
	}
	return t.skipped, nil
}

// wantKind notes an error that is not a failure of one of the kinds.
func (t *trial) wantKind(what string, err error, kinds ...backends.Kind) {
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	switch {
	case err == nil:
		t.Errorf("%s: it succeeded, and should have failed: %s", what, strings.Join(names, " or "))
	case !slices.Contains(kinds, backends.KindOf(err)):
		t.Errorf("%s: it failed with %q, and should have with: %s", what, err, strings.Join(names, " or "))
	}
}

// promptly waits for a call that has no reason to take long, and gives up on one that does.
func (t *trial) promptly(what string, call func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		call()
	}()
	select {
	case <-done:
	case <-time.After(t.Patience):
		t.Fatalf("%s: it does not end (waited %v)", what, t.Patience)
	}
}

// until asks again and again until something is so: where a store has no event to wait for.
func (t *trial) until(what string, so func() bool) {
	for !so() {
		select {
		case <-t.ctx.Done():
			t.Fatalf("%s: it did not come about within %v", what, t.Timeout)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// credential is how the suite logs in as one of the accounts.
func (s *suite) credential(box mailbox) backends.Credential {
	c := backends.Credential{
		Kind: backends.CredentialPassword, User: box.user, Secret: []byte(box.password),
		Peer: backends.Peer{Address: "192.0.2.1:50123", Protocol: "pop3", TLS: true, Session: s.id},
	}
	if password(s) != "" && slices.Contains(s.description.Credentials, backends.CredentialImpersonation) {
		c.Kind, c.Secret = backends.CredentialImpersonation, nil
	}
	return c
}
