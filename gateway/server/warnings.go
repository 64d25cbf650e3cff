package server

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/stores"
)

// A warning is something in a configuration that can be served, and will not work, or not for long,
// or not as somebody may think. "dipylon check" prints warnings and the gateway logs them.

// certificateLeft is how long before its end a certificate is warned of. While the gateway runs, package attention does it.
const certificateLeft = attention.Ahead

// CertificateWarnings looks at the certificates that a configuration names.
func CertificateWarnings(cfg *config.Config, now time.Time) []config.Problem {
	all := warnOfTLS(cfg, "tls", cfg.TLS, now)
	for i, l := range cfg.Listeners {
		if l.TLS != nil {
			all = append(all, warnOfTLS(cfg, "listeners["+strconv.Itoa(i)+"].tls", *l.TLS, now)...)
		}
	}
	for i, r := range cfg.Routes {
		if r.ClientCertificate == "" {
			continue
		}
		path := "routes[" + strconv.Itoa(i) + "].client_certificate"
		pair, err := edge.LoadPair(edge.Files{Certificate: r.ClientCertificate, Key: r.ClientKey})
		if err != nil {
			continue // told as an error
		}
		if text := validity(pair.Leaf(), now, "servers"); text != "" {
			all = append(all, config.Problem{Position: cfg.Place(path), Path: path, Text: "the certificate " + r.ClientCertificate + " " + text})
		}
	}
	return all
}

// warnOfTLS looks at the certificates of one tls mapping. Files that cannot be used are an error, and
// told as one.
func warnOfTLS(cfg *config.Config, path string, t config.TLS, now time.Time) (all []config.Problem) {
	if t.SelfSigned() {
		return nil
	}
	warn := func(text string) {
		all = append(all, config.Problem{Position: cfg.Place(path), Path: path, Text: text})
	}
	named := false
	for _, files := range t.All() {
		pair, err := edge.LoadPair(edge.Files(files))
		if err != nil {
			return nil
		}
		leaf := pair.Leaf()
		named = named || leaf.VerifyHostname(cfg.Hostname) == nil
		if text := validity(leaf, now, "clients"); text != "" {
			warn("the certificate " + files.Certificate + " " + text)
		}
	}
	if !named {
		warn("no certificate is for " + cfg.Hostname + ", the gateway's hostname: clients that know the gateway by that name refuse it")
	}
	return all
}

// validity says what is wrong with a certificate's time, which others look at; empty: nothing.
func validity(leaf *x509.Certificate, now time.Time, others string) string {
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return "is valid from " + leaf.NotBefore.UTC().Format(time.DateTime) + " UTC on only: " + others + " refuse it until then"
	case left <= 0:
		return "has expired on " + leaf.NotAfter.UTC().Format(time.DateTime) + " UTC: " + others + " refuse it"
	case left < certificateLeft:
		return "expires on " + leaf.NotAfter.UTC().Format(time.DateTime) + " UTC, in " + strconv.Itoa(int(left.Hours()/24)) + " days"
	}
	return ""
}

// FileWarnings looks at who can read the file. Windows has its rights elsewhere.
func FileWarnings(cfg *config.Config) []config.Problem {
	info, err := os.Stat(cfg.Name())
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 || !cfg.HasSecrets() {
		return nil
	}
	return []config.Problem{{
		Position: config.Position{File: cfg.Name()},
		Text:     "the file has secrets in it, and every user of this machine can read it: chmod o-r " + cfg.Name() + ", or put them into files of their own (file:PATH)",
	}}
}

