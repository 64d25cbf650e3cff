package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/track"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

func TestLevelChangesWhileLoggersAreInUse(t *testing.T) {
	var out bytes.Buffer
	gate := &levelGate{}
	log := newLog(&out, config.Log{Level: "info", Format: "auto"}, gate)
	child := log.With().Str("session", "s1").Logger()
	child.Debug().Msg("one")
	child.Info().Msg("two")
	gate.set("debug")
	child.Debug().Msg("three")
	gate.set("error")
	child.Warn().Msg("four")
	child.Error().Msg("five")
	var messages []string
	for _, m := range regexp.MustCompile(`"message":"(\w+)"`).FindAllStringSubmatch(out.String(), -1) {
		messages = append(messages, m[1])
	}
	if got := strings.Join(messages, " "); got != "two three five" {
		t.Errorf("logged: %s", got)
	}
}

// What became of messages is remembered, though the log has no lines of it.
func TestTrackSeesWhatIsNotLogged(t *testing.T) {
	var out bytes.Buffer
	gate := &levelGate{track: track.NewRecorder()}
	log := newLog(&out, config.Log{Level: "warn", Format: "json"}, gate)
	gate.track.Set(true)
	log.Info().Str(events.Event, events.Relay).Str("cause", strings.Repeat("x", 1<<20)).Msg("too long")
	if gate.track.Lost() != 1 || out.Len() > 0 {
		t.Errorf("%d events were seen, logged: %.100s", gate.track.Lost(), out.String())
	}
	log.Warn().Str(events.Event, events.Relay).Str("cause", strings.Repeat("x", 1<<20)).Msg("too long")
	if gate.track.Lost() != 2 || out.Len() == 0 {
		t.Errorf("%d events were seen, logged: %.100s", gate.track.Lost(), out.String())
	}
}

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{"json": `"message":"hello"`, "auto": `"message":"hello"`, "console": "INF hello"} {
		var out bytes.Buffer
		log := newLog(&out, config.Log{Level: "info", Format: format}, &levelGate{})
		log.Info().Msg("hello")
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", format, out.String())
		}
	}
}

// TestRouteShows: what hosts are shown, and how the gateway logs in there, is told of a route.
func TestRouteShows(t *testing.T) {
	leaf := &x509.Certificate{Subject: pkix.Name{CommonName: "gate.example"}, NotAfter: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}
	r := route.Route{
		Name: "provider", Kind: route.SMTP, Hosts: [][]string{{"smtp.provider.example:587"}}, External: true, User: "gate",
		TLS: smtpclient.TLS{Policy: smtpclient.Verified, Config: &tls.Config{Certificates: []tls.Certificate{{Leaf: leaf}}}},
	}
	var out bytes.Buffer
	if err := routeOf(route.Explanation{Decision: route.Decision{Route: &r}}, address.Mailbox{Local: "zoe", Domain: "far.example"}).print(&out); err != nil {
		t.Fatal(err)
	}
	r.External, r.NTLM, r.MakeWinmail, r.WinmailFor = false, true, true, []string{"Zoe@far.example"}
	if err := routeOf(route.Explanation{Decision: route.Decision{Route: &r}}, address.Mailbox{Local: "zoe", Domain: "far.example"}).print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^logs in: +with NTLM$`, `(?m)^winmail: +make$`, `(?m)^certificate: +CN=gate.example, until 2027-01-02 03:04:05 UTC$`, `(?m)^logs in: +with the certificate \(EXTERNAL\)$`, `(?m)^logs in as: +gate$`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("%s is not in\n%s", want, out.String())
		}
	}
}

func TestNotify(t *testing.T) {
	if err := notify("READY=1"); err != nil {
		t.Errorf("without a socket: %v", err)
	}
	name := filepath.Join(t.TempDir(), "s")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := notify("RELOADING=1", "MONOTONIC_USEC=7"); err != nil {
		t.Fatal(err)
	}
	if got := datagram(t, socket); got != "RELOADING=1\nMONOTONIC_USEC=7" {
		t.Errorf("told %q", got)
	}
	t.Setenv("NOTIFY_SOCKET", name+"-absent")
	if err := notify("READY=1"); err == nil {
		t.Error("nobody was told, and that went well")
	}
}

func datagram(t *testing.T, socket *net.UnixConn) string {
	t.Helper()
	_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
	b := make([]byte, 4096)
	n, err := socket.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"plain/word-1.x@y": "plain/word-1.x@y", "": "''", "two words": "'two words'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "a\nb": "'a\nb'",
	} {
		if got := quote(text); got != want {
			t.Errorf("quote(%q) is %s, want %s", text, got, want)
		}
	}
}

func TestNewPasswords(t *testing.T) {
	one, two := newPassword(), newPassword()
	if one == two || !regexp.MustCompile(`^[a-z2-7]{5}(-[a-z2-7]{5}){3}$`).MatchString(one) {
		t.Errorf("passwords %q and %q", one, two)
	}
}

var _ zerolog.Sampler = (*levelGate)(nil)

// TestForTerminal: nothing that somebody else has written tells a terminal what to do.
func TestForTerminal(t *testing.T) {
	for given, want := range map[string]string{
		"plain":            "plain",
		"two\nlines\tof ü": "two\nlines\tof ü",
		"a\x1b[31mb":       "a?[31mb",
		"a\rb\x07\x00\x7f": "a?b???",
		"a\u009b31mb":      "a?31mb",
		"a\u202eb":         "a?b",
		"a\xffb":           "a?b",
	} {
		if got := forTerminal(given); got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
	var b strings.Builder
	if n, err := (printableWriter{&b}).Write([]byte("a\x1bb\n")); n != 4 || err != nil || b.String() != "a?b\n" {
		t.Errorf("%d, %v, %q", n, err, b.String())
	}
}

// TestPluginTestWindows: a chunk that is too large fits the window that a plugin is tested with, so
// that it is seen as what it is; and the contents of the suite's cases do not.
func TestPluginTestWindows(t *testing.T) {
	if testFetchWindow <= convert.ChunkMost || testFetchWindow >= 2<<20 {
		t.Errorf("a window of %d octets", testFetchWindow)
	}
}
