package remote

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// HopSettings are how mail comes into a store, in the settings of a backend.
type HopSettings struct {
	LMTP string `json:"lmtp"` // host:port, or the path of a unix socket
	SMTP string `json:"smtp"` // host or host:port
	TLS  string `json:"tls"`  // none, starttls, implicit
}

// Check notes what is wrong, and completes addresses with the port that belongs to them. path is
// where in the settings these are.
func (s *HopSettings) Check(wrong *backends.SettingsError, path string) {
	OneOf(wrong, path+".tls", s.TLS, "none", "starttls", "implicit")
	if s.LMTP != "" && s.SMTP != "" {
		wrong.Add(path, "lmtp and smtp are both set: choose one")
	}
	if strings.HasPrefix(s.SMTP, "/") {
		wrong.Add(path+".smtp", "expected host or host:port")
	}
	if s.LMTP != "" && !strings.HasPrefix(s.LMTP, "/") {
		s.LMTP = withPort(s.LMTP, "24") // RFC 2033 §5 leaves it open; Debian's and Cyrus's
	}
	port := "25"
	if s.TLS == "implicit" {
		port = "465"
	}
	if s.SMTP != "" {
		s.SMTP = withPort(s.SMTP, port)
	}
}

func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

// Given says whether there is a server.
func (s HopSettings) Given() bool { return s.LMTP != "" || s.SMTP != "" }

// Hop is the server that the settings name. name is the one in its certificate; empty: its host's.
func (s HopSettings) Hop(hello string, config *tls.Config, name string, timeout time.Duration, tempDir string) Hop {
	h := Hop{SMTP: s.SMTP != "", Address: s.LMTP + s.SMTP, Hello: hello, Timeout: timeout, TempDir: tempDir}
	config = config.Clone()
	if host, _, err := net.SplitHostPort(h.Address); name == "" && err == nil {
		name = host
	}
	if name != "" {
		config.ServerName = name
	}
	h.TLS = Secured(s.TLS, config)
	return h
}

// Secured is what the setting "tls" asks for: none, starttls or implicit. A store's server is one
// that the administrator has named: its certificate counts.
func Secured(setting string, config *tls.Config) smtpclient.TLS {
	switch setting {
	case "starttls":
		return smtpclient.TLS{Policy: smtpclient.Verified, Config: config}
	case "implicit":
		return smtpclient.TLS{Policy: smtpclient.Verified, Implicit: true, Config: config}
	}
	return smtpclient.TLS{}
}

// DocumentHop adds what there is to say of [HopSettings] to the notes of a store's settings. path is where
// in them these are.
func DocumentHop(notes map[string]backends.SettingNote, path string) {
	notes[path+".lmtp"] = backends.SettingNote{Doc: "The LMTP server that takes mail in: host:port, or the path of a unix socket.", Default: "none"}
	notes[path+".smtp"] = backends.SettingNote{Doc: "Instead: the SMTP server that takes mail in, host or host:port. It is never found by MX.", Default: "none"}
	notes[path+".tls"] = backends.SettingNote{
		Doc: "How that server is reached: none, starttls, which is required then, or implicit.", Values: []string{"none", "starttls", "implicit"},
	}
}
