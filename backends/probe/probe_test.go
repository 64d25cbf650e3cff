package probe

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// serve has each connection handled, until the test ends.
func serve(t *testing.T, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer conn.Close(); handle(conn) }()
		}
	}()
	return l.Addr().String()
}

// certified is a server's certificate, its own authority, for a time.
func certified(t *testing.T, from, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.office.example"}, DNSNames: []string{"mail.office.example"},
		NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// TestTLSCauses: each thing that is wrong with a server's TLS has its own cause.
func TestTLSCauses(t *testing.T) {
	day := 24 * time.Hour
	past, soon, later := time.Now().Add(-day), time.Now().Add(10*day), time.Now().Add(300*day)
	for _, test := range []struct {
		name, server string
		from, until  time.Time
		change       func(*tls.Config) // of the server's
		trusted      bool
		failed       string
		warned       string
	}{
		{name: "well", server: "mail.office.example", from: past, until: later, trusted: true},
		{name: "ends soon", server: "mail.office.example", from: past, until: soon, trusted: true, warned: "certificate-expires"},
		{name: "over", server: "mail.office.example", from: past.Add(-day), until: past, trusted: true, failed: "certificate-expired"},
		{name: "not yet", server: "mail.office.example", from: soon, until: later, trusted: true, failed: "certificate-expired"},
		{name: "another name", server: "smtp.office.example", from: past, until: later, trusted: true, failed: "certificate-name"},
		{name: "nobody's", server: "mail.office.example", from: past, until: later, failed: "certificate-not-trusted"},
		{name: "old", server: "mail.office.example", from: past, until: later, trusted: true, failed: "tls-too-old", change: func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }},
		{name: "wants a certificate", server: "mail.office.example", from: past, until: later, trusted: true, failed: "client-certificate", change: func(c *tls.Config) {
			c.MaxVersion, c.ClientAuth = tls.VersionTLS12, tls.RequireAnyClientCert
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pair, pool := certified(t, test.from, test.until)
			config := &tls.Config{Certificates: []tls.Certificate{pair}}
			if test.change != nil {
				test.change(config)
			}
			address := serve(t, func(conn net.Conn) {
				_ = tls.Server(conn, config).Handshake()
				_, _ = io.Copy(io.Discard, conn)
			})
			trust := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: test.server, RootCAs: x509.NewCertPool()}
			if test.trusted {
				trust.RootCAs = pool
			}
			found, err := TLS(t.Context(), address, trust, nil)
			got := ""
			if err != nil {
				got = CauseOf(err).Name
			}
			if got != test.failed || found.Warning.Name != test.warned {
				t.Errorf("%q %q: %v", got, found.Warning.Name, err)
			}
		})
	}
}

// TestTLSWithoutConnection: no certificate is at fault where a connection has not come about, as one by a proxy.
func TestTLSWithoutConnection(t *testing.T) {
	_, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:0")
	if cause := TLSCause(err); cause != NoConnection {
		t.Errorf("%s: %v", cause.Name, err)
	}
}

// TestNetworkCauses: what is wrong before TLS.
func TestNetworkCauses(t *testing.T) {
	plain := serve(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "220 mail.office.example ready\r\n")
		_, _ = bufio.NewReader(conn).ReadString('\n')
	})
	hangsUp := serve(t, func(net.Conn) {})
	closed := serve(t, func(net.Conn) {})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed = l.Addr().String()
	_ = l.Close()
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "x"}
	for _, test := range []struct {
		name, want string
		do         func(context.Context) (Found, error)
	}{
		{"no such name", "name-not-found", func(ctx context.Context) (Found, error) { return LookUp(ctx, "mail.nowhere.invalid") }},
		{"an address", "", func(ctx context.Context) (Found, error) { return LookUp(ctx, "192.0.2.7") }},
		{"closed", "port-closed", func(ctx context.Context) (Found, error) { return Connect(ctx, closed) }},
		{"open", "", func(ctx context.Context) (Found, error) { return Connect(ctx, plain) }},
		{"no TLS", "no-tls", func(ctx context.Context) (Found, error) { return TLS(ctx, plain, config, nil) }},
		{"no STARTTLS", "no-tls", func(ctx context.Context) (Found, error) {
			return TLS(ctx, plain, config, func(net.Conn) error { return errors.New("not offered") })
		}},
		{"hangs up", "no-answer", func(ctx context.Context) (Found, error) { return TLS(ctx, hangsUp, config, nil) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.do(t.Context())
			got := ""
			if err != nil {
				got = CauseOf(err).Name
			}
			if got != test.want {
				t.Errorf("%q, want %q: %v", got, test.want, err)
			}
		})
	}
}

