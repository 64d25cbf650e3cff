//go:build bench && linux

package bench

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"
)

// TestPOP3 measures the gateway with its Maildir backend beside Dovecot, on the same Maildirs,
// with the same clients. Nothing is deleted. Each server has done the work once before it is
// measured, so that its caches are as full as they get.
func TestPOP3(t *testing.T) {
	w := newWorld(t)
	heading("Dipylon", "Dovecot")
	for _, clients := range []int{1, 8, 32} {
		t.Run(fmt.Sprintf("drain/%d", clients), func(t *testing.T) { w.drain(t, clients) })
	}
	t.Run("busy", w.busy)
	t.Run("cpu", w.cpu)
	t.Run("calls", w.calls)
	t.Run("sessions", w.sessions)
	t.Run("list", w.list)
	t.Run("first", w.first)
	t.Run("idle", w.idle)
	t.Run("large", w.large)
	t.Run("chunks", w.chunks)
}

// both measures the same thing at both servers, after once for their caches.
func (w *world) both(t *testing.T, r row, measure func(server) (float64, error)) {
	t.Helper()
	dovecot := server{w.dovecot.POP3, w.dovecot.POP3S, w.dovecot.CA, w.dovecot.PID()}
	ours := side{"Dipylon", func() (float64, error) { return measure(w.gateway.server()) }}
	theirs := side{"Dovecot", func() (float64, error) { return measure(dovecot) }}
	measured(t, ours)
	measured(t, theirs)
	compare(t, r, ours, theirs)
}

// drainGoal is what the gateway is to do better than Dovecot.
func drainGoal(clients int) float64 {
	if clients == drained {
		return 1.5
	}
	return 1.4
}

// drain is a session in which everything is listed and read, one message after the other.
func (w *world) drain(t *testing.T, clients int) {
	w.drainTo(t, clients, fmt.Sprintf("draining %d messages each, clients: %d", messages, clients), drainGoal(clients))
}

// busy is draining while other work keeps each processor busy.
func (w *world) busy(t *testing.T) {
	for range runtime.NumCPU() {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = loop.Process.Kill(), loop.Wait() }()
	}
	for _, clients := range []int{1, 8} {
		w.drainTo(t, clients, fmt.Sprintf("the same with a busy loop on each processor, clients: %d", clients), 1.2)
	}
}

func (w *world) drainTo(t *testing.T, clients int, what string, goal float64) {
	rounds := max(2, 16/clients)
	w.both(t, row{what: what, unit: "messages/s", goal: goal},
		func(s server) (float64, error) {
			r, err := w.run(s.address, "-work", "drain", "-clients", fmt.Sprint(clients), "-rounds", fmt.Sprint(rounds))
			if err == nil && r.Messages != clients*rounds*messages {
				err = fmt.Errorf("%d messages came", r.Messages)
			}
			if err == nil && clients == drained && (r.Octets != int64(rounds)*w.octets || r.Sum != uint64(rounds)*w.sum) {
				err = fmt.Errorf("what came is not what is there: %d octets, not %d, or others", r.Octets, int64(rounds)*w.octets)
			}
			return float64(r.Messages) / r.Seconds, err
		})
}

// cpu is what the servers use, whatever else the machine does: a server of 32 processes gets a
// larger share of a busy machine than one of two.
func (w *world) cpu(t *testing.T) {
	w.cpuOf(t, "the server's processor time for a message, clients: 32", 0.55)
}

func (w *world) cpuOf(t *testing.T, what string, goal float64) {
	const rounds = 2
	w.both(t, row{what: what, unit: "µs", goal: goal, atMost: true},
		func(s server) (float64, error) {
			before, err := cpuTime(s.pid)
			if err != nil {
				return 0, err
			}
			r, err := w.run(s.address, "-work", "drain", "-clients", fmt.Sprint(drained), "-rounds", fmt.Sprint(rounds))
			if err != nil {
				return 0, err
			}
			after, err := cpuTime(s.pid)
			return float64((after - before).Microseconds()) / float64(r.Messages), err
		})
}

