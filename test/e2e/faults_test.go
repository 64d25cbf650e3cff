//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// lockGone is how long the lock of a session that was cut off may last.
const lockGone = 10 * time.Second * slack

// twoStores is a gateway with a store whose plugin will be hurt, and another one.
func twoStores(t *testing.T) (g *harness.Gateway, hurt, other harness.User) {
	t.Helper()
	g = harness.Start(t, harness.Options{Stores: []harness.Mapping{
		harness.MaildirStore("mail", harness.Domain), harness.MaildirStore("other", "other.example"),
	}})
	return g, g.AddUser(t, "erika"), g.AddUserIn(t, "other", "eva@other.example")
}

// pluginsOf waits until there are n plugin processes.
func pluginsOf(t *testing.T, g *harness.Gateway, n int) []int {
	t.Helper()
	var pids []int
	harness.Eventually(t, 30*time.Second, fmt.Sprint(n, " plugin processes"), func() bool {
		pids = g.Plugins()
		return len(pids) == n
	})
	return pids
}

// TestPluginDiesInRetr (I3, I10): kill -9 of a plugin in the middle of a large message. The
// client sees the connection end, and no terminator; the other store's sessions go on; and a new
// login succeeds within two seconds.
func TestPluginDiesInRetr(t *testing.T) {
	g, user, other := twoStores(t)
	const size = 40 << 20 // more than the buffers of sockets hold
	putLarge(t, g, user, size)
	deliver(t, g, other, simple("other"))

	reading, bystander := login(t, g, user), login(t, g, other)
	defer bystander.Quit()
	victim := pluginOf(t, g, "mail")
	begun, killed := make(chan struct{}), make(chan struct{})
	gate := &gate{begun: begun, proceed: killed}
	var retr error
	var wait sync.WaitGroup
	wait.Go(func() { _, retr = reading.RetrTo(1, gate) })
	<-begun
	harness.Kill(t, victim)
	died := time.Now()
	close(killed)
	wait.Wait()
	if !harness.Closed(retr) || gate.octets >= size {
		t.Errorf("after %d octets RETR ended with %v", gate.octets, retr)
	}
	if got, err := bystander.Retr(1); err != nil || !bytes.Contains(got, []byte("body of other")) {
		t.Errorf("the other store's session has suffered: %v", err)
	}

	for {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		if err == nil {
			if n, _, err := p.Stat(); n != 1 || err != nil {
				t.Errorf("there are %d messages (%v)", n, err)
			}
			p.Quit()
			break
		}
		// An outage is not told as a wrong password.
		if refusal := err.Error(); !strings.Contains(refusal, "[SYS/TEMP]") && !strings.Contains(refusal, "[IN-USE]") {
			t.Fatalf("a login while the plugin starts: %v", err)
		}
		if time.Since(died) > time.Minute {
			t.Fatalf("no login within a minute: %v", err)
		}
	}
	g.Log.Wait(t, 0, `"store":"mail"`, "the plugin process has ended")
}

