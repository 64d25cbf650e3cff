//go:build linux

package e2e

import (
	"bytes"
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
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	for name := range oddLines {
		t.Run(name, func(t *testing.T) {
			quirks := []string{name}
			if name == "no-header" { // what has no header has no From
				quirks = append(quirks, "no-from")
			}
			haveQuirks(t, g, "submission", quirks...)
			for said := range oddLines {
				taken := said == name || said == "no-from" && name == "no-header"
				if got := submitOddly(t, g, user, said); (got == 250) != taken {
					t.Errorf("what needs %s was answered with %d", said, got)
				}
			}
		})
	}
}

// haveQuirks gives a protocol these quirks, and no others, for the sessions that begin from now on.
func haveQuirks(t *testing.T, g *harness.Gateway, protocol string, quirks ...string) {
	t.Helper()
	g.Configure(t, func(o *harness.Options) {
		o.More = harness.Mapping{protocol: harness.Mapping{"quirks": quirks, "plaintext_login": true}}
	})
	g.Reload(t)
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
		"AUTH PLAIN " + plain(user.Address, user.Password),
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

// plain is an initial response of PLAIN (RFC 4616 §2).
func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// doesQuirk says, by a quirk's name, whether a session of POP3 has it. The maildrop holds holdsNUL.
var doesQuirk = map[string]func(c *harness.Conn, user harness.User) bool{
	"auth-list": func(c *harness.Conn, _ harness.User) bool {
		c.Send("AUTH")
		return accepted(c) && bytes.Contains(c.Multi(), []byte("PLAIN\r\n"))
	},
	"bare-lf": func(c *harness.Conn, user harness.User) bool {
		c.Raw("USER " + user.Address + "\n")
		return accepted(c)
	},
	"last": func(c *harness.Conn, user harness.User) bool {
		readOnly(c, user)
		c.Send("LAST")
		return accepted(c)
	},
	"long-auth": func(c *harness.Conn, user harness.User) bool {
		c.Send("AUTH PLAIN %s", plain(user.Address, strings.Repeat("wrong", 100)))
		return strings.HasPrefix(c.Line(), "-ERR [AUTH] ") // it has been read, and the password is wrong
	},
	"no-nul": func(c *harness.Conn, user harness.User) bool {
		return bytes.Contains(readOnly(c, user), []byte("before\x80after"))
	},
}

const holdsNUL = "Subject: NUL\r\n\r\nbefore\x00after\r\n"

// TestPOP3QuirksByName has the built gateway do each quirk that its configuration names, and none
// that it does not name.
func TestPOP3QuirksByName(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, []byte(holdsNUL))
	for name := range doesQuirk {
		t.Run(name, func(t *testing.T) {
			haveQuirks(t, g, "pop3", name)
			for quirk, does := range doesQuirk {
				c := harness.Dial(t, g.Address("pop3"), nil)
				c.Expect("+OK")
				if got := does(c, user); got != (quirk == name) {
					t.Errorf("that a session has %s is %v", quirk, got)
				}
				c.Close()
			}
		})
	}
}

// accepted reads whether a command is answered with +OK.
func accepted(c *harness.Conn) bool { return strings.HasPrefix(c.Line(), "+OK") }

// readOnly logs in and reads the only message there is.
func readOnly(c *harness.Conn, user harness.User) []byte {
	c.Ask("USER "+user.Address, "+OK")
	c.Ask("PASS "+user.Password, "+OK")
	c.Ask("RETR 1", "+OK")
	return c.Multi()
}
