//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/fakedns"
	"github.com/dipylon/dipylon/test/harness"
)

// program is a process that is told what to do by lines.
type program struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// launch starts a program. It ends, when its input does, with the test.
func launch(t *testing.T, env []string, argv ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(argv[0], argv[1:]...)}
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), env...), os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(t) })
	return p
}

// end ends the program, once.
func (p *program) end(t *testing.T) {
	t.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // a signal is no success
}

func (p *program) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func (p *program) line(t *testing.T) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// ask tells the file system something, and wants it done.
func (p *program) ask(t *testing.T, command string) {
	t.Helper()
	p.tell(t, command)
	if answer := p.line(t); answer != "ok" {
		t.Fatalf("%s: %s", command, answer)
	}
}

// domains is how many far domains there are. Each is a destination of its own: one that was put off
// because of a fault leaves others to be tried.
const domains = 60

// near are the local accounts that get mail; the sender is another one.
var near = []string{"max@" + harness.Domain, "zoe@" + harness.Domain}

const from = "erika@" + harness.Domain

// world is a gateway on a file system that loses things, with its senders and its next hop; or another server.
type world struct {
	t       *testing.T
	dir     string // what is not on the file system: ledgers
	mounted string
	state   string   // where the gateway's is
	login   []string // the senders' flags for it
	box     func(address string) (folder string)
	queue   []string // the judge's flags for what waits, where the server is stopped
	ledger  string   // the program
	layer   *program // nil: the disk is the system's
	sink    *program
	senders *program
	gateway *harness.Gateway // nil: it is another server
	faults  *os.File
	begin   time.Time

	strangers []string // the ledgers of senders who do not log in
	guests    []string // addresses of accounts beside those in near

	read    int64 // octets of the senders' ledger
	counted int   // messages in those that were taken
}

// newWorld starts everything. What is on the disk then is durable.
func newWorld(t *testing.T, seed uint64, env ...string) *world {
	t.Helper()
	w := unbegun(t)
	w.layer = launch(t, env, harness.Helper(t, "./test/faults/powercut"), "--backing", t.TempDir(), "--mount", w.mounted, "--seed", fmt.Sprint(seed))
	w.layer.ask(t, "settle") // it is mounted now
	w.gateway = w.prepare(w.startSink(), harness.Mapping{"state": w.state})
	w.addUsers()
	w.gateway.Run(t)
	w.layer.ask(t, "settle")
	w.send(seed, w.gateway.Address("submission"))
	return w
}

// unbegun is a world in which nothing runs.
func unbegun(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), mounted: t.TempDir(), ledger: harness.Helper(t, "./test/faults/ledger")}
	w.state = filepath.Join(w.mounted, "state")
	var err error
	if w.faults, err = os.Create(w.path("faults")); err != nil {
		t.Fatal(err)
	}
	return w
}

