package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dipylon/dipylon/config"
)

// certificates is the TLS of one listener. It can be replaced: a handshake uses what is
// current when it begins.
type certificates struct{ current atomic.Pointer[tls.Config] }

// config is what a server is given, once.
func (c *certificates) config() *tls.Config {
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

// loadTLS reads a certificate from its files.
func loadTLS(t config.TLS) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s: %w", t.Certificate, err)
	}
	least := uint16(tls.VersionTLS12)
	if t.MinVersion == "1.3" {
		least = tls.VersionTLS13
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   least,
		// A ticket of one listener must not be good at another (ALPACA), and mail
		// sessions are long: resumption would spare next to nothing.
		SessionTicketsDisabled: true,
	}, nil
}

// tlsOf is the TLS of each listener of a configuration. A certificate that the configuration
// does not name is a self-signed one, which is made if need be.
func tlsOf(cfg *config.Config) ([]*tls.Config, error) {
	var all []*tls.Config
	for _, l := range cfg.Listeners {
		t := cfg.TLS
		if l.TLS != nil {
			t = *l.TLS
		}
		if t.SelfSigned() {
			own, err := selfSigned(cfg)
			if err != nil {
				return nil, err
			}
			own.MinVersion, t = t.MinVersion, own
		}
		loaded, err := loadTLS(t)
		if err != nil {
			return nil, err
		}
		all = append(all, loaded)
	}
	return all, nil
}
