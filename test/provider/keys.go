package provider

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// NewCertificate makes a certificate of its own for an application, and the files that it proves itself with.
func NewCertificate(t testing.TB, key crypto.Signer, until time.Time) (c *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"}, NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c, writePEM(t, "app.crt", "CERTIFICATE", der), writePEM(t, "app.key", "PRIVATE KEY", pkcs8(t, key))
}

// NewKey makes an RSA key.
func NewKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewServiceAccount makes a service account that the provider knows, and its key file.
func (p *Provider) NewServiceAccount(address string) (file string) {
	p.t.Helper()
	key := NewKey(p.t)
	p.Do(func(*Provider) { p.ServiceAccounts[address] = &key.PublicKey })
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": address, "private_key_id": "k1", "token_uri": p.TokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(p.t, key)})),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	file = filepath.Join(p.t.TempDir(), "service-account.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

func pkcs8(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t testing.TB, name, kind string, der []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
