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
