package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/state"
)

// patience is how long a test waits for what has to happen.
const patience = 60 * time.Second

const oneStore = `
hostname: gate.example
state: state
listeners:
  - {protocol: pop3, address: "127.0.0.1:0"}
  - {protocol: smtp, address: "127.0.0.1:0"}
stores:
  - {name: one, plugin: maildir, domains: [one.example], settings: {root: one}}
`

func parse(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(dir, "gate.yaml"), dir, []byte(text), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// rootsIn is a folder with the root of each store.
func rootsIn(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, root := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, root), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, root, "accounts.yaml"), []byte("accounts: []\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a gateway, and waits until it serves. The channel gives what Run returns; end is its
// context's.
func run(t *testing.T, cfg *config.Config) (g *Server, ended <-chan error, end context.CancelFunc) {
	t.Helper()
	g, err := New(t.Context(), Options{Log: zerolog.New(zerolog.NewTestWriter(t))}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	select {
	case <-g.Ready():
	case err := <-done:
		t.Fatalf("it ends before it serves: %v", err)
	case <-time.After(patience):
		t.Fatal("it does not serve")
	}
	return g, done, cancel
}

func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			t.Fatalf("it does not come to be that %s", what)
		}
	}
}

// TestSnapshot: what runs can be read at any time, while sessions come and go and the
// configuration changes.
func TestSnapshot(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := rootsIn(t)
	g, ended, end := run(t, parse(t, dir, oneStore))
	first := g.Snapshot()
	if !first.Ready || first.Stopping || len(first.Listeners) != 2 || len(first.Stores) != 1 || len(first.Sessions) != 0 {
		t.Fatalf("seen: %+v", first)
	}
	if s := first.Stores[0]; s.Name != "one" || !s.Plugin.Ready || s.Plugin.PID == 0 || s.Plugin.Description.Name != "maildir" {
		t.Errorf("the store: %+v", s)
	}

	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := g.Snapshot()
				if s.Config == nil || len(s.Listeners) != len(s.Config.Listeners) || len(s.Stores) != len(s.Config.Stores) {
					t.Errorf("not of one configuration: %+v", s)
					return
				}
			}
		})
	}
	conns := make(map[string]net.Conn)
	for _, l := range first.Listeners {
		conn, err := net.Dial("tcp", l.Address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		conns[l.Protocol] = conn
	}
	within(t, "both sessions are seen", func() bool { return len(g.Snapshot().Sessions) == 2 })
	for _, s := range g.Snapshot().Sessions {
		if conn := conns[s.Listener.Protocol]; s.Remote.String() != conn.LocalAddr().String() || s.ID == "" || time.Since(s.Since) > patience {
			t.Errorf("a session: %+v", s)
		}
	}

	changed := strings.Replace(oneStore, `  - {protocol: pop3, address: "127.0.0.1:0"}`+"\n", "", 1) +
		"  - {name: two, plugin: maildir, domains: [two.example], settings: {root: two}}\n"
	for _, limits := range []string{"limits: {recipients: 100}\n", "limits: {recipients: 101}\n", ""} { // new engines
		if err := g.Reload(t.Context(), parse(t, dir, changed+limits)); err != nil {
			t.Fatal(err)
		}
	}
	s := g.Snapshot()
	if len(s.Listeners) != 1 || s.Listeners[0] != first.Listeners[1] || len(s.Stores) != 2 || !s.Stores[1].Plugin.Ready || !s.Since.After(first.Since) {
		t.Errorf("after the reload: %+v", s)
	}
	if len(s.Sessions) != 2 {
		t.Errorf("the session of the listener that is gone is not seen: %+v", s.Sessions)
	}
	_ = conns["smtp"].Close()
	within(t, "the session has ended", func() bool { return len(g.Snapshot().Sessions) == 1 })
	close(stop)
	readers.Wait()
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if s := g.Snapshot(); !s.Stopping || len(s.Sessions) != 0 || s.Stores[0].Plugin.Ready {
		t.Errorf("after the end: %+v", s)
	}
}

