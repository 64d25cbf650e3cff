//go:build linux

package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// TestRecipientsPerMessage: a message that has more recipients than its next hop takes with one leaves in parts, out of a real spool,
// and each recipient has it once.
func TestRecipientsPerMessage(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		const recipients, most = 13, 5
		w, s := spooled(t, far, o)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Limits: relay.Limits{RecipientsPerMessage: most}}}
		var to []string
		for i := range recipients {
			to = append(to, fmt.Sprintf("u%d@far.example", i))
		}
		accept(t, s, letter("k1", to...), text)
		w.run(t)
		harness.Eventually(t, time.Minute, "all have it", func() bool { return len(server.Copies(text)) == recipients })
		w.end()
		for path, n := range server.Copies(text) {
			if n != 1 {
				t.Errorf("%s has %d copies", path, n)
			}
		}
		for _, m := range server.Received() {
			if len(m.Paths) > most {
				t.Errorf("a message has the recipients %s", strings.Join(m.Paths, " "))
			}
		}
		if n := len(server.Received()); n != 3 {
			t.Errorf("%d messages have left", n)
		}
	})
}

// TestPartsCount: each part counts in the minute and in the day; what is too much waits.
func TestPartsCount(t *testing.T) {
	w, d, server := bounded(t, 100, &fakesmtp.Server{})
	next := w.relay.Routes.(routes)["far.example"]
	next.Limits.RecipientsPerMessage, next.Limits.PerMinute = 1, 2
	w.relay.Routes = routes{"far.example": next}
	w.add(letter("k1", "a@far.example", "b@far.example", "c@far.example", "d@far.example"), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0", "c@far.example waiting", "d@far.example waiting")
	w.advance(31 * time.Second)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0", "c@far.example delivered 2.0.0", "d@far.example waiting")
	w.advance(time.Minute)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0", "c@far.example delivered 2.0.0", "d@far.example delivered 2.0.0")
	w.end()
	if n := len(server.Received()); n != 4 || d.used != 4 {
		t.Errorf("%d messages have left, and %d recipients count", n, d.used)
	}
}
