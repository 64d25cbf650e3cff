//go:build linux

package kerberos_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/exchange/kerberos"
	"github.com/dipylon/dipylon/test/peers"
)

const (
	realm   = "SAKES.EXAMPLE"
	service = "HTTP/mail.sakes.example"
)

// site is a realm of MIT Kerberos, with a service that MIT Kerberos judges for.
type site struct {
	*peers.KDC
	gss *peers.GSS
	k   *kerberos.Kerberos
}

func start(t *testing.T) *site {
	t.Helper()
	s := &site{KDC: peers.StartKDC(t, realm)}
	s.AddUser("george", "sesame")
	keytab := s.AddService(service)
	s.gss = peers.StartGSS(t, peers.GSSAccounts{Keytab: keytab, Config: s.Config})
	k, err := kerberos.New(kerberos.Config{Realm: realm, KDCs: []string{s.Address}, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.k = k
	return s
}

// verdict is what the KDC says of a password.
func verdict(t *testing.T, err error) kerberos.Verdict {
	t.Helper()
	var e *kerberos.Error
	if !errors.As(err, &e) {
		t.Fatalf("no error of Kerberos: %v", err)
	}
	return e.Verdict
}

// binding is a gss_channel_bindings_struct of application data.
func binding(data string) []byte {
	return append(append(make([]byte, 16), byte(len(data)), 0, 0, 0), data...)
}

// TestLogin: MIT Kerberos takes the login, finds it bound, and proves itself.
func TestLogin(t *testing.T) {
	s := start(t)
	for _, user := range []string{"george", `SAKES\george`, "george@sakes.example", "george@" + realm} {
		ticket, err := s.k.Ticket(t.Context(), user, kerberos.Password("sesame"), service)
		if err != nil {
			t.Fatal(user, err)
		}
		if !ticket.Valid() {
			t.Error("it is not valid")
		}
		for range 2 { // one ticket, and another authenticator for each login
			login, token, err := ticket.Begin(binding("tls-server-end-point:x"))
			if err != nil {
				t.Fatal(err)
			}
			v, err := s.gss.Begin("Negotiate", []byte("tls-server-end-point:x")).Step(token)
			if err != nil || !v.Complete || !v.Bound || v.Name != "george@"+realm {
				t.Fatalf("%s: %+v, %v", user, v, err)
			}
			if err := login.Finish(v.Token); err != nil {
				t.Error(err)
			}
			for _, answer := range [][]byte{nil, token, v.Token[:len(v.Token)-1]} {
				if err := login.Finish(answer); !errors.Is(err, kerberos.ErrNotProved) {
					t.Errorf("%d octets prove it: %v", len(answer), err)
				}
			}
			other, _, err := ticket.Begin(nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Finish(v.Token); !errors.Is(err, kerberos.ErrNotProved) {
				t.Errorf("the answer to another login proves it: %v", err)
			}
		}
	}
}

// TestBinding: what was bound to another channel is refused, and what is bound to none is told as that.
func TestBinding(t *testing.T) {
	s := start(t)
	ticket, err := s.k.Ticket(t.Context(), "george", kerberos.Password("sesame"), service)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name            string
		sent            []byte
		complete, bound bool
	}{
		{"another", binding("tls-server-end-point:y"), false, false},
		{"none", nil, true, false},
	} {
		_, token, err := ticket.Begin(test.sent)
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.gss.Begin("Negotiate", []byte("tls-server-end-point:x")).Step(token)
		if err != nil || v.Complete != test.complete || v.Bound != test.bound {
			t.Errorf("%s: %+v, %v", test.name, v, err)
		}
	}
}

// TestVerdicts has what the KDC says of users, and how many requests it saw that a password was judged by.
func TestVerdicts(t *testing.T) {
	s := start(t)
	s.AddUser("expired", "sesame")
	s.Modify("expired", "-pwexpire", "yesterday")
	s.AddUser("locked", "sesame")
	s.Modify("locked", "-allow_tix")
	s.AddUser("gone", "sesame")
	s.Modify("gone", "-expire", "yesterday")
	s.AddUser(`ann\@corp.example`, "sesame")
	s.AddUser("open", "sesame")
	s.Modify("open", "-requires_preauth")
	for _, test := range []struct {
		user, password, service string
		want                    kerberos.Verdict
	}{
		{"george", "wrong", service, kerberos.Wrong},
		{"open", "wrong", service, kerberos.Wrong},
		{"nobody", "sesame", service, kerberos.Unknown},
		{"expired", "sesame", service, kerberos.Expired},
		{"expired", "wrong", service, kerberos.Wrong},
		{"locked", "sesame", service, kerberos.Revoked},
		{"gone", "sesame", service, kerberos.Revoked},
		{"george", "sesame", "HTTP/elsewhere.example", kerberos.NoVerdict},
	} {
		before := strings.Count(s.Log(), "PREAUTH_FAILED")
		_, err := s.k.Ticket(t.Context(), test.user, kerberos.Password(test.password), test.service)
		if got := verdict(t, err); got != test.want || strings.Contains(err.Error(), test.password) {
			t.Errorf("%s, %s: %d, %v", test.user, test.password, got, err)
		}
		if n := strings.Count(s.Log(), "PREAUTH_FAILED") - before; n > 1 {
			t.Errorf("%s: the password was judged %d times", test.user, n)
		}
	}
	for _, user := range []string{"open", "ann@corp.example"} { // who has a domain of mail that is no realm, RFC 6806 §5
		if _, err := s.k.Ticket(t.Context(), user, kerberos.Password("sesame"), service); err != nil {
			t.Error(user, err)
		}
	}
}

// TestKeytab signs in with a key in the place of a password.
func TestKeytab(t *testing.T) {
	s := start(t)
	keytab, err := kerberos.LoadKeytab(s.AddService("gate"))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.k.Ticket(t.Context(), "gate@sakes.example", keytab, service)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := ticket.Begin(nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.gss.Begin("Negotiate", nil).Step(token); err != nil || v.Name != "gate@"+realm {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := s.k.Ticket(t.Context(), "george", keytab, service); verdict(t, err) != kerberos.NoVerdict {
		t.Error(err)
	}
}

// TestDamagedKeytab: a file that is cut off or damaged is told as that, and costs no more.
func TestDamagedKeytab(t *testing.T) {
	s := start(t)
	whole, err := os.ReadFile(s.NewKey("george"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keytab")
	load := func(octets []byte) error {
		if err := os.WriteFile(path, octets, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := kerberos.LoadKeytab(path)
		return err
	}
	if err := load(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		_ = load(whole[:i])
		for _, octet := range []byte{0, 0x7f, 0x80, 0xff} {
			damaged := bytes.Clone(whole)
			damaged[i] = octet
			_ = load(damaged)
		}
	}
	if load(nil) == nil || load([]byte("nonsense")) == nil {
		t.Error("it is loaded")
	}
}
