//go:build linux

package relay_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestAutomaticReplies: a route that drops what nobody has written sends people's mail, and reports; nobody is told of
// what it drops, and the log has it.
func TestAutomaticReplies(t *testing.T) {
	const (
		away   = "Auto-Submitted: auto-replied\r\n" + text
		report = "Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\r\n" + text
	)
	for _, drop := range []bool{true, false} {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", DropAutomatic: drop}}
		for key, content := range map[string]string{"person": text, "away": away, "report": report} {
			m := letter(key, key+"@far.example")
			if key == "away" && drop {
				m.Recipients[0].Notify = backends.NotifySuccess | backends.NotifyFailure
			}
			w.add(m, content)
		}
		w.run(t)
		w.finish(t)
		w.is(t, "away", "away@far.example delivered 2.0.0")
		var got []string
		for _, m := range server.Received() {
			got = append(got, m.Paths...)
		}
		all := strings.Join(got, " ")
		if !strings.Contains(all, "person@") || !strings.Contains(all, "report@") || strings.Contains(all, "away@") == drop {
			t.Errorf("dropping %t, the server has mail for %s", drop, all)
		}
		if len(w.reports) > 0 {
			t.Errorf("somebody is told: %s", w.reports[0].content)
		}
		if w.end(); strings.Contains(w.logged(), `"outcome":"dropped"`) != drop {
			t.Errorf("dropping %t, the log is\n%s", drop, w.logged())
		}
	}
}
