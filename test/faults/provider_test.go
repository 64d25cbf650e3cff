//go:build linux

package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
	"github.com/dipylon/dipylon/test/provider"
)

var providerFor = flag.Duration("provider-for", 2*time.Second, "how long faults are made at a provider")

const providersApp = "00000000-0000-0000-0000-000000000001"

// providerWorld is a gateway whose store and whose way out are a provider's that takes nothing but tokens: a Dovecot, and the
// ledger's sink, that ask the issuer about each. Senders are devices with an application password.
type providerWorld struct {
	*world
	issuer  *provider.Provider
	dovecot *peers.Dovecot
	secret  string // the file
	renewed int
	heard   map[string]bool // of alarms
}

// alarms are what the log tells of a provider that fails.
var alarms = []string{"the provider gives no token", "as a whole takes no mail now"}

// hear notes which alarms are in the log of the gateway that runs: one that starts anew has another.
func (w *providerWorld) hear() {
	for _, alarm := range alarms {
		w.heard[alarm] = w.heard[alarm] || w.gateway.Log.Has(alarm)
	}
}

func newProviderWorld(t *testing.T, seed uint64) *providerWorld {
	t.Helper()
	w := &providerWorld{world: unbegun(t), issuer: provider.Start(t), heard: make(map[string]bool)}
	w.secret = w.path("secret")
	w.issuer.Applications[providersApp] = &provider.Application{}
	w.issuer.Life = time.Second // so that each fault of the issuer is met by somebody
	w.renew(false)
	users := make(map[string]string)
	for _, address := range append([]string{from}, near...) {
		users[address] = "no password is taken"
	}
	w.dovecot = peers.StartDovecot(t, peers.DovecotOptions{Users: users, Introspection: w.issuer.Introspection, AnyMailbox: true})
	w.sink = launch(t, nil, w.ledger, "sink", "--record", w.path("sink"), "--tokens", w.issuer.Introspection)
	hop := w.sink.line(t)
	w.gateway = harness.Prepare(t, harness.Options{
		Kind: harness.Plain, PlaintextLogin: true,
		Stores: []harness.Mapping{{"name": "m365", "plugin": "imap", "domains": []string{harness.Domain}, "settings": harness.Mapping{
			"address": w.dovecot.IMAPS, "ca": w.dovecot.CA, "tls_name": "localhost", "timeout": "5s",
			"oauth": harness.Mapping{
				"issuer": w.issuer.Issuer, "ca": w.issuer.CA, "client_id": providersApp, "client_secret": "file:" + w.secret, "scopes": []string{"mail/.default"},
			},
			"delivery":   harness.Mapping{"append": true},
			"submission": harness.Mapping{"address": hop, "tls": "none", "sent": `\Sent`},
		}}},
		More: harness.Mapping{
			"state":    w.state,
			"log":      harness.Mapping{"level": "info", "format": "json"},
			"timeouts": harness.Mapping{"drain": "2s"},
			"routes":   []harness.Mapping{{"name": "m365", "domains": []string{"*"}, "to": "transport", "store": "m365", "user": from, "provider": "microsoft", "per_minute": 100_000}},
			"relay":    harness.Mapping{"retry": []string{"1s"}},
		},
	})
	w.box = func(address string) string { return filepath.Join(w.dovecot.Mail, address, "Maildir") }
	w.queue = []string{"--spool", w.state}
	w.gateway.Run(t)
	out, err := w.gateway.Command("password", "add", "--config", w.gateway.ConfigFile, from).Output()
	if err != nil {
		t.Fatal(err)
	}
	w.login = []string{"--user", from, "--password", strings.TrimSpace(string(out))}
	w.send(seed, w.gateway.Address("submission"))
	return w
}

