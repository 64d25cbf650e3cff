//go:build bench && linux

package bench

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// Where mail goes that no other server has a part in.
const (
	deadDomain = "dead.example" // to a port where nobody listens
	nearDomain = "near.example" // to a sink of its own
)

// another is a gateway as the world's, with a folder and a sink of its own.
func (w *smtpWorld) another(t *testing.T, more ...harness.Mapping) *smtpWorld {
	t.Helper()
	a := &smtpWorld{load: w.load, sink: peers.FreeAddress(t), folder: t.TempDir(), more: more}
	a.startGateway(t)
	a.gateway.stopAtEnd(t)
	return a
}

// large is a message of 50 MB that goes through the queue, and one that goes into a mailbox: by how much the memory
// of the gateway and its plugin grows. Each time it is a new gateway, which has taken one short message in.
func (w *smtpWorld) large(t *testing.T) {
	const size = 50_000_000
	for _, r := range []struct{ what, to string }{{"relayed", farDomain}, {"into a mailbox", domain}} {
		var growth []float64
		for range *pairs {
			a := w.another(t)
			octets, err := a.growth(r.to, size)
			if err != nil {
				t.Fatal(err)
			}
			growth = append(growth, float64(octets)/1e6)
			a.gateway.stop()
		}
		fmt.Printf("| growth of memory by a message of 50 MB, %s | %s MB | | | ≤ 16 MB | %.1f to %.1f MB |\n",
			r.what, number(median(growth)), slices.Min(growth), slices.Max(growth))
	}
}

func (w *smtpWorld) growth(to string, size int) (int64, error) {
	m := w.ours()
	one := func(size int) error {
		args := []string{"-size", fmt.Sprint(size)}
		if to == farDomain {
			args = append(args, "-sink", w.sink)
		}
		_, err := w.send(m, load{clients: 1, messages: 1}, to, args...)
		return err
	}
	if err := one(4096); err != nil {
		return 0, err
	}
	if err := forgetPeaks(m.pid); err != nil {
		return 0, err
	}
	before, _, err := resident(m.pid)
	if err != nil {
		return 0, err
	}
	if err := one(size); err != nil {
		return 0, err
	}
	_, most, err := resident(m.pid)
	return most - before, err
}

// fresh is a gateway with 100,000 messages for a destination that is dead: how soon a fresh message to a living one
// leaves, beside the same gateway without them, and how much memory it has.
func (w *smtpWorld) fresh(t *testing.T) {
	full, empty := w.another(t), w.another(t)
	full.fill(t, 100_000)
	leaves := func(w *smtpWorld) side {
		return side{"Dipylon", func() (float64, error) {
			const rounds = 100
			var took []float64
			for range rounds {
				r, err := w.send(w.ours(), load{clients: 1, messages: 1}, farDomain, "-sink", w.sink)
				if err != nil {
					return 0, err
				}
				took = append(took, r.Relayed*1000)
			}
			return median(took), nil
		}}
	}
	measured(t, leaves(full))
	measured(t, leaves(empty))
	compare(t, row{what: "a fresh message leaves, 100,000 waiting for a dead destination, beside none", unit: "ms", goal: 1, atMost: true}, leaves(full), leaves(empty))
	octets, err := share(full.gateway.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("| memory with 100,000 waiting, both processes | %s MB | | | ≤ 150 MB | |\n", number(float64(octets)/1e6))
}

// start is how soon a gateway listens for which 1,000,000 messages wait.
func (w *smtpWorld) start(t *testing.T) {
	full := w.another(t)
	full.fill(t, 1_000_000)
	var took []float64
	for range *pairs {
		full.gateway.stop()
		begin := time.Now()
		full.startGateway(t)
		took = append(took, time.Since(begin).Seconds())
	}
	fmt.Printf("| start until it listens, 1,000,000 waiting | %s s | | | ≤ 2 s | %.2f to %.2f s |\n",
		number(median(took)), slices.Min(took), slices.Max(took))
}

// fill has a gateway stopped, gives it as many messages that wait as it is to have, and starts it again. They are
// copies of one that it has taken in itself.
func (w *smtpWorld) fill(t *testing.T, many int) {
	t.Helper()
	if _, err := w.send(w.ours(), load{clients: 1, messages: 1}, deadDomain); err != nil {
		t.Fatal(err)
	}
	w.gateway.stop()
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), Folder: filepath.Join(w.folder, "state"), Alone: true})
	if err != nil {
		t.Fatal(err)
	}
	const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1), one(id) AS (SELECT max(message) FROM spool_recipients WHERE destination = $2) "
	err = db.Write(t.Context(), func(tx *state.Tx) error {
		for _, statement := range []string{
			`INSERT INTO spool_messages (id, key, envelope, received, expires, size, recipients, place, body)
SELECT one.id + i, 'waiting-' || (one.id + i), envelope, received, expires, size, recipients, place, body FROM n, one JOIN spool_messages m ON m.id = one.id`,
			`INSERT INTO spool_recipients (message, number, address, parameters, destination, shard, rank, state, due, attempts, outcome)
SELECT one.id + i, number, address, parameters, destination, shard, rank, 0, coalesce(due, 1), attempts, outcome FROM n, one JOIN spool_recipients r ON r.message = one.id`,
		} {
			if _, err := tx.Exec(numbers+statement, many, "route:dead"); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	w.startGateway(t)
}

// nodes are two gateways on one PostgreSQL server, beside one Postfix: each takes half of the messages, and relays
// what it gets to.
func (w *smtpWorld) nodes(t *testing.T) {
	url := peers.StartPostgres(t).Database(t)
	shared := harness.Mapping{"state": url, "state_folder": "own"}
	one, two := w.another(t, shared), w.another(t, shared)
	// Either may relay what the other has taken in: each domain has one sink.
	for _, a := range []*smtpWorld{one, two} {
		a.gateway.stop()
		a.sink, a.near = one.sink, two.sink
		a.startGateway(t)
	}
	const messages = 3000
	ours := side{"Dipylon", func() (float64, error) {
		var wg sync.WaitGroup
		var took [2]float64
		var errs [2]error
		for i, a := range []*smtpWorld{one, two} {
			wg.Go(func() {
				to, sink := farDomain, a.sink
				if i == 1 {
					to, sink = nearDomain, a.near
				}
				r, err := a.send(a.ours(), load{clients: 4, messages: messages / 2}, to, "-kept", "-sink", sink)
				took[i], errs[i] = r.Relayed, err
			})
		}
		wg.Wait()
		return max(took[0], took[1]), errors.Join(errs[:]...)
	}}
	theirs := side{"Postfix", func() (float64, error) {
		m := w.theirs()
		defer m.clear(t)
		r, err := w.send(m, load{clients: 8, messages: messages}, farDomain, "-kept", "-sink", w.sink)
		return r.Relayed, err
	}}
	measured(t, ours)
	measured(t, theirs)
	compare(t, row{what: "3,000 messages accepted and relayed, PostgreSQL, two gateways beside one Postfix", unit: "s", goal: 1, atMost: true}, ours, theirs)
}
