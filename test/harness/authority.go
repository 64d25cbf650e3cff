//go:build linux

package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority of the test's own, and one server certificate of it for
// localhost, 127.0.0.1 and ::1.
type Authority struct {
	CAFile   string // the authority's certificate, PEM: what clients are told to trust
	CertFile string // the server's certificate, PEM
	KeyFile  string // its key, PEM
	Pool     *x509.CertPool

	dir    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// NewAuthority makes an authority and the server's certificate.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir(), serial: 1, Pool: x509.NewCertPool()}
	a.key = newKey(t)
	template := a.template("Corpus Test Authority")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.cert)
	a.CAFile = a.write(t, "ca.crt", "CERTIFICATE", der)
	a.CertFile, a.KeyFile = a.Issue(t, "server", "localhost", "127.0.0.1", "::1")
	return a
}

// Issue makes a server certificate for names and addresses. Its files bear the file name.
func (a *Authority) Issue(t *testing.T, file string, names ...string) (certFile, keyFile string) {
	t.Helper()
	template := a.template(names[0])
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.sign(t, file, template)
}

// IssueClient makes a client's certificate for a mail address.
func (a *Authority) IssueClient(t *testing.T, file, address string) (certFile, keyFile string) {
	t.Helper()
	template := a.template("a client")
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	template.EmailAddresses = []string{address}
	return a.sign(t, file, template)
}

func (a *Authority) sign(t *testing.T, file string, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	template.KeyUsage = x509.KeyUsageDigitalSignature
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return a.write(t, file+".crt", "CERTIFICATE", der), a.write(t, file+".key", "PRIVATE KEY", private)
}

// Client is a client's configuration that trusts this authority and nobody else.
func (a *Authority) Client() *tls.Config {
	return &tls.Config{RootCAs: a.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

func (a *Authority) template(name string) *x509.Certificate {
	a.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(365 * 24 * time.Hour),
	}
}

func (a *Authority) write(t *testing.T, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
