//go:build bench && linux

package bench

import (
	"fmt"
	"testing"
)

// TestSMTP measures the gateway beside Postfix as Debian configures it, with the same clients and on the
// same disk.
func TestSMTP(t *testing.T) {
	w := newSMTPWorld(t)
	t.Run("sync", w.sync)
	heading("Dipylon", "Postfix")
	t.Run("accept", w.accept)
	t.Run("cpu", w.cpu)
	t.Run("relay", w.relay)
	t.Run("boxes", w.boxes)
	t.Run("large", w.large)
	t.Run("fresh", w.fresh)
	t.Run("start", w.start)
	t.Run("nodes", w.nodes)
}

// load is what clients do: so many of them share messages.
type load struct{ clients, messages int }

var loads = []load{{1, 1000}, {8, 3000}, {32, 6000}}

// each measures with all numbers of clients, on new connections and on kept ones.
func (w *smtpWorld) each(t *testing.T, what string, goals map[int]float64, measure func(mta, load, ...string) (float64, error)) {
	for _, l := range loads {
		for _, kept := range []bool{false, true} {
			connections := map[bool]string{false: "new", true: "kept"}[kept]
			t.Run(fmt.Sprintf("%d/%s", l.clients, connections), func(t *testing.T) {
				w.both(t, row{
					what: fmt.Sprintf("%s, clients: %d, connections: %s", what, l.clients, connections), unit: "messages/s", goal: goals[l.clients],
				}, func(m mta) (float64, error) { return measure(m, l, fmt.Sprintf("-kept=%t", kept)) })
			})
		}
	}
}

// both measures the same thing at both servers, each of which has done it once before.
func (w *smtpWorld) both(t *testing.T, r row, measure func(mta) (float64, error)) {
	t.Helper()
	of := func(m mta) side {
		return side{m.name, func() (float64, error) {
			defer m.clear(t)
			return measure(m)
		}}
	}
	ours, theirs := of(w.ours()), of(w.theirs())
	measured(t, ours)
	measured(t, theirs)
	compare(t, r, ours, theirs)
}

// send has all messages of a load acknowledged.
func (w *smtpWorld) send(m mta, l load, to string, more ...string) (result, error) {
	address, login := m.address(to)
	args := []string{
		"-work", "send", "-clients", fmt.Sprint(l.clients), "-messages", fmt.Sprint(l.messages),
		"-domain", to, "-boxes", fmt.Sprint(drained), "-sender", "sender@load.example",
	}
	if login { // and authors are accounts
		args = append(args, "-auth", "-user", author, "-sender", author)
	}
	r, err := runLoad(w.load, address, append(args, more...)...)
	if err == nil && r.Messages != l.messages {
		err = fmt.Errorf("%d messages were acknowledged", r.Messages)
	}
	return r, err
}

// accept is mail that stays in the queue: what is measured is to acknowledge it.
func (w *smtpWorld) accept(t *testing.T) {
	w.each(t, "4 KB accepted, delivery held", map[int]float64{1: 2, 8: 4, 32: 5}, func(m mta, l load, more ...string) (float64, error) {
		r, err := w.send(m, l, heldDomain, more...)
		return float64(l.messages) / r.Seconds, err
	})
}

// cpu is what the servers use to accept mail, whatever else the machine does: a server of many processes gets
// a larger share of a busy one.
func (w *smtpWorld) cpu(t *testing.T) {
	l := load{clients: 32, messages: 3000}
	for _, kept := range []bool{false, true} {
		connections := map[bool]string{false: "new", true: "kept"}[kept]
		w.both(t, row{what: "the server's processor time for a message accepted, clients: 32, connections: " + connections, unit: "µs"},
			func(m mta) (float64, error) {
				before, err := cpuTime(m.pid)
				if err != nil {
					return 0, err
				}
				r, err := w.send(m, l, heldDomain, fmt.Sprintf("-kept=%t", kept))
				if err != nil {
					return 0, err
				}
				after, err := cpuTime(m.pid)
				return float64((after - before).Microseconds()) / float64(r.Messages), err
			})
	}
}

// relay is mail that goes on to the sink while more of it comes in: how fast it is acknowledged, and how long
// it takes until the sink has all of it.
func (w *smtpWorld) relay(t *testing.T) {
	w.each(t, "4 KB accepted, while all of it is relayed", map[int]float64{1: 1.5, 8: 2.5, 32: 4}, func(m mta, l load, more ...string) (float64, error) {
		r, err := w.send(m, l, farDomain, append(more, "-sink", w.sink)...)
		return float64(l.messages) / r.Seconds, err
	})
	t.Run("all", func(t *testing.T) {
		l := load{clients: 8, messages: 3000}
		w.both(t, row{what: "3,000 messages accepted and relayed, clients: 8, connections: kept", unit: "s", goal: 0.5, atMost: true},
			func(m mta) (float64, error) {
				r, err := w.send(m, l, farDomain, "-kept", "-sink", w.sink)
				return r.Relayed, err
			})
	})
}

// boxes is mail for mailboxes, until all of it is there: the gateway acknowledges it then, and Postfix when
// it is in its queue.
func (w *smtpWorld) boxes(t *testing.T) {
	w.each(t, "4 KB into mailboxes", map[int]float64{1: 1.2, 8: 3, 32: 5}, func(m mta, l load, more ...string) (float64, error) {
		r, err := w.send(m, l, domain, more...)
		if err != nil {
			return 0, err
		}
		waited, err := m.arrived(l.messages)
		return float64(l.messages) / (r.Seconds + waited.Seconds()), err
	})
}
