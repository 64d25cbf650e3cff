//go:build linux

package internet

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// The two whose addresses are Greek.
const giorgos, ioanna = "γιώργος@sakes.example", "ιωάννα@dcnw.example"

// beyondASCII: addresses, the header and the body are UTF-8 (RFC 6531, RFC 6532), both ways.
func (w *world) beyondASCII(t *testing.T) {
	for _, way := range [][2]string{{giorgos, ioanna}, {ioanna, giorgos}} {
		from, to := way[0], way[1]
		sent := letter(from, "Ο παραλήπτης <"+to+">", "Σχήμα 1, από "+from, "", attached)
		w.send(t, harness.Envelope{From: from, To: []string{to}, EightBit: true, UTF8: true}, strings.NewReader(sent))
		arrivedWhole(t, to, w.at(to).await(t, "Subject: Σχήμα 1, από "+from, "To: Ο παραλήπτης <"+to+">"), sent)
	}
}

// addressesItCannotHave: a server without SMTPUTF8 is not sent what it cannot have, and the sender is told (RFC 6531 §3.5).
func (w *world) addressesItCannotHave(t *testing.T) {
	judy := "judy@dcnw.example"
	sent := letter(giorgos, "<"+judy+">", "Σχήμα 1", "", attached)
	w.send(t, harness.Envelope{From: giorgos, To: []string{judy}, EightBit: true, UTF8: true}, strings.NewReader(sent))
	w.at(giorgos).await(t, judy, "Action: failed", "Status: 5.6.7")
}
