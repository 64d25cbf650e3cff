package login_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/endpoint"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	pair := a.issue(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.cert, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue signs a certificate; the first one signs itself.
func (a *authority) issue(template *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		template.Subject = pkix.Name{CommonName: "authority"}
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// handshake makes a TLS connection, and returns what both sides know of it. The client may show a
// certificate.
func (a *authority) handshake(version uint16, client ...tls.Certificate) (server *fakeClient, theirs *tls.ConnectionState) {
	a.t.Helper()
	left, right := net.Pipe()
	a.t.Cleanup(func() { _, _ = left.Close(), right.Close() })
	own := a.issue(&x509.Certificate{DNSNames: []string{"mail.sakes.example"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	var shown endpoint.Certificate
	s := tls.Server(left, shown.Watch(&tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: a.pool(), ClientAuth: tls.VerifyClientCertIfGiven,
	}))
	c := tls.Client(right, &tls.Config{
		RootCAs: a.pool(), ServerName: "mail.sakes.example", Certificates: client, MinVersion: version, MaxVersion: version,
	})
	done := make(chan error, 1)
	go func() { done <- c.HandshakeContext(a.t.Context()) }()
	if err := s.HandshakeContext(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	if err := <-done; err != nil {
		a.t.Fatal(err)
	}
	server = newClient()
	state, other := s.ConnectionState(), c.ConnectionState()
	server.state, server.certificate = &state, shown.DER()
	return server, &other
}
