package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/edge"
)

// listenerTLS is the TLS of one listener. It can be replaced: a handshake uses what is current
// when it begins.
type listenerTLS struct{ current atomic.Pointer[tls.Config] }

// config is what a server is given, once.
func (c *listenerTLS) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if current := c.current.Load(); current != nil {
				return current, nil
			}
			return nil, errors.New("there is no certificate")
		},
	}
}

// secure is the TLS of a configuration.
type secure struct {
	configs []*tls.Config // of each listener
	pairs   []*edge.Pair  // all that are in use
	keep    func() error  // writes a self-signed certificate that is new
}

// tlsOf is the TLS of each listener of a configuration. A certificate that the configuration
// does not name is a self-signed one, which is made if need be. No file is changed before keep.
func tlsOf(cfg *config.Config) (*secure, error) {
	s := &secure{keep: func() error { return nil }}
	loaded := make(map[edge.Files]*edge.Pair)
	for _, l := range cfg.Listeners {
		t := cfg.TLS
		if l.TLS != nil {
			t = *l.TLS
		}
		if t.SelfSigned() {
			if err := s.loadOwn(loaded, cfg); err != nil {
				return nil, err
			}
			own := ownFiles(cfg)
			t.Certificate, t.Key = own.Certificate, own.Key
		}
		var pairs []*edge.Pair
		for _, files := range t.All() {
			p, err := s.load(loaded, edge.Files(files))
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, p)
		}
		c := edge.ServerTLS(pairs, leastVersion(t), applicationProtocols(l.Protocol))
		if err := askClients(c, l.ClientCA); err != nil {
			return nil, err
		}
		if l.DeviceCertificates {
			c.ClientAuth = tls.RequestClientCert // package devices looks at it
		}
		if l.Legacy {
			takeOld(c)
		}
		s.configs = append(s.configs, c)
	}
	return s, nil
}

// load reads a certificate, once for all listeners.
func (s *secure) load(loaded map[edge.Files]*edge.Pair, files edge.Files) (*edge.Pair, error) {
	if p := loaded[files]; p != nil {
		return p, nil
	}
	p, err := edge.LoadPair(files)
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	loaded[files] = p
	s.pairs = append(s.pairs, p)
	return p, nil
}

// loadOwn is load for the self-signed certificate.
func (s *secure) loadOwn(loaded map[edge.Files]*edge.Pair, cfg *config.Config) error {
	files := ownFiles(cfg)
	if loaded[files] != nil {
		return nil
	}
	p, keep, err := selfSigned(cfg)
	if err != nil {
		return err
	}
	loaded[files], s.keep = p, keep
	s.pairs = append(s.pairs, p)
	return nil
}

func leastVersion(t config.TLS) uint16 {
	if t.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// takeOld has a listener take what devices speak that nobody renews: TLS 1.0 and 1.1, with keys that RSA transports and
// 3DES. Who is no such device is refused after the handshake (login.ModernTLS).
func takeOld(c *tls.Config) {
	c.MinVersion = tls.VersionTLS10
	for _, suite := range tls.CipherSuites() {
		c.CipherSuites = append(c.CipherSuites, suite.ID)
	}
	c.CipherSuites = append(c.CipherSuites,
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA,
		tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA)
}

// applicationProtocols are the names of a listener's protocol in TLS (RFC 7301).
func applicationProtocols(protocol string) []string {
	switch protocol {
	case config.ProtocolPOP3, config.ProtocolPOP3S:
		return edge.POP3
	case config.ProtocolAdmin:
		return edge.HTTP
	}
	return edge.SMTP
}

// proxyOf says which load balancers a listener is behind; nil: none.
func proxyOf(l config.Listener) *edge.Proxy {
	if l.Proxy == nil {
		return nil
	}
	p := &edge.Proxy{}
	for _, n := range l.Proxy.From {
		p.From = append(p.From, n.Prefix())
	}
	return p
}

// askClients makes TLS ask for a certificate of the client's, for SASL EXTERNAL. A client may go
// without one; one that does not hold ends the handshake.
func askClients(c *tls.Config, authorities string) error {
	if authorities == "" {
		return nil
	}
	text, err := os.ReadFile(authorities)
	if err != nil {
		return fmt.Errorf("the clients' authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return fmt.Errorf("the clients' authorities: %s has no certificate", authorities)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return nil
}
