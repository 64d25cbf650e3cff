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
	george, kim := "george@sakes.example", "kim@dcnw.example"
	sent := letter(george, "<"+kim+">", "success there", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{kim}, EightBit: true, Notify: "SUCCESS"}, strings.NewReader(sent))
	w.at(george).await(t, "Reporting-MTA: dns; pop3.dcnw.example", "Action: delivered", "success there")
}

// successHere: the gateway is told so by the server that Kim sends from, and reports.
func (w *world) successHere(t *testing.T) {
	kim, chris := "kim@dcnw.example", "chris@sakes.example"
	sent := letter(kim, "<"+chris+">", "success here", "", attached)
	w.send(t, harness.Envelope{From: kim, To: []string{chris}, EightBit: true, Notify: "SUCCESS"}, strings.NewReader(sent))
	w.at(kim).await(t, "Reporting-MTA: dns; kifissia.sakes.example", "Action: delivered", "success here")
}