// putLarge puts a message into a maildrop of the first store, as another program would.
func putLarge(t *testing.T, g *harness.Gateway, user harness.User, size int) {
	t.Helper()
	name, domain, _ := strings.Cut(user.Address, "@")
	folder := filepath.Join(g.Dir, "mail", domain, name)
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(folder, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "new", "1.large"), []byte(largeText(size)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// largeText is a message of some size, with LF line ends.
func largeText(size int) string {
	line := strings.Repeat("x", 75) + "\n"
	return "Subject: large\n\n" + strings.Repeat(line, size/len(line))
}

// TestPluginDiesUnderIdleSession (I5, I10): who only waits is told, too, when the plugin is
// killed, and the lock on his maildrop does not outlive it.
func TestPluginDiesUnderIdleSession(t *testing.T) {
	t.Parallel()
	g, user, _ := twoStores(t)
	idle := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
	idle.Expect("+OK")
	idle.Ask("USER "+user.Address, "+OK")
	idle.Ask("PASS "+user.Password, "+OK")
	harness.Kill(t, pluginOf(t, g, "mail"))
	idle.Expect("-ERR [SYS/TEMP]")
	idle.ExpectClosed()
	harness.Eventually(t, 15*time.Second*slack, "a login after the plugin's death", func() bool {
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		if err != nil {
			return false
		}
		return p.Quit() == nil
	})
}

// slack is for the race detector, under which everything takes several times as long.
const slack = 4

// gate is a writer that lets the first octets through, tells of it, and then waits.
type gate struct {
	begun   chan<- struct{}
	proceed <-chan struct{}
	octets  int64
	once    sync.Once
}

func (g *gate) Write(p []byte) (int, error) {
	g.octets += int64(len(p))
	if g.octets > 100_000 {
		g.once.Do(func() {
			close(g.begun)
			<-g.proceed
		})
	}
	return len(p), nil
}

// pluginOf is the process of the store whose name the log tells with its start.
func pluginOf(t *testing.T, g *harness.Gateway, store string) int {
	t.Helper()
	pids := g.Plugins()
	for _, e := range slices.Backward(g.Log.Since(0)) {
		if pid, ok := e.Fields["pid"].(float64); ok && e.Field("store") == store && slices.Contains(pids, int(pid)) {
			return int(pid)
		}
	}
	t.Fatalf("the log does not tell which of %v is the plugin of %s", pids, store)
	return 0
}

// TestPluginDiesInDelivery (I1): kill -9 of a plugin while it writes a message. The client is
// told to try again, or the gateway has done so itself; either way what is told is true.
func TestPluginDiesInDelivery(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	s := mx(t, g)
	defer s.Close()
	victim := g.Plugin(t)
	var sent error
	var wait sync.WaitGroup
	wait.Go(func() { _, sent = s.Send(envelope(user), corpus.Sized("large", 45<<20)) })
	harness.Eventually(t, 60*time.Second, "a message that is being written", func() bool {
		return largest(filepath.Join(g.Dir, "mail")) > 1<<20
	})
	harness.Kill(t, victim)
	wait.Wait()
	wanted := 1
	if sent == nil {
		wanted++
	} else {
		refusal(t, sent, "45")
	}
	harness.Eventually(t, 10*time.Second*slack, "the second try", func() bool {
		_, err := s.Send(envelope(user), bytes.NewReader(simple("again")))
		if err != nil {
			refusal(t, err, "45")
			s.Ask(250, "RSET")
		}
		return err == nil
	})
	p := login(t, g, user)
	defer p.Quit()
	if n, _, err := p.Stat(); n != wanted || err != nil {
		t.Errorf("there are %d messages (%v), wanted %d: the first was answered with %v", n, err, wanted, sent)
	}
}

// largest is the size of the largest file below a folder.
func largest(folder string) (most int64) {
	// A file that has gone meanwhile is not the largest.
	_ = filepath.WalkDir(folder, func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			most = max(most, info.Size())
		}
		return nil
	})
	return most
}

// TestGatewayDies: kill -9 of the gateway leaves no plugin behind, loses nothing that was
// acknowledged, and does not keep the next start from anything.
func TestGatewayDies(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"))
	open := login(t, g, user)
	if err := open.Dele(1); err != nil {
		t.Fatal(err)
	}
	children := g.Plugins()
	if len(children) == 0 {
		t.Fatal("there is no plugin process")
	}
	g.Signal(t, syscall.SIGKILL)
	g.WaitExit(t)
	g.NobodyLeft(t, children)
	open.Close()

	g.Run(t)
	p := login(t, g, user)
	defer p.Quit()
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Errorf("there are %d messages (%v), wanted the one that was acknowledged", n, err)
	}
}

// TestReloadSwapsPlugin: SIGHUP with another plugin command. The session that is open ends on
// the process it began on, new ones begin on the new process, and no login is refused meanwhile.
func TestReloadSwapsPlugin(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user, other := g.AddUser(t, "erika"), g.AddUser(t, "max")
	deliver(t, g, user, simple("one"), simple("two"))
	old := login(t, g, user)
	first := g.Plugin(t)

	stop := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { loginLoop(t, g, other, stop) })

	place := g.Log.Len()
	g.Configure(t, func(o *harness.Options) {
		o.Stores[0]["plugin"] = harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/misbehave"), "fine"}}
	})
	g.Signal(t, syscall.SIGHUP)
	g.Log.Wait(t, place, "reload")
	pids := pluginsOf(t, g, 2)
	second := pids[0] + pids[1] - first

	if got, err := old.Retr(2); err != nil || !bytes.Contains(got, []byte("body of two")) {
		t.Errorf("the old session has suffered: %v", err)
	}
	if err := old.Dele(1); err != nil {
		t.Error(err)
	}
	if err := old.Quit(); err != nil {
		t.Error(err)
	}
	g.NobodyLeft(t, []int{first})
	p := login(t, g, user)
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Errorf("there are %d messages (%v)", n, err)
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
	close(stop)
	wait.Wait()
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", second)); err != nil || !strings.HasSuffix(exe, "misbehave") {
		t.Errorf("the new process is %s (%v)", exe, err)
	}
}

