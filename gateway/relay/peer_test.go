//go:build linux

package relay_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestExim: Debian's Exim as a smart host takes the mail over verified TLS, behind a login, over few connections; what
// it refuses and puts off has its outcome, and more recipients than it takes go in further transactions.
func TestExim(t *testing.T) {
	exim := peers.StartExim(t, peers.EximOptions{Recipients: 10})
	pem, err := os.ReadFile(exim.CA)
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(pem)
	w := newWorld(t, "")
	w.relay.Dial = new(net.Dialer).DialContext
	w.relay.TLS = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	w.relay.Limits.Connections = 2
	w.relay.Routes = routes{"far.example": {
		Kind: relay.SmartHost, Servers: groups(exim.Submission), Auth: smtpclient.Plain("", "ada@peer.example", "ada-secret"),
	}}
	const messages = 10
	for i := range messages {
		w.add(letter(fmt.Sprint("k", i), fmt.Sprintf("u%d@far.example", i), "nobody@far.example", "later@far.example"), text)
	}
	var to []string
	for i := range 25 {
		to = append(to, fmt.Sprintf("m%d@far.example", i))
	}
	w.add(letter("many", to...), text)
	w.run(t)
	w.rest(t)
	w.end()
	w.is(t, "k1", "u1@far.example delivered 2.0.0", "nobody@far.example failed 5.1.1", "later@far.example waiting 4.2.0")
	copies := make(map[string]int)
	for _, m := range exim.Queue() {
		for _, path := range m.To {
			copies[path]++
		}
	}
	for i := range messages {
		to = append(to, fmt.Sprintf("u%d@far.example", i))
	}
	for _, path := range to {
		if copies[path] != 1 {
			t.Errorf("Exim has %d copies for %s", copies[path], path)
		}
	}
	// Exim writes its log after it has answered QUIT.
	harness.Eventually(t, await, "Exim tells of connections", func() bool { return exim.Logged("closed by QUIT") > 0 })
	if n := exim.Logged("closed by QUIT"); n > 3 {
		t.Errorf("%d connections", n)
	}
	if len(w.reports) != messages || !strings.Contains(w.reports[0].content, "there is nobody") {
		t.Errorf("%d reports", len(w.reports))
	}
}
