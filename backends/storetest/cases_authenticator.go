package storetest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

var authenticatorCases = []testcase{
	{"right", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			a, err := t.exchange(mechanism, t.User, t.Password)
			if err != nil {
				t.Errorf("%s: %w", mechanism, err)
			} else if id := t.login(t.first()).ID; a.ID != id {
				t.Errorf("%s gives the account %q, and Login gives %q", mechanism, a.ID, id)
			}
		}
	}},
	{"wrong-password", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			_, err := t.exchange(mechanism, t.User, t.Password+"x")
			t.wantKind(mechanism+" with a wrong password", err, backends.BadCredentials)
			_, err = t.exchange(mechanism, "storetest-no-such-user", t.Password)
			t.wantKind(mechanism+" of an unknown user", err, backends.BadCredentials)
		}
	}},
	{"unknown-mechanism", []need{authenticator}, func(t *trial) {
		for _, mechanism := range []string{"X-STORETEST", "", strings.Repeat("X", 1000)} {
			err := t.firstStep(mechanism)
			t.wantKind("the mechanism "+excerpt([]byte(mechanism)), err, backends.Unsupported)
		}
	}},
	{"garbage", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			for _, garbage := range []string{"\x00", " ", "a", strings.Repeat("x", 100_000), "\xff\xfe\xfd", t.User + " "} {
				_, err := t.converse(mechanism, func(challenge []byte) ([]byte, error) { return []byte(garbage), nil })
				if err == nil {
					t.Errorf("%s: %s as response lets somebody in", mechanism, excerpt([]byte(garbage)))
				}
			}
		}
	}},
	{"given-up", []need{authenticator}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			for range 20 {
				e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{})
				if err != nil {
					t.Fatalf("%s: %w", mechanism, err)
				}
				_, _, _ = e.Next(t.ctx, nil)
				t.promptly("closing an exchange", func() { _ = e.Close() })
			}
		}
	}},
	{"two-at-once", []need{authenticator, secondAccount}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			var both sync.WaitGroup
			for _, box := range []mailbox{t.first(), t.second()} {
				both.Go(func() {
					if _, err := t.exchange(mechanism, box.user, box.password); err != nil {
						t.Errorf("%s of %s while another is under way: %w", mechanism, box.user, err)
					}
				})
			}
			both.Wait()
		}
	}},
	{"grant-opens-once", []need{authenticator, reader, offers(backends.CredentialGrant)}, func(t *trial) {
		for _, mechanism := range t.mechanisms() {
			a, err := t.exchange(mechanism, t.User, t.Password)
			if err != nil || len(a.Grant) == 0 {
				t.notOffered("%s gives no grant (%v)", mechanism, err)
			}
			request := backends.OpenRequest{Credential: backends.Credential{Kind: backends.CredentialGrant, User: t.User, Secret: a.Grant}}
			d, err := t.store.(backends.Reader).Open(t.ctx, request)
			if err != nil {
				t.Fatalf("opening with the grant: %w", err)
			}
			if d.Opened().Account.ID != a.ID {
				t.Errorf("the grant of %q opens the inbox of %q", a.ID, d.Opened().Account.ID)
			}
			_ = d.Close()
			again, err := t.store.(backends.Reader).Open(t.ctx, request)
			if err == nil {
				_ = again.Close()
			}
			t.wantKind("a grant that was used already", err, backends.BadCredentials)
		}
	}},
	{"cancelled", []need{authenticator}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		for _, mechanism := range t.description.Mechanisms {
			t.promptly("an exchange whose context has ended", func() {
				e, err := t.store.(backends.Authenticator).Authenticate(ctx, mechanism, backends.Peer{})
				if err == nil {
					_, _, err = e.Next(ctx, nil)
					_ = e.Close()
				}
				if backends.KindOf(err) == backends.BadCredentials {
					t.Errorf("an exchange that was cancelled is told as a wrong password: %w", err)
				}
			})
		}
	}},
}

// mechanisms are those whose client's side is known.
func (t *trial) mechanisms() []string {
	var known []string
	for _, m := range t.description.Mechanisms {
		if t.SASL(m, t.User, t.Password) != nil {
			known = append(known, m)
		}
	}
	if len(known) == 0 {
		t.Skipf("of %q the suite knows none; the target can bring clients (SASL)", t.description.Mechanisms)
	}
	return known
}

func (t *trial) exchange(mechanism, user, password string) (*backends.Account, error) {
	return t.converse(mechanism, t.SASL(mechanism, user, password))
}

// converse conducts an exchange to its end.
func (t *trial) converse(mechanism string, client SASLClient) (*backends.Account, error) {
	e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{Protocol: "pop3", TLS: true})
	if err != nil {
		return nil, err
	}
	defer e.Close() //nolint:errcheck // the outcome is known by then
	var challenge []byte
	for range 20 {
		response, err := client(challenge)
		if err != nil {
			return nil, err
		}
		next, account, err := e.Next(t.ctx, response)
		if err != nil || account != nil {
			return account, err
		}
		challenge = append([]byte{}, next...) // not nil: that is the start
	}
	return nil, errors.New("storetest: the exchange has no end")
}

// firstStep begins an exchange: an unknown mechanism may be told by either call.
func (t *trial) firstStep(mechanism string) error {
	e, err := t.store.(backends.Authenticator).Authenticate(t.ctx, mechanism, backends.Peer{})
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // nothing came of it
	_, _, err = e.Next(t.ctx, nil)
	return err
}
