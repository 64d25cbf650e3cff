package main

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/track"
)

// TestPrintTrack: all that is known of an event is shown, as it was, and nothing that a terminal would heed.
func TestPrintTrack(t *testing.T) {
	var out strings.Builder
	err := printTrack(&out, track.Message{Events: []track.Event{{
		Event: events.Relay, MessageID: "<ü@x.example>", From: "jörg@x.example", Recipient: "δοκιμή@y.example",
		Outcome: "\x1b[2Jfailed", Diagnostic: strings.Repeat("long ", 100) + "\x1b]0;x\a", Report: "R1",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<ü@x.example> from <jörg@x.example>", "δοκιμή@y.example", "failed", "reported as R1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, out.String())
		}
	}
	if strings.ContainsAny(out.String(), "\x1b\a") {
		t.Errorf("%q", out.String())
	}
}