// loginLoop logs in and out until it is stopped. Every login has to succeed.
func loginLoop(t *testing.T, g *harness.Gateway, user harness.User, stop <-chan struct{}) {
	count := 0
	for {
		select {
		case <-stop:
			t.Logf("%d logins", count)
			if count == 0 {
				t.Error("not one login in the loop")
			}
			return
		default:
		}
		p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		if err != nil {
			t.Errorf("login %d: %v", count, err)
			<-stop
			return
		}
		if err := p.Quit(); err != nil {
			t.Errorf("login %d: %v", count, err)
		}
		count++
	}
}

// TestBrokenReload: a configuration that is wrong is refused as a whole, and the gateway goes on
// with what it had.
func TestBrokenReload(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	before := g.Plugin(t)
	for name, change := range map[string]func(*harness.Options){
		"unknown key":    func(o *harness.Options) { o.More = harness.Mapping{"hostnam": "x"} },
		"plugin exits":   func(o *harness.Options) { o.More = nil; o.Stores = storeOf(t, "exit") },
		"plugin missing": func(o *harness.Options) { o.Stores[0]["plugin"] = harness.Mapping{"command": []string{"/nonexistent"}} },
		"bad setting": func(o *harness.Options) {
			o.Stores = []harness.Mapping{harness.MaildirStore("mail", harness.Domain)}
			o.Stores[0]["settings"] = harness.Mapping{"rot": "mail"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			place := g.Log.Len()
			g.Configure(t, change)
			g.Signal(t, syscall.SIGHUP)
			g.Log.Wait(t, place, "reload", `"level":"error"`)
			p := login(t, g, user)
			p.Quit()
			if now := g.Plugins(); !slices.Contains(now, before) {
				t.Errorf("the plugin %d has gone; there are %v", before, now)
			}
		})
	}
}

// TestReloadIsAllOrNothing: one store's process cannot be started, after its settings were found
// good. Neither that store is there afterwards, nor the other one changed, nor anything else.
func TestReloadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	before := g.Plugin(t)
	place := g.Log.Len()
	g.Configure(t, func(o *harness.Options) {
		o.Stores[0]["plugin"] = harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/misbehave"), "fine"}}
		other := harness.MaildirStore("other", "other.example")
		other["plugin"] = harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/misbehave"), "unlucky"}}
		o.Stores = append(o.Stores, other)
	})
	g.Signal(t, syscall.SIGHUP)
	g.Log.Wait(t, place, "not reloaded", "the old one stays", "the lock of the store is held")
	if now := pluginsOf(t, g, 1); now[0] != before {
		t.Errorf("the plugin is %d, and was %d", now[0], before)
	}
	s := mx(t, g)
	refusal(t, s.Begin(harness.Envelope{From: "sender@corpus.example", To: []string{"eva@other.example"}}), "550")
	s.Quit()
	deliver(t, g, user, simple("as before"))

	place = g.Log.Len()
	g.Configure(t, func(o *harness.Options) { o.Stores[1]["plugin"] = o.Stores[0]["plugin"] })
	g.Signal(t, syscall.SIGHUP)
	g.Log.Wait(t, place, "the configuration is reloaded")
	g.NobodyLeft(t, []int{before})
	pluginsOf(t, g, 2)
	deliver(t, g, user, simple("as it is now"))
}

func storeOf(t *testing.T, mode string) []harness.Mapping {
	t.Helper()
	store := harness.MaildirStore("mail", harness.Domain)
	store["plugin"] = harness.Mapping{"command": []string{harness.Helper(t, "./test/plugins/misbehave"), mode}}
	return []harness.Mapping{store}
}

