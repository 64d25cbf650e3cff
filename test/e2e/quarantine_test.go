//go:build linux

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestQuarantine (I8) has a store that says of one message that it cannot render it, and that
// fails with another again and again: notices stand in their places, over a restart too, the
// others come as ever, deleting a notice deletes nothing, and the administrator has the messages
// back once the store is well.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Stores: storeOf(t, "poison")})
	user := g.AddUser(t, "erika")
	bad := func(subject, how string) []byte {
		return bytes.Replace(simple(subject), []byte("\r\n\r\n"), []byte("\r\nX-Poison: "+how+"\r\n\r\n"), 1)
	}
	deliver(t, g, user, simple("one"), bad("two", "said"), bad("three", "fails"), simple("four"))

	// drain is a client that fetches what it can, and gives how each message begins. Where the
	// connection is lost, or a message refused, it goes on with the next session.
	known := false // what is in quarantine, so that sizes are exact
	drain := func() map[int]string {
		t.Helper()
		got := map[int]string{}
		p := login(t, g, user)
		defer p.Quit()
		sizes, err := p.List()
		if err != nil {
			t.Fatalf("one bad message spoils LIST: %v", err)
		}
		for n := 1; n <= len(sizes); n++ {
			message, err := p.Retr(n)
			switch {
			case err != nil:
				got[n] = "refused"
			case bytes.Contains(message, []byte("Subject: A message that could not be shown")):
				got[n] = "notice"
				if int64(len(message)) != sizes[n] && known {
					t.Errorf("message %d: LIST says %d octets, RETR gives %d", n, sizes[n], len(message))
				}
				if strings.Contains(string(message), "0x1000") || strings.Contains(string(message), "node 7") {
					t.Errorf("the notice tells of the store's insides:\n%s", message)
				}
			default:
				got[n] = "message"
			}
		}
		return got
	}
	is := func(when string, got map[int]string, want ...string) {
		t.Helper()
		for n, w := range want {
			if got[n+1] != w {
				t.Errorf("%s: message %d is %q, wanted %q", when, n+1, got[n+1], w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: there are %d messages, wanted %d", when, len(got), len(want))
		}
	}
	is("at first", drain(), "message", "notice", "refused", "message")
	drain()
	is("after some failures", drain(), "message", "notice", "notice", "message")
	g.Stop(t)
	g.Run(t)
	known = true
	is("after a restart", drain(), "message", "notice", "notice", "message")

	command := func(args ...string) string {
		t.Helper()
		out, err := g.Command(append([]string{"quarantine"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("dipylon quarantine %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	listed := command("list", "--config", g.ConfigFile)
	numbers := regexp.MustCompile(`(?m)^([0-9a-f]{16}) +held `).FindAllStringSubmatch(listed, -1)
	if len(numbers) != 2 || !strings.Contains(listed, "the message is damaged") {
		t.Fatalf("the list is\n%s", listed)
	}
	shown := command("show", "--config", g.ConfigFile, numbers[0][1][:8]) + command("show", "--config", g.ConfigFile, numbers[1][1])
	for _, want := range []string{"property 0x1000 is damaged", "node 7 is down", user.Address} {
		if !strings.Contains(shown, want) {
			t.Errorf("what is shown does not have %q:\n%s", want, shown)
		}
	}

	// A client that deletes what it has fetched.
	p := login(t, g, user)
	for n := 1; n <= 4; n++ {
		if err := p.Dele(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Quit(); err != nil {
		t.Fatal(err)
	}
	is("after all was deleted", drain())

	if err := os.WriteFile(filepath.Join(g.Dir, "antidote"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	command("release", "--config", g.ConfigFile, numbers[0][1], numbers[1][1])
	is("released", drain(), "message", "message")
	if out, err := g.Command("quarantine", "show", "--config", g.ConfigFile, "ffffffffffffffff").CombinedOutput(); err == nil {
		t.Errorf("a number that is none is shown:\n%s", out)
	}
}
