package imap_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// submitting is a store with a submission server that a test has told how to be.
func submitting(t *testing.T, server *fakesmtp.Server) (backends.Sending, *fakesmtp.Server) {
	t.Helper()
	server.Offers = append(server.Offers, "AUTH PLAIN", "PIPELINING")
	server.Start(t)
	store := imap.New()
	t.Cleanup(func() { _ = store.Close() })
	raw := fmt.Sprintf(`{"address": "127.0.0.1:1", "tls": "none", "submission": {"address": %q, "tls": "none"}}`, server.Address)
	if err := store.Configure(t.Context(), backends.Settings{Raw: []byte(raw), Hostname: "gate.example", StateDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	session, err := backends.OpenSending(t.Context(), store, backends.Credential{Kind: backends.CredentialPassword, User: "ada", Secret: []byte("s")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session, server
}

func logins(server *fakesmtp.Server) (n int) {
	for _, c := range server.Commands() {
		if strings.HasPrefix(c, "AUTH ") {
			n++
		}
	}
	return n
}

// TestSendingSession: messages go over one connection with one login, and over another one where the
// server has ended it or takes no more.
func TestSendingSession(t *testing.T) {
	const message = "Subject: x\r\n\r\nx\r\n"
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name    string
		server  *fakesmtp.Server
		first   func(t *testing.T, s backends.Sending) // instead of a good message
		logins  int
		arrived int
	}{
		{"two messages", &fakesmtp.Server{}, nil, 1, 2},
		{"MAILMAX=1", &fakesmtp.Server{Offers: []string{"LIMITS MAILMAX=1"}}, nil, 2, 2},
		{"it goes after each message", &fakesmtp.Server{Mail: func(t fakesmtp.Transaction) string {
			if t.Number > 1 {
				return "421 4.7.0 enough"
			}
			return ""
		}}, nil, 2, 2},
		{"the first one is refused", &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if strings.HasPrefix(path, "nobody") {
				return "550 5.1.1 no"
			}
			return ""
		}}, func(t *testing.T, s backends.Sending) {
			verdicts, err := s.Send(t.Context(), submission("key-0", "nobody@far.example"), strings.NewReader(message))
			if err != nil || backends.KindOf(verdicts[0].Failure) != backends.NotFound {
				t.Error(verdicts, err)
			} else if v := verdicts[0]; v.Destination != "dns; upstream.example" || v.RemoteDiagnostic != "smtp; 550 5.1.1 no" {
				t.Errorf("it went to %q, and came to %q", v.Destination, v.RemoteDiagnostic)
			}
		}, 1, 1},
		{"the content of the first one fails", &fakesmtp.Server{}, func(t *testing.T, s backends.Sending) {
			content := io.MultiReader(strings.NewReader(message), &broken{})
			if _, err := s.Send(t.Context(), submission("key-0", "bob@far.example"), content); err == nil {
				t.Error("it is taken")
			}
		}, 2, 1},
		{"the first one is cancelled", &fakesmtp.Server{}, func(t *testing.T, s backends.Sending) {
			if _, err := s.Send(ended, submission("key-0", "bob@far.example"), strings.NewReader(message)); err == nil {
				t.Error("it is taken")
			}
		}, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			session, server := submitting(t, test.server)
			if test.first == nil {
				test.first = func(t *testing.T, s backends.Sending) {
					if verdicts, err := s.Send(t.Context(), submission("key-1", "bob@far.example"), strings.NewReader(message)); err != nil || verdicts[0].Failure != nil {
						t.Error(verdicts, err)
					}
				}
			}
			test.first(t, session)
			verdicts, err := session.Send(t.Context(), submission("key-2", "bob@far.example"), strings.NewReader(message))
			if err != nil || verdicts[0].Failure != nil {
				t.Fatal(verdicts, err)
			}
			if v := verdicts[0]; v.Action != backends.ActionRelayed || v.Destination != "dns; upstream.example" || !strings.HasPrefix(v.RemoteDiagnostic, "smtp; 250") {
				t.Errorf("%v: it went to %q, and came to %q", v.Action, v.Destination, v.RemoteDiagnostic)
			}
			if n := logins(server); n != test.logins {
				t.Errorf("%d logins, want %d:\n%s", n, test.logins, strings.Join(server.Commands(), "\n"))
			}
			if n := len(server.Received()); n != test.arrived {
				t.Errorf("%d messages arrived, want %d", n, test.arrived)
			}
		})
	}
}

// TestSendingPasswordChanged: a login that comes after others is refused as a login.
func TestSendingPasswordChanged(t *testing.T) {
	changed := false
	session, _ := submitting(t, &fakesmtp.Server{Offers: []string{"LIMITS MAILMAX=1"}, Auth: func(string) string {
		if changed {
			return "535 5.7.8 no"
		}
		return ""
	}})
	if _, err := session.Send(t.Context(), submission("key-1", "bob@far.example"), strings.NewReader("x\r\n")); err != nil {
		t.Fatal(err)
	}
	changed = true
	if _, err := session.Send(t.Context(), submission("key-2", "bob@far.example"), strings.NewReader("x\r\n")); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
}

func submission(key, to string) backends.Delivery {
	return backends.Delivery{Key: key, Envelope: backends.Envelope{From: "ada@near.example"}, Recipients: backends.To(to)}
}

// broken is a content that cannot be read.
type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
