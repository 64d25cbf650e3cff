//go:build linux

package relay_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	mailcontent "github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// doubled is a message and the same again.
func doubled(_ context.Context, message io.Reader) (mailcontent.Opened, error) {
	octets, err := io.ReadAll(message)
	if err != nil {
		return mailcontent.Opened{}, err
	}
	b, err := buffer.Fill(buffer.Options{}, strings.NewReader(string(octets)+string(octets)))
	return mailcontent.Opened{Message: b, Parts: 1}, err
}

// TestConversions: recipients get a message in the form that the route has for them, and each is told of by itself.
func TestConversions(t *testing.T) {
	forEve := func(recipient string) bool { return recipient == "eve@far.example" }
	for name, c := range map[string]struct {
		converts relay.Conversion
		server   *fakesmtp.Server
		eve, bob string // what they get: once, twice or nothing
		outcome  string // of bob, if it is not delivered; of eve too, where she gets nothing
	}{
		"all":               {relay.Conversion{Do: doubled}, &fakesmtp.Server{}, "twice", "twice", ""},
		"one":               {relay.Conversion{Do: doubled, For: forEve}, &fakesmtp.Server{}, "twice", "once", ""},
		"none":              {relay.Conversion{}, &fakesmtp.Server{}, "once", "once", ""},
		"larger than taken": {relay.Conversion{Do: doubled}, &fakesmtp.Server{Offers: []string{"SIZE 100"}}, "once", "once", ""},
		"as it came": {relay.Conversion{Do: func(context.Context, io.Reader) (mailcontent.Opened, error) {
			return mailcontent.Opened{Kept: errors.New("it is signed")}, nil
		}}, &fakesmtp.Server{}, "once", "once", ""},
		"a full disk": {relay.Conversion{Do: func(context.Context, io.Reader) (mailcontent.Opened, error) {
			return mailcontent.Opened{}, errors.New("no space")
		}}, &fakesmtp.Server{}, "", "", "waiting 4.3.0"},
		"bob is refused": {relay.Conversion{Do: doubled, For: forEve}, &fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if strings.Contains(path, "bob") {
				return "550 5.1.1 no bob"
			}
			return ""
		}}, "twice", "", "failed 5.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, far)
			server := w.at(t, "192.0.2.1:25", c.server)
			w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Converts: c.converts}}
			w.add(letter("m", "bob@far.example", "eve@far.example"), text)
			w.run(t)
			w.rest(t)
			got := map[string]string{}
			for _, m := range server.Received() {
				for _, path := range m.Paths {
					got[path] = map[bool]string{true: "twice", false: "once"}[strings.Count(m.Content, "Subject:") == 2]
				}
			}
			if got["eve@far.example"] != c.eve || got["bob@far.example"] != c.bob {
				t.Errorf("the server has %v", got)
			}
			const delivered = "delivered 2.0.0"
			bob, eve := cmp.Or(c.outcome, delivered), delivered
			if c.eve == "" {
				eve = c.outcome
			}
			w.is(t, "m", "bob@far.example "+bob, "eve@far.example "+eve)
		})
	}
}
