//go:build linux

package internet

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// unknownThere: George's mail to nobody at the other server comes back to him as the gateway's report, with what the
// other server has said. Judy has her copy.
func (w *world) unknownThere(t *testing.T) {
	george, judy := "george@sakes.example", "judy@dcnw.example"
	sent := letter(george, "<nobody@dcnw.example>, <"+judy+">", "unknown there", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{"nobody@dcnw.example", judy}, EightBit: true}, strings.NewReader(sent))
	report := w.at(george).await(t, "nobody@dcnw.example", "Action: failed")
	for _, want := range []string{
		"Return-Path: <>", "report-type=delivery-status", "Reporting-MTA: dns; kifissia.sakes.example", "Remote-MTA: dns; pop3.dcnw.example",
		"Status: 5.", "Diagnostic-Code: smtp; 5", "Subject: unknown there",
	} {
		if !strings.Contains(string(report), want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if strings.Contains(string(report), "Final-Recipient: rfc822; "+judy) {
		t.Errorf("the report tells of Judy, who has her copy:\n%s", report)
	}
	arrivedWhole(t, "Judy's", w.at(judy).await(t, "Subject: unknown there"), sent)
	if n := w.at(george).count(t, "nobody@dcnw.example", "Action: failed"); n != 1 {
		t.Errorf("George has %d reports", n)
	}
}

// unknownHere: Judy's mail to nobody at SAKES is refused at RCPT, so that it is her server that tells her, and the
// gateway has nothing to tell.
func (w *world) unknownHere(t *testing.T) {
	judy, nobody := "judy@dcnw.example", "nobody@sakes.example"
	place := w.gateway.Log.Len()
	w.send(t, harness.Envelope{From: judy, To: []string{nobody}}, strings.NewReader(letter(judy, nobody, "unknown here", "", attached)))
	report := string(w.at(judy).await(t, nobody, "Action: failed"))
	for _, want := range []string{"Reporting-MTA: dns; pop3.dcnw.example", "550"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	w.gateway.Log.Wait(t, place, `"to":"`+nobody+`","code":550`)
	for _, e := range w.gateway.Log.Since(place) {
		if e.Field("event") == "relay" && e.Field("from") == "" && e.Field("recipient") == judy {
			t.Errorf("the gateway tells Judy of something: %s", e.Text)
		}
	}
	if n := w.at(judy).count(t, nobody, "Action: failed"); n != 1 {
		t.Errorf("Judy has %d reports", n)
	}
}
