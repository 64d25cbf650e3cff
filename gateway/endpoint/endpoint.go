// Package endpoint remembers which certificate a server has shown in a TLS handshake: a server's
// [tls.ConnectionState] does not say, and the channel binding tls-server-end-point
// (RFC 5929 §4) is made of it.
//
//	var shown endpoint.Certificate
//	conn := tls.Server(raw, shown.Watch(config))
//	err := conn.HandshakeContext(ctx)
//	shown.DER()
package endpoint

import (
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// Certificate is the certificate of one connection. Its zero value is ready.
type Certificate struct {
	shown atomic.Pointer[tls.Certificate]
}

// DER is the certificate, without what signs it; nil before the handshake.
func (c *Certificate) DER() []byte {
	if shown := c.shown.Load(); shown != nil && len(shown.Certificate) > 0 {
		return shown.Certificate[0]
	}
	return nil
}

// Watch returns a configuration that does what the given one does, for one connection, and notes
// the certificate. Sessions are not resumed from one connection to the next: a resumed one shows
// no certificate.
func (c *Certificate) Watch(config *tls.Config) *tls.Config {
	watched := c.watch(config)
	if config.GetConfigForClient != nil {
		watched.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := config.GetConfigForClient(hello)
			if err != nil || other == nil {
				return nil, err
			}
			return c.watch(other), nil
		}
	}
	return watched
}

func (c *Certificate) watch(config *tls.Config) *tls.Config {
	watched := config.Clone()
	watched.SessionTicketsDisabled = true
	watched.GetConfigForClient = nil
	watched.Certificates = nil // so that GetCertificate is asked in any case
	watched.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		chosen, err := choose(config, hello)
		if err == nil {
			c.shown.Store(chosen)
		}
		return chosen, err
	}
	return watched
}

// choose is how crypto/tls chooses a certificate.
func choose(config *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if config.GetCertificate != nil && (len(config.Certificates) == 0 || hello.ServerName != "") {
		if chosen, err := config.GetCertificate(hello); chosen != nil || err != nil {
			return chosen, err
		}
	}
	for i := range config.Certificates {
		if hello.SupportsCertificate(&config.Certificates[i]) == nil {
			return &config.Certificates[i], nil
		}
	}
	if len(config.Certificates) == 0 {
		return nil, errors.New("endpoint: there is no certificate")
	}
	return &config.Certificates[0], nil // the client says why it does not want it
}
