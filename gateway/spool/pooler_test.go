//go:build linux

package spool

import (
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/peers"
)

// TestBehindPooler: behind a real pooler, in each of its modes, gateways take mail in and hand it out, each what the other one has taken
// in, too, and contents of every kind are whole while their partitions come and go.
func TestBehindPooler(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := peers.SharedPostgres(t)
			o := state.Options{Log: zerolog.Nop(), URL: peers.StartPgBouncer(t, server, mode).Before(t, server.OwnDatabase(t)), Connections: 2}
			var passing turning
			hears := func(o *Options) { o.deaf, o.Poll = false, 50*time.Millisecond }
			a, b := start(t, o, slow, passing.set, unread, hears), start(t, o, slow, passing.set, unread, hears)
			tick(t, a, b)
			accept(t, a, to("of-a", "x@"+nameOf(b)), "text")
			if name := next(t, b); name != nameOf(b) {
				t.Fatalf("%s is handed out", name)
			}
			settle(t, b, all(one(t, b, nameOf(b)), Outcome{State: Delivered}))
			succeed(t, b.Close())
			tick(t, a)
			acceptSizes(t, a)
			if !isPassing(t, a, "large") {
				t.Error("there is no partition")
			}
			passing.turn(t, a)
			if left := partitionsOf(t, a); len(left) != 1 {
				t.Errorf("%+v are left", left)
			}
			deliverSizes(t, a)
		})
	}
}

// TestPauseBehindPooler: who reads for long keeps a partition from being detached behind a pooler, too, and nobody waits for long.
func TestPauseBehindPooler(t *testing.T) {
	t.Parallel()
	server := peers.SharedPostgres(t)
	o := state.Options{Log: zerolog.Nop(), URL: peers.StartPgBouncer(t, server, "transaction").Before(t, server.OwnDatabase(t))}
	var passing turning
	s := start(t, o, passing.set, unread)
	acceptSizes(t, s)
	var meanwhile *Delivery
	err := s.db.Read(t.Context(), func(tx *state.Tx) error {
		_, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_contents LIMIT 1")
		passing.older(t, s)
		passing.ahead.Add(int64(s.o.Partition))
		if err := s.partitions.round(t.Context()); err == nil {
			t.Error("it is detached")
		}
		accept(t, s, to("meanwhile", "a@meanwhile.example"), "text")
		if meanwhile = one(t, s, "meanwhile.example"); textOf(t, meanwhile) != "text" {
			t.Error("what comes meanwhile is not there")
		}
		return err
	})
	succeed(t, err)
	settle(t, s, all(meanwhile, Outcome{State: Delivered}))
	passing.turn(t, s)
	if left := partitionsOf(t, s); len(left) != 1 {
		t.Errorf("%+v are left", left)
	}
	deliverSizes(t, s)
}
