//go:build linux

package harness

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// Domain is the domain of the store that a gateway has when Options name none.
const Domain = "store.example"

// Mapping is a piece of the configuration file.
type Mapping = map[string]any

// Options say how a gateway is started. The zero value is one Maildir store for [Domain], all
// five protocols on free loopback ports, and no logins without TLS.
type Options struct {
	Kind           Kind // empty: Race
	PlaintextLogin bool
	Stores         []Mapping
	// More is put into the configuration file; what it names replaces what is there.
	More Mapping
	// Listener is put into each listener of the configuration file, and Listeners into those of a protocol.
	Listener  Mapping
	Listeners map[string]Mapping
	// Dir is the folder to run in; empty: a new one.
	Dir string
	// Wrapper is a command in front of the gateway's, such as a shell that sets limits.
	Wrapper []string
}

// Gateway is a gateway that runs.
type Gateway struct {
	Dir        string
	ConfigFile string
	Authority  *Authority
	Log        *Log

	options   Options
	binary    string
	cmd       *exec.Cmd
	addresses map[string]string
	exited    chan struct{}
	exit      error // once exited is closed
}

var protocols = []string{"pop3", "pop3s", "smtp", "submission", "submissions"}

// Start starts a gateway and waits until it listens on all its ports. It is stopped when the
// test ends; a gateway that does not end in time, that leaves a process behind, or whose log
// tells of a race or a panic, fails the test.
func Start(t *testing.T, o Options) *Gateway {
	t.Helper()
	g := Prepare(t, o)
	g.Run(t)
	return g
}

