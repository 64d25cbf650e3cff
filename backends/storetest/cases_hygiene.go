package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
)

var hygieneCases = []testcase{
	{"failures-are-failures", nil, func(t *trial) {
		for what, err := range t.provoked() {
			if f := (*backends.Failure)(nil); !errors.As(err, &f) {
				t.Errorf("%s: the error %q is no *Failure: its kind is lost", what, err)
			}
		}
	}},
	{"kinds", nil, func(t *trial) {
		for what, err := range t.provoked() {
			if _, known := backends.Replies[backends.KindOf(err)]; !known {
				t.Errorf("%s: the kind %d is none", what, backends.KindOf(err))
			}
		}
	}},
	{"codes", nil, func(t *trial) {
		for what, err := range t.provoked() {
			f := backends.AsFailure(err)
			if f.Code == "" {
				continue
			}
			if own := backends.Replies[f.Kind].Code; !backends.ValidCode(f.Code) || own == "" || own[0] != f.Code[0] {
				t.Errorf("%s: %q is no enhanced status code of a failure %q", what, f.Code, f.Kind)
			}
		}
	}},
	{"texts", nil, func(t *trial) {
		for what, err := range t.provoked() {
			if flaw := unfit(backends.AsFailure(err).Text); flaw != "" {
				t.Errorf("%s: the client is told %q, which has %s", what, backends.AsFailure(err).Text, flaw)
			}
		}
	}},
	{"secrets", []need{password}, func(t *trial) {
		const secret = "storetest-wrong-secret"
		_, err := t.store.Login(t.ctx, t.with(t.User, secret))
		if f := backends.AsFailure(err); f != nil && strings.Contains(f.Text+f.Detail+f.Error(), secret) {
			t.Errorf("the failure of a login tells the secret that was presented")
		}
	}},
	{"vault", []need{password, vaultSeen}, func(t *trial) {
		if _, err := t.store.Login(t.ctx, t.with(t.User, t.Password)); err != nil {
			t.Fatalf("logging in: %v", err)
		}
		for name, value := range t.Settings.Vault.(*vault.Memory).Values() {
			for _, secret := range []string{t.Password, t.SecondPassword} {
				if secret != "" && bytes.Contains(value, []byte(secret)) {
					t.Errorf("the entry %q of the vault has a user's password in the clear: it stands so in the gateway's database", name)
				}
			}
		}
	}},
}

// vaultSeen says that the store has a vault that can be looked into.
func vaultSeen(s *suite) string {
	if _, is := s.Settings.Vault.(*vault.Memory); is {
		return ""
	}
	return ownNature + "the store is given no vault"
}

// unfit says what a text has that a stranger should not see, or that would break a protocol.
func unfit(text string) string {
	for _, bad := range []struct {
		what    string
		pattern *regexp.Regexp
	}{
		{"more than one line, or control characters", regexp.MustCompile(`[\x00-\x1f\x7f]`)},
		{"a path", regexp.MustCompile(`(^|[\s"'(=:])/?[\w.-]*(/[\w.-]+){2,}|[A-Za-z]:\\`)},
		{"a network address", regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b|\blocalhost\b|:\d{2,5}\b`)},
		{"insides of a program", regexp.MustCompile(`0x[0-9a-f]{6,}|goroutine|panic:|\.go:\d|runtime error|errno|exception`)},
	} {
		if bad.pattern.MatchString(text) {
			return bad.what
		}
	}
	if len(text) > 400 {
		return fmt.Sprintf("%d octets", len(text))
	}
	return ""
}

// provoked are the failures of provoke, of one time for the whole suite: servers answer a failed login late.
func (t *trial) provoked() map[string]error {
	select {
	case t.provoking <- struct{}{}:
		defer func() { <-t.provoking }()
	case <-t.ctx.Done():
		t.Fatalf("the case that provokes failures hangs")
	}
	if t.failures == nil {
		t.failures = t.provoke()
	}
	return t.failures
}

// provoke returns failures that every store can be brought to, by what was done.
func (t *trial) provoke() map[string]error {
	all := make(map[string]error)
	note := func(what string, err error) {
		if err != nil {
			all[what] = err
		}
	}
	_, err := t.store.Login(t.ctx, t.with(t.User, t.Password+"x"))
	note("a wrong password", err)
	_, err = t.store.Login(t.ctx, t.with("storetest-no-such-user", "x"))
	note("an unknown user", err)
	_, err = t.store.Login(t.ctx, backends.Credential{Kind: 99, User: t.User})
	note("a credential of a kind that is none", err)
	if t.has.Reader {
		t.provokeReader(note)
	}
	if t.has.Receiver {
		t.provokeReceiver(note)
	}
	if t.has.Authenticator {
		note("an unknown mechanism", t.firstStep("X-STORETEST"))
	}
	return all
}

func (t *trial) provokeReader(note func(string, error)) {
	other, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first()), Folder: "storetest no such"})
	if err == nil {
		_ = other.Close()
	}
	note("an unknown folder", err)
	d := t.open(t.first())
	_, err = d.read(backends.FetchRequest{ID: "storetest-no-such-message"})
	note("an unknown message", err)
	removals, err := d.Remove(t.ctx, []backends.MessageID{"storetest-no-such-message"}, backends.Disposal(200))
	note("an unknown disposal", err)
	for _, r := range removals {
		if r.Failure != nil {
			note("an unknown disposal", r.Failure)
		}
	}
	d.close()
	_, err = d.read(backends.FetchRequest{ID: "storetest-no-such-message"})
	note("a maildrop that is closed", err)
}

func (t *trial) provokeReceiver(note func(string, error)) {
	m := t.mails(1)[0]
	for _, recipient := range hostileRecipients(t) {
		verdicts, err := t.resolve(backends.ResolveQuery{Recipients: backends.To(recipient)})
		note("the recipient "+excerpt([]byte(recipient)), failureOf(verdicts, err))
	}
	verdicts, err := t.deliver(m, t.Unknown)
	note("an unknown recipient", failureOf(verdicts, err))
	d := t.delivery(m, t.Address)
	d.Key = newTag(t.id)
	verdicts, err = t.deliverAs(d, failing(m, 10, errors.New("storetest: /var/lib/storetest: broken\r\npipe")))
	note("content that fails", failureOf(verdicts, err))
	if limit := t.description.Limits.MessageSize; limit > 0 {
		d.Size = limit + 1
		verdicts, err = t.deliverAs(d, m.reader())
		note("a message that is too large", failureOf(verdicts, err))
	}
}
