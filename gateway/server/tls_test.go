package server

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/dipylon/dipylon/config"
)

// TestCertificatesChange: a handshake has the certificate of its time.
func TestCertificatesChange(t *testing.T) {
	c := &listenerTLS{}
	server := c.config()
	for _, name := range []string{"", "one.example", "two.example"} {
		if name != "" {
			loaded, err := tlsOf(&config.Config{
				StateFolder: t.TempDir(), Hostname: name, Listeners: []config.Listener{{Protocol: config.ProtocolPOP3}},
			})
			if err != nil {
				t.Fatal(err)
			}
			c.current.Store(loaded.configs[0])
		}
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- tls.Server(far, server).Handshake()
			_ = far.Close()
		}()
		client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
		err := client.Handshake()
		_ = near.Close()
		<-done
		if name == "" {
			if err == nil {
				t.Error("a handshake without a certificate went well")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := client.ConnectionState().PeerCertificates[0].Subject.CommonName; got != name {
			t.Errorf("the certificate is of %s, want %s", got, name)
		}
	}
}

// TestLegacyListener: TLS 1.0, and keys that RSA transports, are for a listener of old devices alone; and one that asks for
// certificates takes those that nobody knows, for package devices to look at.
func TestLegacyListener(t *testing.T) {
	loaded, err := tlsOf(&config.Config{StateFolder: t.TempDir(), Hostname: "one.example", Listeners: []config.Listener{
		{Protocol: config.ProtocolSubmission}, {Protocol: config.ProtocolSubmission, Legacy: true}, {Protocol: config.ProtocolSubmissions, DeviceCertificates: true},
	}})
	if err != nil {
		t.Fatal(err)
	}
	own, err := tlsOf(&config.Config{StateFolder: t.TempDir(), Hostname: "scanner.example", Listeners: []config.Listener{{Protocol: config.ProtocolPOP3}}})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := own.configs[0].GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}
	shows := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*certificate}}
	for name, c := range map[string]struct {
		listener int
		client   *tls.Config
		good     bool
	}{
		"TLS 1.0 elsewhere": {0, old, false}, "TLS 1.0": {1, old, true}, "TLS of today": {1, &tls.Config{InsecureSkipVerify: true}, true},
		"a stranger's certificate": {2, shows, true}, "none": {2, &tls.Config{InsecureSkipVerify: true}, true},
	} {
		near, far := net.Pipe()
		seen := make(chan tls.ConnectionState, 1)
		go func() {
			server := tls.Server(far, loaded.configs[c.listener])
			_ = server.Handshake()
			seen <- server.ConnectionState()
			_ = far.Close()
		}()
		err := tls.Client(near, c.client).Handshake()
		_ = near.Close()
		state := <-seen
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if c.client == shows && (len(state.PeerCertificates) != 1 || len(state.VerifiedChains) > 0) {
			t.Errorf("%s: %d certificates, %d chains", name, len(state.PeerCertificates), len(state.VerifiedChains))
		}
	}
}