// chunks is a plugin that hands no files over, as one for a store elsewhere: here the Maildir plugin
// without the socket for them. Its gateway is a new one, and takes the other's place.
func (w *world) chunks(t *testing.T) {
	w.noFiles = true
	w.startGateway(t)
	w.drainTo(t, 8, "a plugin without files, clients: 8", 1.1)
	w.cpuOf(t, "a plugin without files, processor time for a message, clients: 32", 0.75)
}

func (w *world) sessions(t *testing.T) {
	const clients, rounds = 16, 50
	w.both(t, row{what: "login, STAT, QUIT, 16 clients", unit: "sessions/s", goal: 4},
		func(s server) (float64, error) {
			r, err := w.run(s.address, "-work", "sessions", "-clients", fmt.Sprint(clients), "-rounds", fmt.Sprint(rounds))
			return float64(r.Sessions) / r.Seconds, err
		})
}

// list is the whole of a session, as a server may do part of the work when the client logs in.
func (w *world) list(t *testing.T) {
	const rounds = 3
	w.both(t, row{what: "login, STAT, UIDL and LIST of 100,000 messages", unit: "a second", goal: 1},
		func(s server) (float64, error) {
			r, err := w.run(s.address, "-work", "list", "-user", bigBox, "-rounds", fmt.Sprint(rounds))
			if err == nil && r.Messages != rounds*many {
				err = fmt.Errorf("%d messages are listed", r.Messages)
			}
			return 1 / (r.Login + r.Work), err
		})
}

// settled is how long idle sessions have been idle when their memory is measured.
const settled = 6 * time.Second

// idle has no TLS in its first row, as the others have none. Clients from outside use it: then
// Dovecot has a process more for each session, and the gateway more state.
func (w *world) idle(t *testing.T) {
	w.both(t, row{what: "memory of 1,000 idle sessions", unit: "MB", goal: 0.1, atMost: true},
		func(s server) (float64, error) { return w.idleMemory(s.pid, "-address", s.address) })
	w.both(t, row{what: "the same, with TLS", unit: "MB", goal: 0.1, atMost: true},
		func(s server) (float64, error) { return w.idleMemory(s.pid, "-address", s.secure, "-ca", s.ca) })
}

func (w *world) idleMemory(pid int, args ...string) (float64, error) {
	end, err := w.hold(append(args, "-clients", fmt.Sprint(boxes))...)
	if err != nil {
		return 0, err
	}
	time.Sleep(settled)
	octets, err := share(pid)
	if e := end(); err == nil {
		err = e
	}
	return float64(octets) / 1e6, err
}

// first is what a client waits for once it is logged in, and what it waits for in all.
func (w *world) first(t *testing.T) {
	for _, r := range []struct {
		what  string
		value func(result) float64
	}{
		{"first message, from the answer to PASS on", func(r result) float64 { return r.Work }},
		{"first message, from the connection on", func(r result) float64 { return r.Login + r.Work }},
	} {
		w.both(t, row{what: r.what, unit: "ms", goal: 1, atMost: true},
			func(s server) (float64, error) {
				result, err := w.run(s.address, "-work", "first", "-rounds", "200")
				return r.value(result) * 1000, err
			})
	}
}

// large is ours alone: Dovecot's process for a session has ended with it. Each gateway is a new
// one, which has not been given memory for other work, and has served one short session.
func (w *world) large(t *testing.T) {
	var growth []float64
	for range *pairs {
		w.startGateway(t)
		octets, err := w.growth(w.gateway.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		growth = append(growth, float64(octets)/1e6)
	}
	fmt.Printf("| growth of memory by RETR of 100 MB | %s MB | | | ≤ 16 MB | %.1f to %.1f MB |\n",
		number(median(growth)), slices.Min(growth), slices.Max(growth))
}

func (w *world) growth(pid int) (int64, error) {
	if _, err := w.run(w.gateway.ports["pop3"], "-work", "first"); err != nil {
		return 0, err
	}
	if err := forgetPeaks(pid); err != nil {
		return 0, err
	}
	before, _, err := resident(pid)
	if err != nil {
		return 0, err
	}
	if _, err := w.run(w.gateway.ports["pop3"], "-work", "first", "-user", largeBox); err != nil {
		return 0, err
	}
	_, most, err := resident(pid)
	return most - before, err
}
