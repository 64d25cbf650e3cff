package smtp

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestParseDSN(t *testing.T) {
	for in, want := range map[string]Notify{
		"NEVER": NotifyNever, "never": NotifyNever, "SUCCESS,FAILURE,DELAY": NotifySuccess | NotifyFailure | NotifyDelay, "delay": NotifyDelay,
		"": 0, "NEVER,FAILURE": 0, "SUCCESS,": 0, "SUCCESS FAILURE": 0, "ALWAYS": 0,
	} {
		if got, err := parseNotify(in); got != want || (err == nil) != (want != 0) {
			t.Errorf("NOTIFY=%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]Return{"FULL": ReturnFull, "hdrs": ReturnHeaders, "": 0, "BODY": 0} {
		if got, err := parseReturn(in); got != want || (err == nil) != (want != 0) {
			t.Errorf("RET=%s: %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"QQ314159": "QQ314159", "a+20b": "a b", strings.Repeat("a", 100): strings.Repeat("a", 100),
		"": "", "+00": "", "+0D+0A": "", "+C3+A4": "", strings.Repeat("a", 101): "", "a=b": "",
	} {
		if got, err := parseEnvelopeID(in); got != want || (err == nil) != (want != "") {
			t.Errorf("ENVID=%s: %q, %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"rfc822;Ada@Example.org": "rfc822;Ada@Example.org", "RFC822;a+2Bb@c.example": "rfc822;a+b@c.example", "x400;/c=de/": "",
		"x400;/c+3Dde/":          "x400;/c=de/",
		`utf-8;\x{E4}@c.example`: "utf-8;ä@c.example", "utf-8;ä@c.example": "utf-8;ä@c.example", "utf-8;+C3+A4@c.example": "utf-8;ä@c.example",
		"rfc822;+CE+B3@c.example": "utf-8;γ@c.example", "x400;+CE+B3": "", "rfc822;+CE": "", "rfc822;+C2+85": "", "rfc822;+CE+B3+00": "",
		`rfc822;"+CE+B3\+22"@c.example`: `utf-8;"γ\""@c.example`,
		"":                              "", "rfc822": "", "rfc822;": "", ";a@b": "", "rfc822;+00": "", "rfc822;ä@c.example": "", `utf-8;\x{0D}a`: "", `utf-8;\x{110000}a`: "",
		`utf-8;\x{D800}a`: "", "utf-8;a b": "", `utf-8;a\`: "", "rfc822;" + strings.Repeat("a", 500): "",
	} {
		if got, err := parseOriginal(in); got != want || (err == nil) != (want != "") {
			t.Errorf("ORCPT=%s: %q, %v", in, got, err)
		}
	}
}

func FuzzDSN(f *testing.F) {
	for _, seed := range []string{"rfc822;a+2Bb@c.example", `utf-8;\x{E4}@c.example`, "utf-8;+C3+A4", "rfc822;+C3+A4@c.example", "QQ+20", "SUCCESS,DELAY"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		original, err := parseOriginal(in)
		if err == nil && (strings.ContainsFunc(original, unicode.IsControl) || len(original) > originalMost || !strings.Contains(original, ";")) {
			t.Errorf("ORCPT=%q is %q", in, original)
		}
		if id, err := parseEnvelopeID(in); err == nil && (strings.ContainsFunc(id, unicode.IsControl) || len(id) > envelopeIDMost) {
			t.Errorf("ENVID=%q is %q", in, id)
		}
		if n, err := parseNotify(in); err == nil && (n == 0 || n&NotifyNever != 0 && n != NotifyNever) {
			t.Errorf("NOTIFY=%q is %v", in, n)
		}
	})
}

// TestDSN has the parameters offered and taken by a backend that sends notifications.
func TestDSN(t *testing.T) {
	backend := &fake{notifies: true}
	c := talk(t, testServer(backend))
	c.expect("220")
	c.send("EHLO c\r\n")
	if _, lines := c.reply(); !slices.Contains(lines, "DSN") {
		t.Errorf("EHLO: %q", lines)
	}
	for _, step := range []struct{ command, want string }{
		{"MAIL FROM:<a@b.example> RET=SOME", "501 5.5.4"},
		{"MAIL FROM:<a@b.example> ENVID=+00", "501 5.5.4"},
		{"MAIL FROM:<a@b.example> RET=HDRS ENVID=QQ+20314", "250"},
		{"RCPT TO:<d@mx.example> NOTIFY=NEVER,DELAY", "501 5.5.4"},
		{"RCPT TO:<d@mx.example> NOTIFY", "501 5.5.4"},
		{"RCPT TO:<d@mx.example> ORCPT=rfc822", "501 5.5.4"},
		{"RCPT TO:<d@mx.example> FOO=BAR", "555 5.5.4"},
		{"RCPT TO:<c@mx.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;C@mx.example", "250"},
		{"QUIT", "221"},
	} {
		c.send(step.command + "\r\n")
		c.expect(step.want)
	}
	c.closed()
	if o := backend.mails; len(o) != 1 || o[0].Return != ReturnHeaders || o[0].EnvelopeID != "QQ 314" {
		t.Errorf("MAIL: %+v", o)
	}
	if o := backend.rcpts; len(o) != 1 || o[0].Notify != NotifySuccess|NotifyDelay || o[0].OriginalRecipient != "rfc822;C@mx.example" {
		t.Errorf("RCPT: %+v", o)
	}
}