// TestMisbehavingPlugins (I10): a plugin that never becomes ready costs its own store's users a
// [SYS/TEMP], the administrator a line in the log, and nobody else anything.
func TestMisbehavingPlugins(t *testing.T) {
	for _, mode := range []string{"silent", "exit", "garbage", "version", "socket"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			stores := append(storeOf(t, mode), harness.MaildirStore("other", "other.example"))
			// The other store's plugin has to start within that time, too, however busy the machine is.
			g := harness.Start(t, harness.Options{Stores: stores, More: harness.Mapping{"timeouts": harness.Mapping{"plugin_start": "6s"}}})
			healthy := g.AddUserIn(t, "other", "eva@other.example")

			begin := time.Now()
			_, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), "erika@"+harness.Domain, "secret")
			refusal(t, err, "-ERR [SYS/TEMP]")
			s := mx(t, g)
			refusal(t, s.Begin(harness.Envelope{From: "sender@corpus.example", To: []string{"erika@" + harness.Domain}}), "451")
			s.Quit()
			if took := time.Since(begin); took > 15*time.Second*slack {
				t.Errorf("the outage was told after %s", took)
			}
			deliver(t, g, healthy, simple("fine"))
			p := login(t, g, healthy)
			if n, _, err := p.Stat(); n != 1 || err != nil {
				t.Errorf("the other store has %d messages (%v)", n, err)
			}
			p.Quit()
			entry := g.Log.Wait(t, 0, `"store":"mail"`, "plugin")
			t.Log(entry.Text)
		})
	}
}

// TestFloodingPlugin (I10, I11): what a plugin writes to its standard error costs the gateway
// neither its life nor its memory, and the store works.
func TestFloodingPlugin(t *testing.T) {
	g := harness.Start(t, harness.Options{Stores: storeOf(t, "flood"), Kind: harness.Plain})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"))
	for range 8 {
		p := login(t, g, user)
		if _, err := p.Retr(1); err != nil {
			t.Fatal(err)
		}
		if err := p.Quit(); err != nil {
			t.Fatal(err)
		}
	}
	if _, most := harness.Memory(t, g.PID()); most > 128<<20 {
		t.Errorf("the gateway took %d MiB", most>>20)
	}
	if lines := g.Log.Len(); lines > 20_000 {
		t.Errorf("the flood went into the log: %d lines", lines)
	}
	for _, e := range g.Log.Since(0) {
		if len(e.Text) > 64<<10 {
			t.Fatalf("a line of the log has %d octets", len(e.Text))
		}
	}
}

// TestSlowPlugin: a login that takes for ever ends as an outage, and keeps nobody waiting but the
// client who asked.
func TestSlowPlugin(t *testing.T) {
	stores := append(storeOf(t, "slow"), harness.MaildirStore("other", "other.example"))
	g := harness.Start(t, harness.Options{Stores: stores, More: harness.Mapping{"timeouts": harness.Mapping{"plugin_call": "2s"}}})
	healthy := g.AddUserIn(t, "other", "eva@other.example")
	var wait sync.WaitGroup
	for range 5 {
		wait.Go(func() {
			_, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), "erika@"+harness.Domain, "secret")
			refusal(t, err, "-ERR [SYS/TEMP]")
		})
	}
	begin := time.Now()
	p := login(t, g, healthy)
	p.Quit()
	if took := time.Since(begin); took > 1500*time.Millisecond*slack {
		t.Errorf("the other store's login took %s", took)
	}
	wait.Wait()
}

// TestEndlessPlugin (I10): a plugin that does not end a maildrop's stream keeps no client waiting for
// QUIT, and no lock.
func TestEndlessPlugin(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Stores: storeOf(t, "endless"), More: harness.Mapping{"timeouts": harness.Mapping{"plugin_call": "5s"}}})
	user := g.AddUser(t, "erika")
	deliver(t, g, user, simple("one"))
	for session := range 2 {
		p := login(t, g, user)
		if n, _, err := p.Stat(); n != 1-session || err != nil {
			t.Fatalf("session %d: %d messages (%v)", session+1, n, err)
		}
		if session == 0 {
			if err := p.Dele(1); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := p.Quit(); err != nil {
			t.Errorf("session %d: QUIT: %v", session+1, err)
		}
		if took := time.Since(begin); took > 10*time.Second*slack {
			t.Errorf("session %d: QUIT was answered after %s", session+1, took)
		}
	}
	g.Log.Wait(t, 0, "did not end the maildrop's stream")
}

// TestLyingPlugin (I10): a plugin's text reaches the client as one safe line.
func TestLyingPlugin(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{Stores: storeOf(t, "liar")})
	c := harness.Dial(t, g.Address("pop3s"), g.Authority.Client())
	c.Expect("+OK")
	c.Ask("USER erika@"+harness.Domain, "+OK")
	line := c.Ask("PASS bidFq-guess", "-ERR [SYS/TEMP] ")
	if len(line) > 510 || strings.Contains(line, "[AUTH]") || strings.Contains(line, "secret detail") {
		t.Errorf("the client is told %q", line)
	}
	c.Ask("NOOP", "-ERR") // the next answer is to the next command
	g.Log.Wait(t, 0, "secret detail")
}