// startSink starts the next hop.
func (w *world) startSink(flags ...string) netip.AddrPort {
	w.t.Helper()
	w.sink = launch(w.t, nil, append([]string{w.ledger, "sink", "--record", w.path("sink")}, flags...)...)
	hop, err := netip.ParseAddrPort(w.sink.line(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	return hop
}

// prepare makes a gateway that relays to a next hop.
func (w *world) prepare(hop netip.AddrPort, more harness.Mapping) *harness.Gateway {
	w.t.Helper()
	w.login = []string{"--user", from, "--password", "open " + from}
	w.box = func(address string) string {
		name, _, _ := strings.Cut(address, "@")
		return filepath.Join(w.mounted, "mail", harness.Domain, name)
	}
	w.queue = []string{"--spool", w.state}
	settings := harness.Mapping{
		"log":      harness.Mapping{"level": "info", "format": "json"},
		"timeouts": harness.Mapping{"drain": "2s"},
		"routes":   []harness.Mapping{{"name": "internet", "domains": []string{"*"}, "to": "mx"}},
	}
	maps.Copy(settings, more)
	relay := harness.Mapping{"resolvers": []string{zone(w.t, hop.Addr())}, "port": hop.Port()}
	if timing, has := more["relay"].(harness.Mapping); has {
		maps.Copy(relay, timing)
	}
	settings["relay"] = relay
	return harness.Prepare(w.t, harness.Options{
		Kind: harness.Plain, PlaintextLogin: true, More: settings,
		Stores: []harness.Mapping{{
			"name": "mail", "plugin": "maildir", "domains": []string{harness.Domain},
			"settings": harness.Mapping{"root": filepath.Join(w.mounted, "mail")},
		}},
	})
}

func (w *world) addUsers() {
	w.t.Helper()
	for _, address := range append([]string{from}, near...) {
		w.gateway.AddUserIn(w.t, filepath.Join(w.mounted, "mail"), address)
	}
}

// send starts the senders, who send to a server.
func (w *world) send(seed uint64, server string) {
	w.t.Helper()
	w.senders = launch(w.t, nil, slices.Concat([]string{
		w.ledger, "send", "--to", server, "--record", w.path("sent"), "--seed", fmt.Sprint(seed),
		"--from", from, "--far", "far.example", "--domains", fmt.Sprint(domains),
	}, w.login, each("--near", near))...)
	w.begin = time.Now()
}

// loopback is the address of a peer that is started again on its port. Clients leave from 127.0.0.1, so here none of
// them takes a port while the server is down.
func loopback() string {
	return fmt.Sprintf("127.77.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff|1)
}

// zone is a DNS server that has the far domains, all of them at one host.
func zone(t *testing.T, hop netip.Addr) (address string) {
	t.Helper()
	var records strings.Builder
	fmt.Fprintf(&records, "mx.far.example. A %s\n", hop)
	for n := range domains {
		fmt.Fprintf(&records, "%d.far.example. MX 10 mx.far.example.\n", n)
	}
	return (&fakedns.Server{Records: records.String()}).Start(t).Address
}

func each(flag string, values []string) (all []string) {
	for _, value := range values {
		all = append(all, flag, value)
	}
	return all
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// tell tells what is done to the gateway.
func (w *world) tell(what string) {
	w.t.Logf("%6.1f s  %-40s %6d taken", time.Since(w.begin).Seconds(), what, w.taken())
}

// note writes down what was done to the gateway, until now, for the judge.
func (w *world) note(b blow, since time.Time) {
	w.t.Helper()
	line, err := json.Marshal(map[string]any{"at": since, "until": time.Now(), "what": b.name, "interrupts": b.interrupts})
	if err == nil {
		_, err = w.faults.Write(append(line, '\n'))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// taken is how many messages the senders know to be taken. What was counted is not read again.
func (w *world) taken() int {
	sent, err := os.Open(w.path("sent"))
	if err != nil {
		return w.counted // it is not there yet
	}
	defer sent.Close()
	lines, err := io.ReadAll(io.NewSectionReader(sent, w.read, math.MaxInt64-w.read))
	if err != nil {
		w.t.Fatal(err)
	}
	lines = lines[:bytes.LastIndexByte(lines, '\n')+1]
	w.read += int64(len(lines))
	w.counted += bytes.Count(lines, []byte(`"outcome":"taken"`))
	return w.counted
}

// kill ends the gateway and its plugins, at once.
func (w *world) kill() {
	w.t.Helper()
	plugins := w.gateway.Plugins()
	_ = syscall.Kill(w.gateway.PID(), syscall.SIGKILL) // it may have ended by itself
	_ = w.gateway.WaitExit(w.t)                        // as it was killed
	for _, pid := range plugins {
		_ = syscall.Kill(pid, syscall.SIGKILL) // most end by themselves, as the gateway does
	}
	w.gateway.NobodyLeft(w.t, plugins)
}

// cut is a power cut: the disk first, then everybody who used it.
func (w *world) cut() {
	w.t.Helper()
	w.layer.ask(w.t, "freeze")
	w.kill()
	w.layer.ask(w.t, "cut")
}

// retry lets everything that waits be tried as soon as a gateway runs. Nobody waits for hours here.
func (w *world) retry() {
	w.t.Helper()
	folder := w.state
	db, err := state.Open(w.t.Context(), state.Options{Log: zerolog.Nop(), Folder: folder, Alone: true})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := spool.Open(w.t.Context(), spool.Options{Log: zerolog.Nop(), DB: db, Folder: filepath.Join(folder, "spool")})
	if err != nil {
		w.t.Fatal(err)
	}
	for at := (spool.Place{}); ; {
		done, err := s.Retry(w.t.Context(), spool.Filter{}, at)
		if err != nil {
			w.t.Fatal(err)
		}
		if at = done.Next; at == (spool.Place{}) {
			break
		}
	}
	if err := s.Close(); err != nil {
		w.t.Error(err)
	}
	if err := db.Close(); err != nil {
		w.t.Error(err)
	}
}

// verdict is what the ledger says.
type verdict struct {
	Messages, Recipients, Delivered, Relayed, Waiting, Reported, Refused, Unknown, Damaged int

	Duplicates map[string]int
	Lost       []string
	Delayed    map[string][]time.Time // by "message recipient"
	Spool      string
}

// judge compares. What waits in the queue is read where no server runs.
func (w *world) judge(stopped bool) (v verdict) {
	w.t.Helper()
	args := []string{"judge", "--sent", w.path("sent"), "--sink", w.path("sink"), "--faults", w.path("faults"), "--reports", w.box(from)}
	for _, ledger := range w.strangers {
		args = append(args, "--sent", ledger)
	}
	for _, address := range slices.Concat(near, w.guests) {
		args = append(args, "--mailbox", address+"="+w.box(address))
	}
	if stopped {
		args = append(args, w.queue...)
	}
	ctx, stop := context.WithTimeout(w.t.Context(), 10*time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, w.ledger, args...).Output()
	if json.Unmarshal(out, &v) != nil {
		w.t.Fatalf("the ledger: %v: %s", err, out)
	}
	return v
}
