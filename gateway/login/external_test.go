package login_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/stores"
)

// TestExternal has clients with certificates, over real TLS.
func TestExternal(t *testing.T) {
	a := newAuthority(t)
	both := &x509.Certificate{EmailAddresses: []string{"someone@far.example", "alice@sakes.example", "alice@tea.example"}}
	for _, test := range []struct {
		name        string
		certificate *x509.Certificate
		place       login.CertificateName
		kinds       []backends.CredentialKind
		identity    string
		user, actAs string // what the store is asked for; no user: nothing
		folder      string
	}{
		{name: "by the gateway's word", certificate: both, kinds: []backends.CredentialKind{impersonation}, user: "alice@sakes.example"},
		{name: "by the certificate", certificate: both, kinds: []backends.CredentialKind{certificate, impersonation}, user: "alice@sakes.example"},
		{name: "saying who it is", certificate: both, kinds: []backends.CredentialKind{impersonation}, identity: "Alice@tea.example", user: "alice@tea.example"},
		{name: "for a folder", certificate: both, kinds: []backends.CredentialKind{impersonation}, identity: "alice+Archive@sakes.example", user: "alice@sakes.example", folder: "Archive"},
		{name: "for another mailbox", certificate: both, kinds: []backends.CredentialKind{impersonation}, identity: "info@sakes.example", user: "alice@sakes.example", actAs: "info@sakes.example"},
		{name: "for another store's mailbox", certificate: both, kinds: []backends.CredentialKind{impersonation}, identity: "info@far.example"},
		{name: "saying what is no name", certificate: both, kinds: []backends.CredentialKind{impersonation}, identity: "@"},
		{name: "nobody's", certificate: &x509.Certificate{EmailAddresses: []string{"alice@far.example"}}, kinds: []backends.CredentialKind{impersonation}},
		{name: "without a name", certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}}, kinds: []backends.CredentialKind{impersonation}, identity: "alice"},
		{name: "a name that asks for a folder", certificate: &x509.Certificate{EmailAddresses: []string{"alice+Archive@sakes.example"}}, kinds: []backends.CredentialKind{impersonation}, user: "alice+Archive@sakes.example"},
		{name: "a name that asks for a mailbox", certificate: &x509.Certificate{EmailAddresses: []string{"bob!alice@sakes.example"}}, kinds: []backends.CredentialKind{impersonation}, user: "bob!alice@sakes.example"},
		{name: "by common name", certificate: &x509.Certificate{Subject: pkix.Name{CommonName: "alice"}}, place: login.CertificateCommonName, kinds: []backends.CredentialKind{impersonation}, user: "alice"},
		{name: "by the machine's name", certificate: &x509.Certificate{DNSNames: []string{"scanner.sakes.example"}}, place: login.CertificateDNS, kinds: []backends.CredentialKind{impersonation}, user: "scanner.sakes.example"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, test.kinds...)
			w.table = append(w.table, &place{stores.Config{Name: "tea", Domains: []string{"tea.example"}}, w.store})
			w.change(func(p *login.Policy) { p.Certificate = test.place })
			test.certificate.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			own := a.issue(test.certificate)
			client, _ := a.handshake(tls.VersionTLS13, own)
			if !slices.Contains(w.Mechanisms(client), "EXTERNAL") {
				t.Fatal("not offered")
			}
			_ = w.converse(client, "EXTERNAL", script(nil, []byte(test.identity)))
			if test.user == "" {
				if len(client.entries) > 0 || !strings.Contains(w.log.String(), `"outcome":"refused"`) {
					t.Errorf("the store was asked: %+v, log %s", client.entries, w.log)
				}
				return
			}
			if len(client.entries) != 1 {
				t.Fatalf("asked %d times, log %s", len(client.entries), w.log)
			}
			e := client.entries[0]
			c := e.Credential
			if c.User != test.user || c.ActAs != test.actAs || e.Folder != test.folder || c.Kind != test.kinds[0] {
				t.Errorf("asked with %v, folder %q", c, e.Folder)
			}
			if shown := c.Kind == certificate; shown != slices.Equal(c.Certificate, own.Certificate[0]) {
				t.Errorf("the store was shown the certificate: %v", !shown)
			}
		})
	}
}

// TestExternalNeedsACertificate has clients without one, whatever they say.
func TestExternalNeedsACertificate(t *testing.T) {
	a := newAuthority(t)
	w := newWorld(t, impersonation, certificate)
	plain := newClient()
	without, _ := a.handshake(tls.VersionTLS13)
	unverified, _ := a.handshake(tls.VersionTLS13)
	unverified.state.PeerCertificates = []*x509.Certificate{a.issue(&x509.Certificate{EmailAddresses: []string{"alice@sakes.example"}}).Leaf}
	for name, client := range map[string]*fakeClient{"no TLS": plain, "no certificate": without, "one that nobody has verified": unverified} {
		if slices.Contains(w.Mechanisms(client), "EXTERNAL") {
			t.Errorf("%s: offered", name)
		}
		if err := w.converse(client, "EXTERNAL", script([]byte("alice@sakes.example"))); err == nil || len(client.entries) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