// TestRunEndsBeforeItsSessions: whoever is connected stays so until Shutdown.
func TestRunEndsBeforeItsSessions(t *testing.T) {
	defer goleak.VerifyNone(t)
	g, ended, end := run(t, parse(t, rootsIn(t), oneStore))
	conn, err := net.Dial("tcp", g.Snapshot().Listeners[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	answers := bufio.NewReader(conn)
	for _, say := range []string{"", "CAPA\r\n"} {
		if _, err := io.WriteString(conn, say); err != nil {
			t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+OK") {
			t.Fatalf("%q is answered by %q, %v", say, line, err)
		}
		if say == "" {
			end()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, answers); err != nil {
		t.Errorf("the session does not end in good order: %v", err)
	}
}

// TestShutdown: it ends Run, and nothing can be changed after it.
func TestShutdown(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := parse(t, rootsIn(t), oneStore)
	g, ended, end := run(t, cfg)
	defer end()
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run ends with %v", err)
	}
	for range 10 {
		if err := g.Reload(t.Context(), cfg); !errors.Is(err, ErrStopped) {
			t.Fatalf("a reload after the end gives %v", err)
		}
	}
}

// TestFailedDisk (I1): the gateway ends when the state's disk has failed to sync, and says why.
func TestFailedDisk(t *testing.T) {
	defer goleak.VerifyNone(t)
	g, ended, end := run(t, parse(t, rootsIn(t), oneStore))
	defer end()
	failed := make(chan struct{})
	close(failed)
	g.watchDisk(failed)
	if err := <-ended; !errors.Is(err, state.ErrFailed) {
		t.Errorf("Run ends with %v", err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestShutdownBeforeRun gives everything back: the next gateway can begin.
func TestShutdownBeforeRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := parse(t, rootsIn(t), oneStore)
	for range 2 {
		g, err := New(t.Context(), Options{Log: zerolog.Nop()}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.Run(t.Context()); err != nil {
			t.Errorf("Run after Shutdown gives %v", err)
		}
	}
}

// TestNewGivesBack what it has taken when it fails.
func TestNewGivesBack(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := rootsIn(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, dir, strings.Replace(oneStore, `smtp, address: "127.0.0.1:0"`, `smtp, address: "`+taken.Addr().String()+`"`, 1))
	if _, err := New(t.Context(), Options{Log: zerolog.Nop()}, cfg); !errors.Is(err, ErrTemporary) {
		t.Errorf("an address that is in use gives %v", err)
	}
	_ = taken.Close()
	g, err := New(t.Context(), Options{Log: zerolog.Nop()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// askFor has the MX listener ask for a recipient that a store does not have.
func askFor(t *testing.T, g *Server, recipient string) {
	t.Helper()
	client, err := smtp.Dial(g.Snapshot().Listeners[1].Address)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Mail("sender@far.example"); err != nil {
		t.Fatal(err)
	}
	if err := client.Rcpt(recipient); err == nil {
		t.Errorf("%s is taken", recipient)
	}
}

// TestCallsAreCounted: the snapshot has the calls to a store, which outlast a reload.
func TestCallsAreCounted(t *testing.T) {
	dir := rootsIn(t)
	g, ended, end := run(t, parse(t, dir, oneStore))
	askFor(t, g, "nobody@one.example")
	if err := g.Reload(t.Context(), parse(t, dir, oneStore+"  - {name: two, plugin: maildir, domains: [two.example], settings: {root: two}}\n")); err != nil {
		t.Fatal(err)
	}
	askFor(t, g, "nobody@one.example")
	askFor(t, g, "nobody@two.example")
	for i, calls := range []int64{2, 1} {
		got := g.Snapshot().Stores[i].Calls
		if len(got) != 1 || got[0].Call != "Resolve" || got[0].Calls != calls || got[0].Open != 0 || got[0].Longest <= 0 {
			t.Errorf("store %d: %+v", i, got)
		}
	}
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestStoreComesBack: the calls to a store that is configured again are counted on, although the process
// of the one that was removed ends later, with its last session.
func TestStoreComesBack(t *testing.T) {
	dir := rootsIn(t)
	if err := maildir.AddUser(filepath.Join(dir, "two"), "ada@two.example", []byte("sesame"), maildir.User{}); err != nil {
		t.Fatal(err)
	}
	const both = oneStore + "  - {name: two, plugin: maildir, domains: [two.example], settings: {root: two}}\n"
	g, ended, end := run(t, parse(t, dir, both))
	drop, err := g.stores["two"].store.Open(t.Context(), backends.OpenRequest{
		Credential: backends.Credential{Kind: backends.CredentialPassword, User: "ada@two.example", Secret: []byte("sesame")},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{oneStore, both} {
		if err := g.Reload(t.Context(), parse(t, dir, text)); err != nil {
			t.Fatal(err)
		}
	}
	askFor(t, g, "nobody@two.example")
	_ = drop.Close()
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	if calls := g.Snapshot().Stores[1].Calls; len(calls) != 1 || calls[0].Calls != 1 { // all have ended
		t.Errorf("the calls are %+v", calls)
	}
}

// TestShutdownBreaksOffAReload that waits for a plugin that never says a word.
func TestShutdownBreaksOffAReload(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := rootsIn(t)
	g, ended, end := run(t, parse(t, dir, oneStore))
	defer end()
	began := filepath.Join(dir, "began")
	silent := parse(t, dir, strings.Replace(oneStore, "stores:\n", "timeouts: {plugin_start: 10m}\nstores:\n"+
		"  - {name: silent, plugin: {command: [/bin/sh, -c, 'touch "+began+"; exec sleep 1000']}, domains: [silent.example]}\n", 1))
	reloaded := make(chan error, 1)
	go func() { reloaded <- g.Reload(t.Context(), silent) }()
	within(t, "the plugin is started", func() bool { _, err := os.Stat(began); return err == nil })
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-reloaded; err == nil {
		t.Error("a reload that was broken off went well")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := g.Snapshot(); len(s.Stores) != 1 {
		t.Errorf("the stores are %+v", s.Stores)
	}
}

// TestRefusedReloadLeavesTheCertificate: a configuration with another hostname makes another self-signed
// certificate, unless something else of it cannot be put to use.
func TestRefusedReloadLeavesTheCertificate(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := rootsIn(t)
	g, ended, end := run(t, parse(t, dir, oneStore))
	files := SelfSignedFiles(g.Snapshot().Config.StateFolder)
	read := func() string {
		t.Helper()
		certificate, err1 := os.ReadFile(files.Certificate)
		key, err2 := os.ReadFile(files.Key)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return string(certificate) + string(key)
	}
	first := read()
	for host, refused := range map[string]string{
		"address.example": strings.Replace(oneStore, `smtp, address: "127.0.0.1:0"`, `smtp, address: "`+taken.Addr().String()+`"`, 1),
		"plugin.example":  oneStore + "  - {name: two, plugin: {command: [/bin/false]}, domains: [two.example]}\n",
	} {
		if err := g.Reload(t.Context(), parse(t, dir, strings.Replace(refused, "gate.example", host, 1))); err == nil {
			t.Errorf("%s: the reload went well", host)
		}
		if read() != first {
			t.Errorf("%s: the certificate is another one", host)
			first = read()
		}
	}
	renamed := parse(t, dir, strings.Replace(oneStore, "gate.example", "other.example", 1))
	if err := g.Reload(t.Context(), renamed); err != nil || read() == first {
		t.Errorf("after the reload it is the same, %v", err)
	}
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestRefusedReloadOpensNothing: where the last step fails, what was opened for it is closed.
func TestRefusedReloadOpensNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := rootsIn(t)
	g, ended, end := run(t, parse(t, dir, oneStore))
	own := filepath.Dir(SelfSignedFiles(g.Snapshot().Config.StateFolder).Key)
	if err := errors.Join(os.RemoveAll(own), os.WriteFile(own, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(oneStore, "stores:", `  - {protocol: submission, address: "127.0.0.1:0"}`+"\nstores:", 1) +
		"  - {name: two, plugin: maildir, domains: [two.example], settings: {root: two}}\n"
	if err := g.Reload(t.Context(), parse(t, dir, changed)); err == nil {
		t.Error("the reload went well")
	}
	if s := g.Snapshot(); len(s.Listeners) != 2 || len(s.Stores) != 1 {
		t.Errorf("seen: %+v", s)
	}
	conn, err := net.Dial("tcp", g.Snapshot().Listeners[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	end()
	if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}
