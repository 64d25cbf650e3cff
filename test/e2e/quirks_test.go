//go:build linux

package e2e

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// oddLines are what a device says that needs a quirk of submission, by the quirk's name; what is empty
// is said as it should be.
var oddLines = map[string]struct {
	hello, mail, rcpt string
	message           string
}{
	"blanks":       {mail: "MAIL FROM :<%s>\tSIZE=100"},
	"empty-fields": {message: "From: %s\r\nSender:\r\n\r\nB\r\n"},
	"helo":         {hello: "EHLO it's me"},
	"no-from":      {message: "Subject: x\r\n\r\nB\r\n"},
	"no-header":    {message: "On battery\r\n"},
	"notify":       {rcpt: "RCPT TO:<%s> NOTIFY=NEVER"},
	"paths":        {mail: `MAIL FROM:"Scanner" <%s>`},
}

// TestSubmissionQuirksByName has the built gateway do each quirk that its configuration names, and none
// that it does not name.
func TestSubmissionQuirksByName(t *testing.T) {
	for name := range oddLines {
		t.Run(name, func(t *testing.T) {
			quirks := []string{name}
			if name == "no-header" { // what has no header has no From
				quirks = append(quirks, "no-from")
			}
			g := harness.Start(t, harness.Options{More: harness.Mapping{"submission": harness.Mapping{"quirks": quirks, "plaintext_login": true}}})
			user := g.AddUser(t, "erika")
			for said := range oddLines {
				taken := said == name || said == "no-from" && name == "no-header"
				if got := submitOddly(t, g, user, said); (got == 250) != taken {
					t.Errorf("what needs %s was answered with %d", said, got)
				}
			}
		})
	}
}

// submitOddly sends a mail in the way that needs a quirk, and gives the code of the refusal, or 250.
func submitOddly(t *testing.T, g *harness.Gateway, user harness.User, quirk string) int {
	odd := oddLines[quirk]
	line := func(own, usual string) string {
		if own == "" {
			own = usual
		}
		return strings.ReplaceAll(own, "%s", user.Address)
	}
	c := harness.Dial(t, g.Address("submission"), nil)
	defer c.Close()
	c.ExpectReply(220)
	ask := func(text string) int {
		c.Send("%s", text)
		return replyCode(t, c)
	}
	for _, text := range []string{
		line(odd.hello, "EHLO client.example"),
		"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user.Address+"\x00"+user.Password)),
		line(odd.mail, "MAIL FROM:<%s>"), line(odd.rcpt, "RCPT TO:<%s>"), "DATA",
	} {
		if code := ask(text); code >= 400 {
			return code
		}
	}
	c.Raw(line(odd.message, "From: %s\r\n\r\nB\r\n") + ".\r\n")
	return replyCode(t, c)
}

// replyCode reads a reply, and gives its code.
func replyCode(t *testing.T, c *harness.Conn) int {
	for {
		line := c.Line()
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		code, err := strconv.Atoi(line[:min(3, len(line))])
		if err != nil {
			t.Fatalf("this is no reply: %q", line)
		}
		return code
	}
}
