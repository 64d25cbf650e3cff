package pop3

import (
	"strings"
	"testing"
)

const (
	first  = "Subject: one\r\n\r\nHello.\r\nLine 2\r\n"
	second = ".dot first\r\n\r\n.\r\n..\r\nend\r\n"
	third  = "Subject: three\r\n\r\n"
)

// conversations are played over a pipe and over TCP. A line "C:" is sent, a line "S:" expected
// ("…" at its end: whatever follows), "END" is the end of the connection.
var conversations = []struct {
	name, script string
	change       func(*Server)
	fake         func(*fakeBackend)
	anonymous    bool // no login first
}{
	{name: "stat", script: `
		C: STAT
		S: +OK 3 76`},
	{name: "list all", script: `
		C: LIST
		S: +OK 3 messages (76 octets)
		S: 1 32
		S: 2 26
		S: 3 18
		S: .`},
}

func TestConversations(t *testing.T) {
	for _, tt := range conversations {
		for _, network := range []string{"pipe", "tcp"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				fake := newFake(first, second, third)
				if tt.fake != nil {
					tt.fake(fake)
				}
				r := start(t, fake, tt.change)
				c := r.dialTCP
				if network == "pipe" {
					c = r.dialPipe
				}
				play(c(), tt.script, tt.anonymous)
			})
		}
	}
}

func play(c *client, script string, anonymous bool) {
	c.t.Helper()
	if !anonymous {
		c.login()
	}
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case line == "":
		case line == "END":
			c.closed()
		case strings.HasPrefix(line, "C: "):
			c.send(strings.NewReplacer(`\x00`, "\x00", `\r`, "\r", `\t`, "\t").Replace(line[3:]) + "\r\n")
		case line == "C:":
			c.send("\r\n")
		case strings.HasPrefix(line, "S: "):
			c.expect(line[3:])
		default:
			c.t.Fatalf("bad script line %q", line)
		}
	}
}
