//go:build linux

package internet

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
)

// success: who asks to be told of success (NOTIFY=SUCCESS) is told so by who has delivered: by the gateway of its own
// mailboxes, by a server that has DSN of its own, and of a server without DSN that it was relayed there (RFC 3461 §5.2).
func (w *world) success(t *testing.T) {
	george, chris, kim, zoe := "george@sakes.example", "chris@sakes.example", "kim@dcnw.example", "zoe@plain.example"
	server := w.play(t, plain, "mx.plain.example", &fakesmtp.Server{})
	sent := letter(george, "<"+kim+">, <"+zoe+">, <"+chris+">", "tell me", "", attached)
	w.send(t, harness.Envelope{From: george, To: []string{chris, kim, zoe}, EightBit: true, Notify: "SUCCESS,FAILURE"}, strings.NewReader(sent))
	awaitAt(t, server, zoe, sent)
	for to, want := range map[string][]string{
		chris: {"Reporting-MTA: dns; kifissia.sakes.example", "Action: delivered"},
		zoe:   {"Reporting-MTA: dns; kifissia.sakes.example", "Action: relayed", "Remote-MTA: dns; mx.plain.example"},
		kim:   {"Reporting-MTA: dns; pop3.dcnw.example", "Action: delivered"},
	} {
		w.at(george).await(t, append(want, to)...)
	}
}
