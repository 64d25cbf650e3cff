package remote

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Trust is the part of a backend's settings that says whom it trusts over TLS. It is embedded in
// the struct that the settings are read into.
type Trust struct {
	CA   string `json:"ca"`       // PEM file of the authorities to trust; empty: the system's
	Pin  string `json:"pin"`      // "sha256/<base64>" of the server's public key; trusted instead of any authority
	Name string `json:"tls_name"` // the name that the certificate must have; empty: the host
}

var errPin = errors.New("the server's public key is not the pinned one")

// Config makes a TLS configuration of it for a host, and notes what is wrong. Relative paths are
// relative to base. The host may be empty where whoever dials sets the name.
func (t Trust) Config(wrong *backends.SettingsError, base, host string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.Name}
	if config.ServerName == "" {
		config.ServerName = host
	}
	if t.CA != "" {
		config.RootCAs = authorities(wrong, base, t.CA)
	}
	if t.Pin == "" {
		return config
	}
	text, ok := strings.CutPrefix(t.Pin, "sha256/")
	pin, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(pin) != sha256.Size {
		wrong.Add("pin", "expected sha256/ and the base64 of the SHA-256 of the server's public key")
		return config
	}
	config.InsecureSkipVerify = true // the pin is verified instead
	config.VerifyConnection = func(state tls.ConnectionState) error {
		sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
		if !slices.Equal(sum[:], pin) {
			return errPin
		}
		return nil
	}
	return config
}

func authorities(wrong *backends.SettingsError, base, path string) *x509.CertPool {
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	pool := x509.NewCertPool()
	if pem, err := os.ReadFile(path); err != nil {
		wrong.Add("ca", "cannot be read: %v", err)
	} else if !pool.AppendCertsFromPEM(pem) {
		wrong.Add("ca", "holds no certificate in PEM form")
	}
	return pool
}

// ConnectFailure tells a TLS that cannot be trusted from a server that is away. noTLS says which
// setting to look at where the server does not speak TLS at all, or waits for it in silence.
func ConnectFailure(address, noTLS string, err error) error {
	var (
		certificate *tls.CertificateVerificationError
		header      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		name        x509.HostnameError
		alert       tls.AlertError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &header):
		return Unsafe(backends.Fail(backends.Temporary, "connect to %s: the server does not speak TLS here; is %s right? %w", address, noTLS, err))
	case errors.Is(err, errPin), errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &name), errors.As(err, &alert):
		return Unsafe(backends.Fail(backends.Temporary, "connect to %s: the server's certificate is not trusted; see \"ca\", \"pin\", \"tls_name\": %w", address, err))
	case errors.Is(err, context.DeadlineExceeded):
		return backends.Fail(backends.Temporary, "connect to %s: no answer in time; is %s right? %w", address, noTLS, err).WithCode("4.4.1")
	}
	return backends.Fail(backends.Temporary, "connect to %s: %w", address, err).WithCode("4.4.1")
}

// Unsafe makes of a failure one whose client is told that nothing can be sent safely.
func Unsafe(f *backends.Failure) *backends.Failure {
	return f.WithCode("4.7.5").Say("the mail store cannot be reached safely, tell your administrator")
}

// Document adds what there is to say of [Trust] to the notes of a store's settings.
func Document(notes map[string]backends.SettingNote) {
	notes["ca"] = backends.SettingNote{Doc: "Whom to trust: a PEM file of authorities.", Default: "the system's authorities"}
	notes["pin"] = backends.SettingNote{Doc: "Whom to trust instead of any authority: sha256/ and the base64 of the SHA-256 of the server's public key.", Default: "none"}
	notes["tls_name"] = backends.SettingNote{Doc: "The name that the server's certificate must have.", Default: "the host"}
}
