package endpoint_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/endpoint"
)

func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestWatch has what the server notes compared with what the client was shown.
func TestWatch(t *testing.T) {
	one, two := certificate(t, "one.example"), certificate(t, "two.example")
	byName := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "two.example" {
			return &two, nil
		}
		return nil, nil
	}
	for _, test := range []struct {
		name   string
		config *tls.Config
		asks   string
		want   []byte // nil: there is no handshake
	}{
		{"one certificate", &tls.Config{Certificates: []tls.Certificate{one}}, "one.example", one.Certificate[0]},
		{"another name", &tls.Config{Certificates: []tls.Certificate{one}}, "x.example", one.Certificate[0]},
		{"no name", &tls.Config{Certificates: []tls.Certificate{one, two}}, "", one.Certificate[0]},
		{"the second of two", &tls.Config{Certificates: []tls.Certificate{one, two}}, "two.example", two.Certificate[0]},
		{"by a function", &tls.Config{GetCertificate: byName}, "two.example", two.Certificate[0]},
		{"by a function that knows none", &tls.Config{GetCertificate: byName}, "one.example", nil},
		{"a list behind a function", &tls.Config{GetCertificate: byName, Certificates: []tls.Certificate{one}}, "one.example", one.Certificate[0]},
		{"no name: a list goes before a function", &tls.Config{GetCertificate: byName, Certificates: []tls.Certificate{one}}, "", one.Certificate[0]},
		{"another configuration for this client", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{two}}, nil
		}}, "one.example", two.Certificate[0]},
		{"no other configuration", &tls.Config{Certificates: []tls.Certificate{one}, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, nil
		}}, "one.example", one.Certificate[0]},
		{"no configuration at all", &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return nil, errors.New("no")
		}}, "one.example", nil},
		{"no certificate", &tls.Config{}, "one.example", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var shown endpoint.Certificate
			if shown.DER() != nil {
				t.Error("there is one before the handshake")
			}
			saw, err := handshake(t, shown.Watch(test.config), test.asks)
			if (err == nil) != (test.want != nil) {
				t.Fatalf("the handshake: %v", err)
			}
			if !slices.Equal(shown.DER(), test.want) || !slices.Equal(saw, test.want) {
				t.Errorf("noted %d octets, and shown were %d", len(shown.DER()), len(saw))
			}
		})
	}
}

// handshake is the certificate that a client was shown.
func handshake(t *testing.T, config *tls.Config, name string) ([]byte, error) {
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	client := tls.Client(right, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // what it shows is compared
	done := make(chan error, 1)
	go func() {
		err := client.HandshakeContext(t.Context())
		right.Close() // or a server that has failed already would wait for its alert to be read
		done <- err
	}()
	err := tls.Server(left, config).HandshakeContext(t.Context())
	left.Close()
	if theirs := <-done; err == nil {
		err = theirs
	}
	if err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0].Raw, nil
}
