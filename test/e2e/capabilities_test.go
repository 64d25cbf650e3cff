//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// atOnce is what CAPA and EHLO together may take at the median where no plugin is asked. With a
// question to a plugin that starts they took eight times as long, and more.
const atOnce = 250 * time.Millisecond

// capabilities asks several times what is offered to a client over TLS. It gives the answers, and
// the median of the time for both.
func capabilities(t *testing.T, g *harness.Gateway) (capa, ehlo string, median time.Duration) {
	t.Helper()
	p := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
	defer p.Close()
	p.Expect("+OK")
	s := harness.Dial(t, g.Address("submissions"), g.Authority.Client())
	defer s.Close()
	s.ExpectReply(220)
	var took []time.Duration
	for range 9 {
		begin := time.Now()
		p.Ask("CAPA", "+OK")
		capa = string(p.Multi())
		s.Send("EHLO client.example")
		ehlo = strings.Join(s.ExpectReply(250), "\n")
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return capa, ehlo, took[len(took)/2]
}

// TestCapabilitiesOfAStoreThatIsNotKnown: what is offered before a plugin has ever described itself
// is told at once, and it is a login with a password, whose client is told of the outage.
func TestCapabilitiesOfAStoreThatIsNotKnown(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{
		Stores: storeOf(t, "silent"), More: harness.Mapping{"timeouts": harness.Mapping{"plugin_start": "2s"}},
	})
	capa, ehlo, took := capabilities(t, g)
	if !strings.Contains(capa, "USER\r\n") || !strings.Contains(capa, "SASL PLAIN LOGIN") || !strings.Contains(ehlo, "AUTH PLAIN LOGIN") {
		t.Errorf("offered are\n%s\n%s", capa, ehlo)
	}
	if took > atOnce {
		t.Errorf("CAPA and EHLO take %v", took)
	}
	_, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), "erika@"+harness.Domain, "secret")
	refusal(t, err, "-ERR [SYS/TEMP]")
	s := mx(t, g)
	refusal(t, s.Begin(harness.Envelope{From: "sender@corpus.example", To: []string{"erika@" + harness.Domain}}), "451")
	s.Close()
}

// TestCapabilitiesOutlastThePlugin: they are the same, and told as fast, while a plugin that has
// died is started again in vain.
func TestCapabilitiesOutlastThePlugin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mode := filepath.Join(dir, "mode")
	say := func(text string) {
		if err := os.WriteFile(mode, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say("fine")
	stores := storeOf(t, "")
	stores[0]["plugin"] = harness.Mapping{"command": []string{
		"/bin/sh", "-c", `exec "$0" "$(cat "$1")"`, harness.Helper(t, "./test/plugins/misbehave"), mode,
	}}
	g := harness.Start(t, harness.Options{Stores: stores, Dir: dir, More: harness.Mapping{"limits": harness.Mapping{"message_size": "1GiB"}}})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"))
	capa, ehlo, _ := capabilities(t, g)
	say("silent")
	first := g.Plugin(t)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 20*time.Second, "another process is started", func() bool {
		now := g.Plugins()
		return len(now) == 1 && now[0] != first
	})
	laterCAPA, laterEHLO, took := capabilities(t, g)
	if laterCAPA != capa || laterEHLO != ehlo {
		t.Errorf("offered were\n%s\n%s\nand while the plugin starts\n%s\n%s", capa, ehlo, laterCAPA, laterEHLO)
	}
	if took > atOnce {
		t.Errorf("CAPA and EHLO take %v", took)
	}
	say("fine")
}
