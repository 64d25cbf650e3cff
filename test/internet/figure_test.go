//go:build linux

package internet

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestPostfix is the whole figure, with Postfix and Dovecot at pop3.dcnw.example.
func TestPostfix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peers.PostfixSite, []string{"judy", "pat", "kim", "ιωάννα"}, []string{"george", "chris", "dora", "γιώργος"})
	w.run(t, slices.Concat(bothWays, []part{
		{"a host that is down", (*world).hostThatIsDown},
		{"the second host", (*world).secondHost},
		{"greylisting", (*world).greylisting},
		{"notices of success", (*world).success},
		{"addresses beyond ASCII", (*world).beyondASCII},
	}))
}

// TestExim has Exim in Postfix's place.
func TestExim(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peers.EximSite, []string{"judy", "pat", "kim", "ιωάννα"}, []string{"george", "chris", "dora", "γιώργος"})
	w.run(t, append(slices.Clone(bothWays), part{"addresses beyond ASCII", (*world).beyondASCII}))
}

// TestOpenSMTPD has OpenSMTPD there, whose TLS fails: mail goes there in the clear.
func TestOpenSMTPD(t *testing.T) {
	t.Parallel()
	w := newWorld(t, peers.OpenSMTPDSite, []string{"judy", "pat", "kim"}, []string{"george", "chris", "dora", "γιώργος"})
	w.tlsFails = true
	w.run(t, append(slices.Clone(bothWays), part{"addresses that it cannot have", (*world).addressesItCannotHave}))
}

// part is something that goes on in a world, beside other things.
type part struct {
	name string
	run  func(*world, *testing.T)
}

// bothWays is what goes to and fro with each server.
var bothWays = []part{
	{"letters", (*world).letters},
	{"unknown there", (*world).unknownThere},
	{"unknown here", (*world).unknownHere},
	{"30 MB", (*world).largeMail},
	{"success there", (*world).successThere},
	{"success here", (*world).successHere},
}

func (w *world) run(t *testing.T, parts []part) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.run(w, t)
		})
	}
}

// letter is a message of somebody's with a subject, which is in it once, and a body.
func letter(from, to, subject, more, body string) string {
	return fmt.Sprintf("From: <%s>\r\nTo: %s\r\nSubject: %s\r\nDate: Mon, 30 Nov 2026 08:00:00 +0200\r\n"+
		"Message-ID: <%x@%s>\r\n%sMIME-Version: 1.0\r\n", from, to, subject, subject, from[strings.Index(from, "@")+1:], more) + body
}

const (
	// attached is a text in UTF-8, 8-bit, and a file whose name is none of ASCII (RFC 2231).
	attached = "Content-Type: multipart/mixed; boundary=part\r\n\r\n" +
		"--part\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
		"Καλημέρα από την Κηφισιά.\r\n.\r\n..\r\nFrom here on, nothing.\r\n" +
		"--part\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename*=utf-8''%CE%A3%CF%87%CE%AE%CE%BC%CE%B1%201.pdf\r\n\r\n" +
		"JVBERi0xLjQK\r\n--part--\r\n"
	// greeting is "Σχήμα 1" (RFC 2047).
	greeting = "=?utf-8?B?zqPPh86uzrzOsSAx?="
)

// letters: George puts a letter to Judy into his store's outbox, she answers, and Chris, who gets both, answers both.
func (w *world) letters(t *testing.T) {
	george, judy, chris := "george@sakes.example", "judy@dcnw.example", "chris@sakes.example"
	first := letter(george, "<"+judy+">, <"+chris+">", greeting+" first", "", attached)
	w.drop(t, george, first)
	got := w.at(judy).await(t, greeting+" first")
	arrivedWhole(t, "Judy's", got, first)
	if !w.tlsFails && !bytes.Contains(bytes.ToUpper(got), []byte("ESMTPS")) {
		t.Errorf("it was sent without TLS:\n%s", got)
	}

	reply := letter(judy, "<"+george+">, <"+chris+">", "Re: "+greeting+" second", "In-Reply-To: <1@sakes.example>\r\n", attached)
	w.send(t, harness.Envelope{From: judy, To: []string{george, chris}, EightBit: true}, strings.NewReader(reply))
	got = w.at(george).await(t, greeting+" second")
	arrivedWhole(t, "George's", got, reply)
	if !strings.Contains(string(got), "Received: from pop3.dcnw.example (") || !strings.Contains(string(got), "with ESMTPS") {
		t.Errorf("it does not say that it came with TLS, and from whom:\n%s", got)
	}

	arrivedWhole(t, "Chris's first", w.at(chris).await(t, greeting+" first"), first)
	arrivedWhole(t, "Chris's second", w.at(chris).await(t, greeting+" second"), reply)
	third := letter(chris, "<"+george+">, <"+judy+">", "Re: "+greeting+" third", "", attached)
	w.send(t, harness.Envelope{From: chris, To: []string{george, judy}, EightBit: true}, strings.NewReader(third))
	for _, address := range []string{george, judy} {
		arrivedWhole(t, address, w.at(address).await(t, greeting+" third"), third)
	}
}

// arrivedWhole: fields were added in front of it, and nothing was changed.
func arrivedWhole(t *testing.T, whose string, got []byte, sent string) {
	t.Helper()
	if _, body, _ := strings.Cut(sent, "\r\n\r\n"); !bytes.HasSuffix(got, []byte("\r\n\r\n"+body)) {
		t.Errorf("%s came as\n%.5000s\nwant\n%.5000s", whose, got, sent)
	}
}
