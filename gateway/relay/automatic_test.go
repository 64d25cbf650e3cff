//go:build linux

package relay_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	mailcontent "github.com/dipylon/dipylon/gateway/content"
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
		drops := mailcontent.OutOfOffice | mailcontent.Forward
		if drop {
			drops = mailcontent.Reply
		}
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Drops: drops}}
		for key, letterText := range map[string]string{"person": text, "away": away, "report": report} {
			m := letter(key, key+"@far.example")
			if key == "away" && drop {
				m.Recipients[0].Notify = backends.NotifySuccess | backends.NotifyFailure
			}
			w.add(m, letterText)
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

// TestAutomaticForwards: what a mailbox sends on by itself is dropped apart from replies, and replies that say that
// somebody is away apart from others; the log says which.
func TestAutomaticForwards(t *testing.T) {
	contents := map[string]string{
		"person": text, "reply": "Auto-Submitted: auto-replied\r\n" + text, "away": "Auto-Submitted: auto-replied (vacation)\r\n" + text,
		"forward": "Autoforwarded: TRUE\r\n" + text,
	}
	for drops, told := range map[mailcontent.Automatic]string{mailcontent.Reply: "reply automatic replies", mailcontent.OutOfOffice: "away out-of-office replies", mailcontent.Forward: "forward automatic forwards"} {
		w := newWorld(t, far)
		server := w.at(t, "192.0.2.1:25", &fakesmtp.Server{})
		w.relay.Routes = routes{"far.example": {Kind: relay.MX, Domain: "far.example", Port: "25", Drops: drops}}
		for key, letterText := range contents {
			w.add(letter(key, key+"@far.example"), letterText)
		}
		w.run(t)
		w.finish(t)
		w.end()
		key, why, _ := strings.Cut(told, " ")
		for _, m := range server.Received() {
			if m.Paths[0] == key+"@far.example" {
				t.Errorf("%s was sent", key)
			}
		}
		if n := len(server.Received()); n != len(contents)-1 || !strings.Contains(w.logged(), "the route drops "+why) {
			t.Errorf("%d were sent; the log is\n%s", n, w.logged())
		}
	}
}