// TestTexts: what providers say, as it is in the field.
func TestTexts(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [FR0P281CA0001.DEUP281.PROD.OUTLOOK.COM]", "smtp-auth-off-tenant"},
		{"5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information. [FR0P281CA0001.DEUP281.PROD.OUTLOOK.COM]", "smtp-auth-off-mailbox"},
		{"5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.", "access-blocked"},
		{"5.7.30 Basic authentication is not supported for Client Submission.", "basic-auth-off"},
		{"5.7.139 Authentication unsuccessful, basic authentication is disabled. [X]", "basic-auth-off"},
		{"5.7.68 TenantInboundAttribution; Direct Send not allowed for this organization from unauthorized sources", "direct-send-off"},
		{"5.2.252 SendAsDenied; scanner@office.example not allowed to send as boss@office.example; STOREDRV.Submission.Exception", "send-as-denied"},
		{"4.2.0 STOREDRV; mailbox logon failure; server says no", "service-principal"},
		{"BAD User is authenticated but not connected.", "protocol-off"},
		{"4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", ""},
		{"4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.", "connections-limit"},
		{"NO [ALERT] Too many simultaneous connections. (Failure)", "connections-limit"},
		{"5.7.9 Application-specific password required. Learn more at https://support.google.com/mail/?p=InvalidSecondFactor", "app-password-needed"},
		{"NO AUTHENTICATE failed.", ""},
	} {
		cause, is := ByText(test.text)
		if cause.Name != test.want || is != (test.want != "") {
			t.Errorf("%q is %q, want %q", test.text, cause.Name, test.want)
		}
	}
}

// TestReplies: a refused login whose text says nothing has the cause that its code and its kind of login suggest.
func TestReplies(t *testing.T) {
	for _, test := range []struct {
		reply   smtpclient.Reply
		byToken bool
		want    string
	}{
		{smtpclient.Reply{Code: 535, Lines: []string{"5.7.3 Authentication unsuccessful [X]"}}, true, "service-principal"},
		{smtpclient.Reply{Code: 535, Lines: []string{"5.7.8 Error: authentication failed"}}, false, "wrong-credentials"},
		{smtpclient.Reply{Code: 535, Lines: []string{"5.7.139 Authentication unsuccessful"}}, false, "access-blocked"},
		{smtpclient.Reply{Code: 504, Lines: []string{"5.7.4 Unrecognized authentication type"}}, false, "method-not-offered"},
		{smtpclient.Reply{Code: 534, Lines: []string{"5.7.9 no"}}, false, "app-password-needed"},
		{smtpclient.Reply{Code: 454, Lines: []string{"4.7.0 Temporary authentication failure"}}, true, "busy"},
	} {
		if got := CauseOf(ByReply(errors.New("x"), test.reply, test.byToken)); got.Name != test.want || got.Advice == "" {
			t.Errorf("%v: %q, want %q", test.reply, got.Name, test.want)
		}
	}
}

// TestTokens: each kind of an issuer's answer is a cause with something to do.
func TestTokens(t *testing.T) {
	for kind, want := range map[oauth.Kind]string{
		oauth.SecretExpired: "secret-expired", oauth.ConsentMissing: "consent-missing", oauth.CertificateExpired: "certificate-expired", oauth.LoginNeeded: "login-needed",
		oauth.Outage: "token-endpoint", oauth.Untrusted: "token-endpoint-not-trusted", oauth.ClientUnknown: "application-unknown", oauth.Refused: "token-refused",
	} {
		if got := CauseOf(ByToken(backends.Fail(backends.Temporary, "x: %w", &oauth.Error{Kind: kind}))); got.Name != want || got.Advice == "" {
			t.Errorf("%s: %+v", kind, got)
		}
	}
}

// TestMany: a server that takes fewer connections than are configured is warned of with their number, and all are closed.
func TestMany(t *testing.T) {
	for _, test := range []struct {
		allowed, configured int
		warned              string
	}{{5, 5, ""}, {3, 5, "connections-limit"}, {100, 500, ""}} {
		open, opened := 0, 0
		found, err := Many(t.Context(), test.configured, func(context.Context) (func(), error) {
			if open == test.allowed {
				return nil, errors.New("too many connections")
			}
			open++
			opened++
			return func() { open-- }, nil
		})
		if err != nil || found.Warning.Name != test.warned || open != 0 || opened > connectionsTried {
			t.Errorf("%+v: %+v, %v; %d are open, of %d", test, found, err, open, opened)
		}
	}
}