// renew gives the application another secret, writes it where the gateway's configuration says, and has it read.
func (w *providerWorld) renew(reload bool) {
	w.t.Helper()
	w.renewed++
	secret := fmt.Sprintf("secret-%d-of-the-application", w.renewed)
	if err := os.WriteFile(w.secret, []byte(secret+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.issuer.Do(func(p *provider.Provider) {
		p.Applications[providersApp].Secret, p.Applications[providersApp].SecretExpired = secret, false
	})
	if reload {
		w.gateway.Reload(w.t)
	}
}

// blows are what happens to a provider.
func (w *providerWorld) blows() (all []blow) {
	add := func(name string, do, undo func()) {
		all = append(all, blow{name, func(*world) { do() }, func(*world) { undo() }, false})
	}
	mended := func() { w.issuer.Continue() }
	add(isDown, func() {
		w.sink.tell(w.t, "down")
		w.issuer.FailAlways(provider.Down)
		w.dovecot.Stop()
	}, func() {
		w.dovecot.Start()
		w.issuer.Continue()
		w.sink.tell(w.t, "good")
	})
	for _, text := range []string{
		"auth 432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "mail 421 4.4.2 Message submission rate for this client has exceeded the configured limit",
		"end 450 4.7.3 The account's sending limit was exceeded", "end 451 4.7.500 Server busy. Please try again later", "greeting 421 4.3.2 Service not available",
		"auth " + provider.RefusedSMTP,
	} {
		all = append(all, habit(text))
	}
	add(hasExpired, func() {
		w.issuer.Do(func(p *provider.Provider) { p.Applications[providersApp].SecretExpired = true })
	}, func() { w.renew(true) })
	add("no consent", func() {
		w.issuer.Do(func(p *provider.Provider) { p.Applications[providersApp].NoConsent = true })
	}, func() { w.issuer.Do(func(p *provider.Provider) { p.Applications[providersApp].NoConsent = false }) })
	add("the issuer hangs", w.issuer.Hang, mended)
	add("the issuer is slow", func() { w.issuer.Slow(700 * time.Millisecond) }, mended)
	add("the issuer answers nonsense", func() { w.issuer.Nonsense("<html>200 OK, thirty-one bananas") }, mended)
	add("the issuer has an error", func() { w.issuer.FailAlways(provider.Failure{Status: 500}) }, mended)
	add("the issuer is throttled", func() { w.issuer.FailAlways(provider.Throttled) }, mended)
	for _, skew := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		add(fmt.Sprintf("the issuer's clock is set by %s", skew), func() { w.issuer.Do(func(p *provider.Provider) { p.Skew = skew }) },
			func() { w.issuer.Do(func(p *provider.Provider) { p.Skew = 0 }) })
	}
	add("all tokens are void", w.issuer.Revoke, func() {})
	return append(all, blow{"kill -9 of the gateway", func(*world) { w.hear(); w.kill() }, nil, true}, blow{"kill -9 of the plugin", (*world).killPlugins, nil, true})
}

// TestNothingLostByProvider deals blows to the provider by which all mail leaves, and into which some of it goes: devices are
// told nothing of it, and all of their mail is where it should be in the end, once, and once in the Sent folder at the most.
func TestNothingLostByProvider(t *testing.T) {
	seed := aSeed(t)
	w, r := newProviderWorld(t, seed), rand.New(rand.NewPCG(seed, 5))
	blows := w.blows()
	if *providerFor < time.Minute {
		blows = shortly(blows, r)
	}
	w.dealAll(blows, *providerFor, r)
	w.senders.end(t)
	defer func() {
		if t.Failed() {
			t.Logf("not there: %q", w.judge(false).Lost)
		}
	}()
	if out, err := w.gateway.Command("queue", "retry", "--config", w.gateway.ConfigFile, "--all").CombinedOutput(); err != nil && w.busy(err) {
		t.Fatalf("%v: %s", err, out)
	}
	// A long run leaves much behind that a provider's limits let go slowly: as long as it gets less, it is waited for.
	for left := len(w.judge(false).Lost); left > 0; {
		harness.Eventually(t, 80*time.Second, "all mail is where it should be", func() bool {
			before := left
			left = len(w.judge(false).Lost)
			return left < before
		})
	}
	w.tell("all is there")
	w.hear()
	for _, alarm := range alarms {
		// In some seconds mail may pass between two blows; TestCommonDown (package relay) holds that an outage is told.
		if !w.heard[alarm] && *providerFor >= time.Minute {
			t.Errorf("nobody was told: %s", alarm)
		}
	}
	w.gateway.Stop(t)
	w.look(w.judge(true))
	w.lookAtRefusals()
	w.lookAtSent()
}

// busy says whether a command has failed for another reason than that mail was being delivered at that moment.
func (w *providerWorld) busy(err error) bool {
	var ended *exec.ExitError
	return !errors.As(err, &ended) || ended.ExitCode() != 1
}

// shortly are some of the blows: what an hour at a provider must not miss, and a few others.
func shortly(blows []blow, r *rand.Rand) (some []blow) {
	others := 3
	for _, i := range r.Perm(len(blows)) {
		switch b := blows[i]; {
		case b.name == isDown, b.name == hasExpired:
			some = append(some, b)
		case others > 0:
			others--
			some = append(some, b)
		}
	}
	return some
}

// The blows that are always dealt.
const isDown, hasExpired = "the provider is down", "the secret has expired"

// smtpReply is a reply in what the ledger notes of an attempt.
var smtpReply = regexp.MustCompile(`(^|: )[45]\d\d[ -]`)

// lookAtRefusals finds devices that were told to try again, or that something is wrong.
func (w *providerWorld) lookAtRefusals() {
	w.t.Helper()
	file, err := os.Open(w.path("sent"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var a struct{ ID, Outcome, Reply string }
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			w.t.Fatal(err)
		}
		if a.Outcome == "refused" && smtpReply.MatchString(a.Reply) {
			w.t.Errorf("a device is told %q", a.Reply)
			return
		}
	}
}

// lookAtSent finds copies that are in the Sent folder of the sender twice.
func (w *providerWorld) lookAtSent() {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.box(from), ".Sent", "*", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	id, copies := regexp.MustCompile(`(?m)^X-Ledger: (\S+)`), make(map[string]int)
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			w.t.Fatal(err)
		}
		if found := id.FindSubmatch(content); found != nil {
			copies[string(found[1])]++
		}
	}
	w.t.Logf("%d messages have a copy in the Sent folder", len(copies))
	if len(copies) == 0 {
		w.t.Error("no message has a copy in the Sent folder")
	}
	for id, n := range copies {
		if n > 1 {
			w.t.Errorf("%d copies of %s in the Sent folder", n, id)
		}
	}
}
