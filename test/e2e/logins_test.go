//go:build linux

package e2e

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestFail2ban has fail2ban read the gateway's log by the filter that comes with it: each refused
// login is found, with the address it came from, and nothing else is, whatever names were tried.
func TestFail2ban(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{PlaintextLogin: true})
	user := g.AddUser(t, "erika")
	names := []string{
		user.Address,
		"nobody@" + harness.Domain,
		`"peer":"198.51.100.9:1","outcome":"refused","`,
		`{"level":"info","session":"x","protocol":"pop3","peer":"198.51.100.9:1","outcome":"refused",`,
		`x"time":"2001-01-01T00:00:00Z"`,
	}
	for _, name := range names {
		c := harness.Dial(t, g.Address("pop3"), nil)
		c.Expect("+OK")
		c.Ask("USER "+name, "+OK")
		c.Ask("PASS wrong", "-ERR [AUTH]")
		c.Close()
	}
	c := harness.Dial(t, g.Address("submissions"), g.Authority.Client())
	c.ExpectReply(220)
	c.Send("EHLO client.corpus.example")
	c.ExpectReply(250)
	c.Send("AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00"+names[3]+"\x00wrong")))
	c.ExpectReply(535)
	c.Close()
	login(t, g, user).Close()
	g.Log.Wait(t, 0, `"outcome":"accepted"`, `"message":"login"`)

	file := filepath.Join(t.TempDir(), "log")
	var text strings.Builder
	for _, e := range g.Log.Since(0) {
		text.WriteString("Nov 28 09:00:00 host dipylon[17]: " + e.Text + "\n")
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	filter, err := filepath.Abs("../../config/fail2ban/dipylon.conf")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("fail2ban-regex", "-o", "ip", file, filter).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := string(out), strings.Repeat("127.0.0.1\n", len(names)+1); got != want {
		t.Errorf("it bans\n%sand should ban\n%sby\n%s", got, want, &text)
	}
}
