package stores_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// quoting is a store that quotes what it was sent.
type quoting struct {
	fakeStore
	failure func(c backends.Credential) error
}

func (q *quoting) Login(_ context.Context, c backends.Credential) (backends.Account, error) {
	return backends.Account{}, q.failure(c)
}

func (q *quoting) Open(_ context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	return nil, q.failure(r.Credential)
}

func (q *quoting) Send(_ context.Context, c backends.Credential, _ backends.Delivery, _ io.Reader) ([]backends.Verdict, error) {
	return nil, q.failure(c)
}

func (q *quoting) Authenticate(context.Context, string, backends.Peer) (sasl.Exchange[backends.Account], error) {
	return quotingExchange{q.failure}, nil
}

type quotingExchange struct {
	failure func(c backends.Credential) error
}

func (q quotingExchange) Next(_ context.Context, response []byte) ([]byte, *backends.Account, error) {
	return nil, nil, q.failure(backends.Credential{Secret: response})
}

func (quotingExchange) Close() error { return nil }

// TestRedacted: what a store says of a call has no secret in it, neither for who called nor for the log.
func TestRedacted(t *testing.T) {
	who := backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte("hunt\"er2")}
	inBase64 := base64.StdEncoding.EncodeToString
	plain := fmt.Errorf("server: %w", backends.Fail(backends.BadCredentials, "NO LOGIN ada %s", who.Secret).Say("not ada with "+string(who.Secret)))
	for name, failure := range map[string]func(c backends.Credential) error{
		"a failure": func(c backends.Credential) error {
			return backends.Fail(backends.BadCredentials, "NO LOGIN ada %s", c.Secret)
		},
		"its text": func(c backends.Credential) error {
			return backends.Fail(backends.BadCredentials, "").Say("not " + string(c.Secret))
		},
		"one wrapped": func(c backends.Credential) error {
			return fmt.Errorf("%s: %w", c.Secret, backends.Fail(backends.BadCredentials, "no"))
		},
		"an error": func(c backends.Credential) error { return errors.New("BAD " + string(c.Secret)) },
		"quoted":   func(c backends.Credential) error { return backends.Fail(backends.Temporary, "%q", c.Secret) },
		"LOGIN's":  func(c backends.Credential) error { return backends.Fail(backends.Temporary, "%s", inBase64(c.Secret)) },
		"PLAIN's": func(c backends.Credential) error {
			return backends.Fail(backends.Temporary, "%s", inBase64([]byte("\x00"+c.User+"\x00"+string(c.Secret))))
		},
		"text and more": func(backends.Credential) error { return plain },
	} {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			q := &quoting{failure: failure}
			q.said.Mechanisms = []string{"NTLM"}
			table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q), stores.Traced(zerolog.New(&log)), stores.Redacted))
			store := table.StoreFor("sakes.example")
			_, login := store.Login(t.Context(), who)
			sending, err := backends.OpenSending(t.Context(), store.Sender, who)
			if err != nil {
				t.Fatal(err)
			}
			_, message := sending.Send(t.Context(), backends.Delivery{}, nil)
			_, open := store.Reader.Open(t.Context(), backends.OpenRequest{Credential: who})
			exchange, err := store.Authenticator.Authenticate(t.Context(), "NTLM", backends.Peer{})
			if err != nil {
				t.Fatal(err)
			}
			_, _, step := exchange.Next(t.Context(), who.Secret)
			for call, err := range map[string]error{"Login": login, "Open": open, "step": step, "a message of a session": message} {
				said := fmt.Sprint(err, backends.AsFailure(err).Text)
				if err == nil || strings.Contains(said, "er2") || strings.Contains(said, inBase64(who.Secret)[:8]) || strings.Contains(said, inBase64([]byte("\x00ada\x00"))[:6]) {
					t.Errorf("%s: %s", call, said)
				}
				if want := backends.KindOf(failure(who)); backends.KindOf(err) != want {
					t.Errorf("%s: %v, want %v", call, backends.KindOf(err), want)
				}
			}
			if got := log.String(); strings.Contains(got, "er2") || strings.Count(got, `"call":"`) != 6 {
				t.Errorf("the log is %s", got)
			}
		})
	}
}

// TestNothingToRedact: an error without a secret comes as it is.
func TestNothingToRedact(t *testing.T) {
	given := errors.New("down")
	q := &quoting{failure: func(backends.Credential) error { return given }}
	table := storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(q), stores.Redacted))
	for _, secret := range []string{"", "own", "hunter2"} { // "own" is too short, and in the word
		if _, err := table.StoreFor("sakes.example").Login(t.Context(), backends.Credential{Secret: []byte(secret)}); err != given { //nolint:errorlint // the very same
			t.Errorf("%q: %v", secret, err)
		}
	}
}
