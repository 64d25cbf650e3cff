package exchange

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// Front is a proxy before the server that ends TLS, and begins it anew: a connection of the server's for each of a client's.
type Front struct {
	// Root is the URL, as the server's. TLS trusts the certificate, which Certificate has as PEM.
	Root        string
	TLS         *tls.Config
	Certificate []byte
}

// StartFront starts a front with the server's own certificate, or with another one, which ends with the test.
func (s *Server) StartFront(own bool) *Front {
	s.t.Helper()
	certificate := s.certificate
	if !own {
		certificate = newCertificate(s.t, "a proxy")
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		s.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.bridge(client) })
		}
	})
	s.t.Cleanup(func() {
		_ = listener.Close()
		s.web.CloseClientConnections()
		all.Wait()
	})
	f := &Front{Root: "https://" + listener.Addr().String()}
	f.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.Certificate)
	f.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return f
}

// bridge passes on what each side sends, until one of them has ended.
func (s *Server) bridge(client net.Conn) {
	defer client.Close()
	server, err := tls.Dial("tcp", s.web.Listener.Addr().String(), s.TLS)
	if err != nil {
		return
	}
	defer server.Close()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			ended <- struct{}{}
		}()
	}
	<-ended
	_, _ = client.Close(), server.Close()
	<-ended
}

// newCertificate makes a certificate for loopback, with a key that costs little: httptest's own is RSA's, whose signatures
// take most of a handshake's time.
func newCertificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