// Prepare makes a gateway's folder, certificates and configuration, and does not start it.
func Prepare(t *testing.T, o Options) *Gateway {
	t.Helper()
	if o.Kind == "" {
		o.Kind = Race
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Stores == nil {
		o.Stores = []Mapping{MaildirStore("mail", Domain)}
	}
	g := &Gateway{Dir: o.Dir, ConfigFile: filepath.Join(o.Dir, "dipylon.yaml"), Authority: NewAuthority(t), options: o, binary: Binary(t, o.Kind), addresses: map[string]string{}}
	g.Configure(t, nil)
	return g
}

// MaildirStore is the configuration of a store of the built-in kind. Its root is the folder of
// the store's name.
func MaildirStore(name string, domains ...string) Mapping {
	return Mapping{"name": name, "plugin": "maildir", "domains": domains, "settings": Mapping{"root": name}}
}

// Configure changes the options and writes the configuration file. The gateway hears of it with
// [Gateway.Reload].
func (g *Gateway) Configure(t *testing.T, change func(*Options)) {
	t.Helper()
	if change != nil {
		change(&g.options)
	}
	var listeners []Mapping
	for _, p := range protocols {
		if g.addresses[p] == "" {
			g.addresses[p] = listenerAddress(t)
		}
		listener := Mapping{"protocol": p, "address": g.addresses[p]}
		maps.Copy(listener, g.options.Listener)
		maps.Copy(listener, g.options.Listeners[p])
		listeners = append(listeners, listener)
	}
	file := Mapping{
		"hostname":  "gateway.example",
		"state":     "state",
		"log":       Mapping{"level": "debug", "format": "json"},
		"tls":       Mapping{"certificate": g.Authority.CertFile, "key": g.Authority.KeyFile},
		"listeners": listeners,
		"stores":    g.options.Stores,
	}
	if g.options.PlaintextLogin {
		file["pop3"] = Mapping{"plaintext_login": true}
		file["submission"] = Mapping{"plaintext_login": true}
	}
	maps.Copy(file, g.options.More)
	content, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.ConfigFile, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Command is a command of the binary, run in the gateway's folder.
func (g *Gateway) Command(args ...string) *exec.Cmd {
	return g.command(append([]string{g.binary}, args...))
}

func (g *Gateway) command(argv []string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = g.Dir
	// The race detector sleeps for a second at a process's end unless it is told not to.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Run starts the process. A gateway that has ended can be run again: it has the same folder and
// the same ports.
func (g *Gateway) Run(t *testing.T) {
	t.Helper()
	argv := append(slices.Clone(g.options.Wrapper), g.binary, "serve", "--config", g.ConfigFile)
	cmd := g.command(argv)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.cmd, g.Log, g.exited = cmd, newLog(), make(chan struct{})
	go func(log *Log, exited chan struct{}) {
		log.collect(pipe)
		g.exit = cmd.Wait()
		close(exited)
	}(g.Log, g.exited)
	log := g.Log
	t.Cleanup(func() {
		if !g.Ended() {
			g.end(t)
		}
		log.judge(t)
	})
	g.awaitListeners(t)
}

// awaitListeners reads from the log which addresses the listeners have.
func (g *Gateway) awaitListeners(t *testing.T) {
	t.Helper()
	g.addresses = map[string]string{}
	_, ok := g.Log.find(0, patience, func(e Entry) bool {
		protocol, address := e.Field("protocol"), e.Field("address")
		if strings.Contains(e.Text, "listening") && slices.Contains(protocols, protocol) {
			if _, _, err := net.SplitHostPort(address); err == nil {
				g.addresses[protocol] = address
			}
		}
		return len(g.addresses) == len(protocols)
	})
	if !ok {
		t.Fatalf("the gateway does not listen; its log:\n%s", g.Log.tail(60))
	}
}

// Address is where a protocol's listener is.
func (g *Gateway) Address(protocol string) string { return g.addresses[protocol] }

// Port is the port of a protocol's listener.
func (g *Gateway) Port(protocol string) string {
	_, port, _ := net.SplitHostPort(g.addresses[protocol])
	return port
}

// PID is the gateway's process id.
func (g *Gateway) PID() int { return g.cmd.Process.Pid }

// Plugins are the process ids of the gateway's plugins.
func (g *Gateway) Plugins() []int { return Children(g.PID()) }

// Plugin is the one plugin's process id. It waits for a plugin that is being started.
func (g *Gateway) Plugin(t *testing.T) int {
	t.Helper()
	var pids []int
	Eventually(t, patience, "one plugin process", func() bool {
		pids = g.Plugins()
		return len(pids) == 1
	})
	return pids[0]
}

// Signal sends a signal to the gateway.
func (g *Gateway) Signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %s: %v", s, err)
	}
}

// Reload makes the gateway read its configuration again, and waits until it has.
func (g *Gateway) Reload(t *testing.T) {
	t.Helper()
	place := g.Log.Len()
	g.Signal(t, syscall.SIGHUP)
	g.Log.Wait(t, place, "the configuration is reloaded")
}

// Ended says whether the process has ended.
func (g *Gateway) Ended() bool {
	select {
	case <-g.exited:
		return true
	default:
		return false
	}
}

// WaitExit waits for the process to end and returns how it did.
func (g *Gateway) WaitExit(t *testing.T) error {
	t.Helper()
	select {
	case <-g.exited:
		return g.exit
	case <-time.After(patience):
		t.Fatal("the gateway does not end")
		return nil
	}
}

// Stop ends the gateway as an administrator does, and wants that to succeed.
func (g *Gateway) Stop(t *testing.T) {
	t.Helper()
	children := g.Plugins()
	g.Signal(t, syscall.SIGTERM)
	if err := g.WaitExit(t); err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
	g.NobodyLeft(t, children)
}

// NobodyLeft wants that these processes end by themselves, soon.
func (g *Gateway) NobodyLeft(t *testing.T, pids []int) {
	t.Helper()
	Eventually(t, patience, fmt.Sprintf("the end of the processes %v", pids), func() bool {
		return !slices.ContainsFunc(pids, Alive)
	})
}

// end stops the gateway at the end of a test, by force if need be.
func (g *Gateway) end(t *testing.T) {
	children := g.Plugins()
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exited:
		var exit *exec.ExitError
		if errors.As(g.exit, &exit) {
			t.Errorf("the gateway ended with %v", g.exit)
		}
	case <-time.After(patience):
		t.Errorf("the gateway does not end after SIGTERM")
		g.cmd.Process.Kill()
		<-g.exited
	}
	for _, pid := range children {
		if Alive(pid) {
			Eventually(t, patience, fmt.Sprint("the end of plugin ", pid), func() bool { return !Alive(pid) })
		}
	}
}

// judge fails the test where the log tells of a race or a panic, and shows the log of a test
// that has failed.
func (l *Log) judge(t *testing.T) {
	entries := l.Since(0)
	for n, e := range entries {
		if strings.Contains(e.Text, "DATA RACE") || strings.Contains(e.Text, "panic:") || strings.Contains(e.Text, "fatal error:") {
			t.Errorf("in the gateway's log: %s\n%s", e.Text, stackBehind(entries[n+1:]))
		}
	}
	if t.Failed() {
		t.Logf("the gateway's log:\n%s", l.tail(300))
	}
}

// stackBehind is what a process said of its goroutines: the lines that hold no fields of a protocol or a call,
// at most 100.
func stackBehind(entries []Entry) string {
	var b strings.Builder
	for lines := 0; len(entries) > 0 && lines < 100; entries = entries[1:] {
		e := entries[0]
		if e.Fields == nil {
			fmt.Fprintln(&b, e.Text)
		} else if e.Field("plugin") != "" {
			fmt.Fprintln(&b, e.Field("message"))
		} else {
			continue
		}
		lines++
	}
	return b.String()
}

// Store is the configuration of the n-th store.
func (g *Gateway) Store(n int) Mapping { return g.options.Stores[n] }
