//go:build linux

package internet

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// success: who asks to be told of success (NOTIFY=SUCCESS) is told so by the gateway of its own mailboxes, and of a server
// without DSN that the message was relayed there (RFC 3461 §5.2).
func (w *world) success(t *testing.T) {
	george, chris, zoe := "george@sakes.example", "chris@sakes.example", "zoe@plain.example"
	server := w.play(t, plain, "mx.plain.example", &fakesmtp.Server{})
	sent := letter(george, "<"+zoe+">, <"+chris+">", "tell me", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{chris, zoe}, EightBit: true, Notify: "SUCCESS,FAILURE"}, strings.NewReader(sent))
	awaitAt(t, server, zoe, sent)
	w.at(george).await(t, "Reporting-MTA: dns; kifissia.sakes.example", "Action: delivered", chris)
	w.at(george).await(t, "Reporting-MTA: dns; kifissia.sakes.example", "Action: relayed", "Remote-MTA: dns; mx.plain.example", zoe)
}

// successThere: a server that has DSN is told what George wants to know, and reports itself (RFC 3461 §5.2.2).
func (w *world) successThere(t *testing.T) {
	george, pat := "george@sakes.example", "pat@dcnw.example"
	sent := letter(george, "<"+pat+">", "success there", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{pat}, EightBit: true, Notify: "SUCCESS"}, strings.NewReader(sent))
	w.at(george).await(t, "Reporting-MTA: dns; pop3.dcnw.example", "Action: delivered", "success there")
}

// successHere: the gateway is told so by the server that Judy sends from, and reports.
func (w *world) successHere(t *testing.T) {
	judy, dora := "judy@dcnw.example", "dora@sakes.example"
	sent := letter(judy, "<"+dora+">", "success here", "", attached)
	w.send(t, harness.Envelope{From: judy, To: []string{dora}, EightBit: true, Notify: "SUCCESS"}, strings.NewReader(sent))
	w.at(judy).await(t, "Reporting-MTA: dns; kifissia.sakes.example", "Action: delivered", "success here")
}
