package imap

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// settings are what an administrator writes under stores[].settings.
type settings struct {
	Address  string    `json:"address"`  // host or host:port of the IMAP server
	TLS      string    `json:"tls"`      // implicit, starttls, none
	CA       string    `json:"ca"`       // PEM file of the authorities to trust; empty: the system's
	Pin      string    `json:"pin"`      // "sha256/<base64>" of the server's public key; trusted instead of any authority
	Name     string    `json:"tls_name"` // the name that the certificate must have; empty: the host
	Username string    `json:"username"` // address: user@domain as given; local: without the domain
	Master   master    `json:"master"`   // acts for any user
	Trash    string    `json:"trash"`    // folder for deleted mail; empty: the one marked \Trash
	Pool     pool      `json:"connections"`
	Timeout  duration  `json:"timeout"` // for one command without content, and for connecting
	Delivery delivery  `json:"delivery"`
	Sending  sending   `json:"submission"`
	Allowed  *[]string `json:"recipients"` // who gets mail, where the server cannot be asked
}

type master struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

type pool struct {
	PerAccount int      `json:"per_account"` // open at once for one account
	Total      int      `json:"total"`       // open at once
	Keep       duration `json:"keep"`        // how long one is kept after its session
}

type delivery struct {
	LMTP   string `json:"lmtp"`   // host:port, or the path of a unix socket
	TLS    string `json:"tls"`    // none, starttls
	Append bool   `json:"append"` // by IMAP APPEND as the master user
	Folder string `json:"folder"` // for APPEND
}

type sending struct {
	Address string `json:"address"` // host:port of the store's submission server
	TLS     string `json:"tls"`     // implicit, starttls, none
	Sent    string `json:"sent"`    // folder for a copy; empty: the server makes its own, or none is wanted
}

// duration is written as Go writes them: "30s".
type duration time.Duration

func (d *duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("expected a duration such as \"30s\"")
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("expected a duration such as \"30s\"")
	}
	*d = duration(v)
	return nil
}

func defaults() settings {
	return settings{
		TLS:      "implicit",
		Username: "address",
		Pool:     pool{PerAccount: 8, Total: 512, Keep: duration(20 * time.Second)},
		Timeout:  duration(30 * time.Second),
		Delivery: delivery{TLS: "none", Folder: "INBOX"},
		Sending:  sending{TLS: "starttls"},
	}
}

// read decodes and checks; everything wrong is told at once.
func read(s backends.Settings) (settings, *tls.Config, error) {
	set := defaults()
	if err := s.Decode(&set); err != nil {
		return set, nil, err
	}
	var wrong backends.SettingsError
	oneOf(&wrong, "tls", set.TLS, "implicit", "starttls", "none")
	oneOf(&wrong, "username", set.Username, "address", "local")
	oneOf(&wrong, "delivery.tls", set.Delivery.TLS, "starttls", "none")
	oneOf(&wrong, "submission.tls", set.Sending.TLS, "implicit", "starttls", "none")
	if set.Address == "" {
		wrong.Add("address", "the IMAP server's host, or host:port, is missing")
	}
	set.Address = withPort(set.Address, map[string]string{"implicit": "993"}[set.TLS], "143")
	if set.Sending.Address != "" {
		set.Sending.Address = withPort(set.Sending.Address, map[string]string{"implicit": "465"}[set.Sending.TLS], "587")
	}
	if set.Delivery.LMTP != "" && !strings.HasPrefix(set.Delivery.LMTP, "/") {
		set.Delivery.LMTP = withPort(set.Delivery.LMTP, "", "24")
	}
	if set.Delivery.LMTP != "" && set.Delivery.Append {
		wrong.Add("delivery", "lmtp and append are both set: choose one")
	}
	if (set.Master.User == "") != (set.Master.Password == "") {
		wrong.Add("master", "user and password go together")
	}
	if set.Delivery.Append && set.Master.User == "" {
		wrong.Add("delivery.append", "needs the master user, who appends for the recipients")
	}
	if set.Pool.PerAccount < 1 || set.Pool.Total < 1 {
		wrong.Add("connections", "per_account and total are at least 1")
	}
	if set.Timeout < duration(time.Second) {
		wrong.Add("timeout", "is at least 1s")
	}
	config := set.tlsConfig(&wrong, s.BaseDir)
	return set, config, wrong.Err()
}

func oneOf(wrong *backends.SettingsError, path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		wrong.Add(path, "expected one of %s", strings.Join(choices, ", "))
	}
}

func withPort(address, port, otherwise string) string {
	if port == "" {
		port = otherwise
	}
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

func (set settings) tlsConfig(wrong *backends.SettingsError, base string) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: set.Name}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(set.Address)
	}
	if set.CA != "" {
		path := set.CA
		if !filepath.IsAbs(path) {
			path = filepath.Join(base, path)
		}
		config.RootCAs = x509.NewCertPool()
		if pem, err := os.ReadFile(path); err != nil {
			wrong.Add("ca", "cannot be read: %v", err)
		} else if !config.RootCAs.AppendCertsFromPEM(pem) {
			wrong.Add("ca", "holds no certificate in PEM form")
		}
	}
	if set.Pin != "" {
		text, ok := strings.CutPrefix(set.Pin, "sha256/")
		pin, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil || len(pin) != sha256.Size {
			wrong.Add("pin", "expected sha256/ and the base64 of the SHA-256 of the server's public key")
			return config
		}
		config.InsecureSkipVerify = true // the pin is verified instead, see below
		config.VerifyConnection = func(state tls.ConnectionState) error {
			sum := sha256.Sum256(state.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if !slices.Equal(sum[:], pin) {
				return errPin
			}
			return nil
		}
	}
	return config
}