// ListenerWarnings looks at ports and at plaintext.
func ListenerWarnings(cfg *config.Config) (all []config.Problem) {
	plain := map[string]bool{config.ProtocolPOP3: cfg.POP3.PlaintextLogin, config.ProtocolSubmission: cfg.Submission.PlaintextLogin}
	privileged := !mayBindLow()
	for i, l := range cfg.Listeners {
		path := "listeners[" + strconv.Itoa(i) + "].address"
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue // checked already
		}
		if n, _ := strconv.Atoi(port); privileged && n > 0 && n < lowPorts() {
			all = append(all, config.Problem{
				Position: cfg.Place(path), Path: path,
				Text: fmt.Sprintf("port %d is privileged, and this user may not open it: give the service CAP_NET_BIND_SERVICE, as config/dipylon.service does", n),
			})
		}
		if addr, err := netip.ParseAddr(host); plain[l.Protocol] && (err != nil || !addr.IsLoopback()) && host != "localhost" {
			all = append(all, config.Problem{
				Position: cfg.Place(path), Path: path,
				Text: "plaintext_login takes passwords without TLS here, and the address is not of this machine alone",
			})
		}
	}
	return all
}

// StoreWarnings compares what a store's configuration wants with what its backend can do.
func StoreWarnings(cfg *config.Config, i int, can backends.Description) (all []config.Problem) {
	s := cfg.Stores[i]
	warn := func(key, text string) {
		path := "stores[" + strconv.Itoa(i) + "]." + key
		all = append(all, config.Problem{Position: cfg.Place(path), Path: path, Text: text})
	}
	if s.Sends && !can.Capabilities.Sender {
		warn("sends", "the store is to send, and its backend, "+can.Name+", cannot with these settings")
	}
	if !s.Sends && can.Capabilities.Sender && submits(s.Settings.JSON) && !slices.ContainsFunc(cfg.Routes, func(r config.Route) bool { return r.Store == s.Name }) {
		warn("settings.submission", "the settings let the store send, and nothing is sent by it: set sends: true beside the store's name, for what its accounts submit, or lead a route to: transport through it")
	}
	if p, _ := cfg.PolicyOf(s.Name, ""); *p.MarkRead && can.Capabilities.Reader && !can.Reading.MarksSeen {
		warn("policy.mark_read", "messages are to be marked as read, and the store's backend, "+can.Name+", has no such mark")
	}
	if stores.PasswordPolicy(s.Passwords) == stores.ApplicationPassword && !slices.Contains(can.Credentials, backends.CredentialImpersonation) {
		warn("passwords", "application passwords alone are good, and the store does not let the gateway act for its users: nobody can log in")
	}
	return append(all, transportWarnings(cfg, s.Name, can)...)
}

// submits says whether somebody has written down how a store is to send: the built-in backends have this setting.
func submits(settings []byte) bool {
	var written struct {
		Submission json.RawMessage `json:"submission"`
	}
	return json.Unmarshal(settings, &written) == nil && len(written.Submission) > 0 && string(written.Submission) != "false" && string(written.Submission) != "null"
}

// transportWarnings are for routes through a store's transport that the store has not, or not for the gateway's word: their
// mail would wait until it is given up.
func transportWarnings(cfg *config.Config, store string, can backends.Description) (all []config.Problem) {
	why := ""
	switch {
	case !can.Capabilities.Sender:
		why = "the store's backend, " + can.Name + ", cannot send with these settings"
	case !slices.Contains(can.Credentials, backends.CredentialImpersonation):
		why = "the store does not let the gateway act for its users"
	default:
		return nil
	}
	for i, r := range cfg.Routes {
		if path := "routes[" + strconv.Itoa(i) + "].store"; r.Store == store {
			all = append(all, config.Problem{Position: cfg.Place(path), Path: path, Text: "the route leads through the store's transport, and " + why + ": mail waits until it expires"})
		}
	}
	return all
}

// logWarnings logs warnings, with the places that "dipylon check" gives.
func logWarnings(log zerolog.Logger, warnings []config.Problem) {
	for _, w := range warnings {
		log.Warn().Str("at", w.Position.String()).Str("path", w.Path).Msg(w.Text)
	}
}

// firstPort reads the kernel's bound of ports that anybody may open.
func firstPort(file string) int {
	text, err := os.ReadFile(file)
	if err != nil {
		return 1024
	}
	var n int
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		return 1024
	}
	return n
}
