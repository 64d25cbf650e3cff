package smtpclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// certificate is a server's for mx.example, signed by itself, and the pool that trusts it.
func certificate(t *testing.T) (server *tls.Config, trusted *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted = x509.NewCertPool()
	trusted.AddCert(parsed)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, trusted
}

// TestPolicies: what each policy makes of what a server does.
func TestPolicies(t *testing.T) {
	good, trusted := certificate(t)
	broken := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no certificate") }}
	policies := []smtpclient.Policy{smtpclient.Clear, smtpclient.Opportunistic, smtpclient.Required, smtpclient.Verified}
	for name, tt := range map[string]struct {
		server  *fakesmtp.Server
		trusted *x509.CertPool
		name    string
		want    string // for each policy: c clear, t TLS, - refused
	}{
		"a certificate that is trusted":    {&fakesmtp.Server{TLS: good}, trusted, "mx.example", "cttt"},
		"one of a stranger":                {&fakesmtp.Server{TLS: good}, x509.NewCertPool(), "mx.example", "ctt-"},
		"one for another name":             {&fakesmtp.Server{TLS: good}, trusted, "other.example", "ctt-"},
		"no STARTTLS":                      {&fakesmtp.Server{}, trusted, "mx.example", "cc--"},
		"STARTTLS that is refused for now": {&fakesmtp.Server{TLS: good, StartTLS: "454 4.7.0 TLS not available"}, trusted, "mx.example", "cc--"},
		"STARTTLS that closes":             {&fakesmtp.Server{TLS: good, StartTLS: "421 4.3.0 bye"}, trusted, "mx.example", "cc--"},
		"a handshake that fails":           {&fakesmtp.Server{TLS: broken}, trusted, "mx.example", "cc--"},
		"octets between the reply and TLS": {&fakesmtp.Server{TLS: good, StartTLS: "220 go\n250 injected"}, trusted, "mx.example", "cc--"},
		"implicit TLS that is trusted":     {&fakesmtp.Server{TLS: good, Implicit: true}, trusted, "mx.example", "--tt"},
		"implicit TLS with a wrong name":   {&fakesmtp.Server{TLS: good, Implicit: true}, trusted, "other.example", "--t-"},
	} {
		for i, policy := range policies {
			t.Run(name+" "+string("cort"[i]), func(t *testing.T) {
				server := (&fakesmtp.Server{TLS: tt.server.TLS, StartTLS: tt.server.StartTLS, Implicit: tt.server.Implicit}).Start(t)
				how := smtpclient.TLS{Policy: policy, Implicit: server.Implicit, Config: &tls.Config{RootCAs: tt.trusted, ServerName: tt.name, MinVersion: tls.VersionTLS12}}
				c, err := smtpclient.Dial(t.Context(), "tcp", server.Address, smtpclient.Options{Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute), TLS: how})
				got := byte('-')
				if err == nil {
					defer c.Close()
					got = sent(t, c)
				}
				if got != tt.want[i] {
					t.Errorf("got %c, want %c (%v)", got, tt.want[i], err)
				}
				if failed := (*smtpclient.TLSError)(nil); got == '-' && !server.Implicit && !errors.As(err, &failed) {
					t.Errorf("got %v, which is no TLSError", err)
				}
			})
		}
	}
}

// sent sends a message and says how it went: c in clear, t over TLS.
func sent(t *testing.T, c *smtpclient.Client) byte {
	t.Helper()
	outcomes, err := c.Send(t.Context(), smtpclient.Envelope{Recipients: []string{"a@s"}}, strings.NewReader(letter))
	if err != nil || outcomes[0].Err != nil {
		t.Fatal(outcomes, err)
	}
	if c.TLSState() == nil {
		return 'c'
	}
	return 't'
}

// TestNothingInClear: of a server without the TLS that is asked for nothing is learnt but our name.
func TestNothingInClear(t *testing.T) {
	server := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
	for _, policy := range []smtpclient.Policy{smtpclient.Required, smtpclient.Verified} {
		_, err := smtpclient.Dial(t.Context(), "tcp", server.Address, smtpclient.Options{
			Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute), TLS: smtpclient.TLS{Policy: policy}, Auth: smtpclient.Plain("", "ada", "sesame"),
		})
		if !errors.Is(err, smtpclient.ErrNoTLS) {
			t.Errorf("got %v", err)
		}
	}
	if commands := slices.Compact(server.Commands()); !slices.Equal(commands, []string{"EHLO gate.example"}) {
		t.Errorf("the server was told %q", commands)
	}
}

// TestCredentialsAndChance: no credential is sent where TLS is a matter of what the server offers.
func TestCredentialsAndChance(t *testing.T) {
	server := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
	_, err := smtpclient.Dial(t.Context(), "tcp", server.Address, smtpclient.Options{
		Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute), TLS: smtpclient.TLS{Policy: smtpclient.Opportunistic}, Auth: smtpclient.Plain("", "ada", "sesame"),
	})
	if err == nil || len(server.Commands()) > 0 {
		t.Errorf("got %v, and the server was told %q", err, server.Commands())
	}
}
