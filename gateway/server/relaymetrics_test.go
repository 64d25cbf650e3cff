package server

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/gateway/relay"
)

// TestRelayMetrics: the page has all that relays count, with each outcome, and the wait is that of recipients whose
// outcome is known for good.
func TestRelayMetrics(t *testing.T) {
	page, err := os.ReadFile("../admin/README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := &metrics{registry: prometheus.NewRegistry()}
	m.relay()
	for _, kind := range []relay.EventKind{relay.Connected, relay.Disconnected, relay.Unreachable, relay.BackedOff, relay.Untold} {
		m.relayed(relay.Event{Kind: kind, Class: relay.MX})
	}
	for _, outcome := range []string{"delivered", "relayed", "deferred", "uncertain", "failed", "held"} {
		m.relayed(relay.Event{Kind: relay.Finished, Class: relay.MX, Outcome: outcome, Waited: time.Second})
	}
	families, err := m.registry.Gather()
	if err != nil || len(families) != 6 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	lines := strings.Split(string(page), "\n")
	for _, f := range families {
		var outcomes []string
		for _, metric := range f.GetMetric() {
			for _, l := range metric.GetLabel() {
				if l.GetName() == "outcome" {
					outcomes = append(outcomes, l.GetValue())
				}
			}
		}
		slices.Sort(outcomes)
		i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "| `"+f.GetName()+"`") })
		if i < 0 {
			t.Errorf("the page does not have %s", f.GetName())
			continue
		}
		switch got := strings.Join(outcomes, " "); f.GetName() {
		case "dipylon_relay_recipients_total":
			if got != "deferred delivered failed held relayed uncertain" {
				t.Errorf("counted are %s", got)
			}
			for _, o := range outcomes {
				if !strings.Contains(lines[i], "`"+o+"`") {
					t.Errorf("the page does not have the outcome %s", o)
				}
			}
		case "dipylon_relay_wait_seconds":
			if got != "delivered failed relayed" {
				t.Errorf("the waits are of %s", got)
			}
		}
	}
}
