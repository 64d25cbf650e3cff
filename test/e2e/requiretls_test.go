//go:build linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestRequireTLS: what is submitted with REQUIRETLS (RFC 8689) is in a local mailbox, goes on with it to a server that is named,
// shows its certificate and knows it, and comes back from one that does not know it, without its content.
func TestRequireTLS(t *testing.T) {
	t.Parallel()
	authority := harness.NewAuthority(t)
	certificate, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	server := func(offers ...string) *fakesmtp.Server {
		return (&fakesmtp.Server{Offers: append(offers, "8BITMIME"), TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}).Start(t)
	}
	safe, lacks := server("REQUIRETLS"), server()
	to := func(name string, server *fakesmtp.Server) harness.Mapping {
		domain := name + ".example"
		return harness.Mapping{"name": name, "domains": []string{domain}, "to": "smtp", "hosts": []string{server.Address}, "tls": "verified", "ca": authority.CAFile}
	}
	g := harness.Start(t, harness.Options{More: harness.Mapping{"routes": []harness.Mapping{to("safe", safe), to("lacks", lacks)}}})
	from, near := g.AddUser(t, "erika"), g.AddUser(t, "max")
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(from.Address, from.Password); err != nil {
		t.Fatal(err)
	}
	ask := func(wanted int, line string) {
		t.Helper()
		if _, err := s.Ask(wanted, "%s", line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	ask(250, "MAIL FROM:<"+from.Address+"> REQUIRETLS")
	for _, address := range []string{near.Address, "zoe@safe.example", "zoe@lacks.example"} {
		ask(250, "RCPT TO:<"+address+">")
	}
	ask(354, "DATA")
	ask(250, "From: "+from.Address+"\r\nSubject: for few eyes\r\n\r\nx\r\n.")

	if got := readAll(t, g, near); len(got) != 1 || !bytes.Contains(got[0], []byte("for few eyes")) {
		t.Errorf("max has %q", got)
	}
	harness.Eventually(t, time.Minute, "the message at the server that knows it", func() bool { return len(safe.Received()) > 0 })
	if said := safe.Commands(); !slices.ContainsFunc(said, func(line string) bool {
		return strings.HasPrefix(line, "MAIL FROM:<"+from.Address+">") && strings.Contains(line, " REQUIRETLS")
	}) {
		t.Errorf("it was told %q", said)
	}
	harness.Eventually(t, time.Minute, "the report", func() bool { return len(readAll(t, g, from)) > 0 })
	if report := readAll(t, g, from)[0]; !bytes.Contains(report, []byte("zoe@lacks.example")) || !bytes.Contains(report, []byte("Status: 5.7.30")) ||
		bytes.Contains(report, []byte("for few eyes")) {
		t.Errorf("the author has\n%s", report)
	}
	if got := lacks.Received(); len(got) > 0 {
		t.Errorf("the server that does not know it has %+v", got)
	}
}
