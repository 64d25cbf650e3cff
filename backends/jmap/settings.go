package jmap

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// settings are what an administrator writes under stores[].settings.
type settings struct {
	URL        string   `json:"url"` // of the session resource, or of the server
	CA         string   `json:"ca"`  // PEM file of the authorities to trust; empty: the system's
	TLSName    string   `json:"tls_name"`
	Plaintext  bool     `json:"plaintext"` // allow http://
	Username   string   `json:"username"`  // address, local
	Requests   int      `json:"requests"`  // under way at once for one maildrop
	Timeout    seconds  `json:"timeout"`   // of one API request, in seconds
	Delivery   delivery `json:"delivery"`
	Submission bool     `json:"submission"` // EmailSubmission sends
}

type delivery struct {
	LMTP string `json:"lmtp"` // host:port, or the path of a unix socket
	// Accounts are the recipients' passwords by address: for Email/import, or with LMTP to
	// look whether a retry has been delivered before.
	Accounts map[string]string `json:"accounts"`
}

type seconds int

func (s seconds) duration() time.Duration { return time.Duration(s) * time.Second }

func defaults() settings {
	return settings{Username: "address", Requests: 16, Timeout: 60}
}

func read(given backends.Settings) (settings, *http.Client, error) {
	set := defaults()
	if err := given.Decode(&set); err != nil {
		return set, nil, err
	}
	var wrong backends.SettingsError
	u, err := url.Parse(set.URL)
	switch {
	case set.URL == "":
		wrong.Add("url", "the URL of the server or of its session resource is missing")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		wrong.Add("url", "expected https://host/… ")
	case u.Scheme == "http" && !set.Plaintext:
		wrong.Add("url", "http:// sends passwords in clear; use https://, or set plaintext: true for a server on this machine")
	case u.Path == "" || u.Path == "/":
		set.URL = u.JoinPath("/.well-known/jmap").String() // RFC 8620 §2.2
	}
	if set.Username != "address" && set.Username != "local" {
		wrong.Add("username", "expected one of address, local")
	}
	if set.Requests < 1 || set.Requests > 256 {
		wrong.Add("requests", "expected 1 to 256")
	}
	if set.Timeout < 1 || set.Timeout > 3600 {
		wrong.Add("timeout", "expected 1 to 3600 seconds")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: set.TLSName}
	if set.CA != "" {
		config.RootCAs = authorities(&wrong, given.BaseDir, set.CA)
	}
	return set, newHTTP(config, set), wrong.Err()
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

// newHTTP follows redirects only where they stay on the same host: they carry the credential.
func newHTTP(config *tls.Config, set settings) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4 * set.Requests,
			IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: set.Timeout.duration(), TLSHandshakeTimeout: 15 * time.Second,
			DisableCompression: true, Proxy: http.ProxyFromEnvironment,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > 3 || !strings.EqualFold(r.URL.Host, via[0].URL.Host) || r.URL.Scheme != via[0].URL.Scheme {
				return http.ErrUseLastResponse
			}
			r.Header.Set("Authorization", via[0].Header.Get("Authorization"))
			return nil
		},
	}
}
