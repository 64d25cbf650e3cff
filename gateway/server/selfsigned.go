package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	selfSignedFor  = 2 * 365 * 24 * time.Hour
	selfSignedLeft = 30 * 24 * time.Hour // with less of its life left, another is made
)

// SelfSignedFiles is where the gateway keeps the certificate that it has made itself.
func SelfSignedFiles(state string) config.TLS {
	return config.TLS{
		Certificate: filepath.Join(state, "tls", "self-signed.crt"),
		Key:         filepath.Join(state, "tls", "self-signed.key"),
	}
}

// selfSigned gives a certificate for the gateway's name and the loopback addresses. It is kept, so
// that clients that have come to trust it go on doing so. A new one is in its files once keep has
// been called, where the one that is in use may stand until then.
func selfSigned(cfg *config.Config) (pair *edge.Pair, keep func() error, err error) {
	files := ownFiles(cfg)
	if pair, err := edge.LoadPair(files); err == nil &&
		pair.Leaf().VerifyHostname(cfg.Hostname) == nil && time.Until(pair.Leaf().NotAfter) > selfSignedLeft {
		return pair, func() error { return nil }, nil
	}
	certificate, key, err := MakeSelfSigned(cfg.Hostname, time.Now())
	if err == nil {
		pair, err = edge.NewPair(files, certificate, key)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("making a self-signed certificate: %w", err)
	}
	return pair, func() error { return keepSelfSigned(files, certificate, key) }, nil
}

// ownFiles are those of [SelfSignedFiles].
func ownFiles(cfg *config.Config) edge.Files {
	own := SelfSignedFiles(cfg.StateFolder)
	return edge.Files{Certificate: own.Certificate, Key: own.Key}
}

func keepSelfSigned(files edge.Files, certificate, key []byte) error {
	err := state.MakeFolder(filepath.Dir(files.Key))
	if err == nil {
		err = errors.Join(replace(files.Key, key), replace(files.Certificate, certificate))
	}
	if err != nil {
		return fmt.Errorf("keeping the self-signed certificate: %w", err)
	}
	return nil
}

// MakeSelfSigned makes a certificate and its key, both PEM.
func MakeSelfSigned(hostname string, now time.Time) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: hostname},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(selfSignedFor),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{hostname, "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		// Clients are told to trust it as their root for this server.
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// replace writes a file that nobody else can read, whole or not at all.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // after the rename there is no such file
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close(), state.Inherit(f.Name())); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
