//go:build linux

package spool

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

// shared are the options of an empty PostgreSQL database.
func shared(t testing.TB) state.Options {
	t.Helper()
	return state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)}
}

// slow lets leases be long enough that nothing happens by itself: the test says when.
func slow(o *Options) { o.Lease, o.Poll = time.Hour, time.Hour }

// unpartitioned has contents lie at once where those lie that wait.
func unpartitioned(o *Options) { o.Partition = -1 }

// tick is what a node does three times in the time of its lease.
func tick(t *testing.T, nodes ...*Spool) {
	t.Helper()
	for _, s := range nodes {
		if err := s.leases.tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// kill lets others think that a node has given no sign of life for the time of its lease.
func kill(t *testing.T, s *Spool) {
	t.Helper()
	err := s.db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_nodes SET until = 1 WHERE node = $1", s.leases.node)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestShards: nodes share the shards out, each has half of them, and one that ends leaves its half.
func TestShards(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a := start(t, o, slow)
	if n := len(a.leases.mine()); n != shards {
		t.Fatalf("the only node has %d shards", n)
	}
	b := start(t, o, slow)
	tick(t, a, b)
	both := slices.Concat(a.leases.mine(), b.leases.mine())
	slices.Sort(both)
	if len(a.leases.mine()) != shards/2 || len(slices.Compact(both)) != shards {
		t.Errorf("they have %v and %v", a.leases.mine(), b.leases.mine())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	tick(t, a)
	if n := len(a.leases.mine()); n != shards {
		t.Errorf("the other one's end leaves it %d shards", n)
	}
}

// settable is a database whose server's clock a test sets: what asks for the time finds a function of its schema first.
func settable(t *testing.T) (o state.Options, set func(ahead time.Duration)) {
	t.Helper()
	o = shared(t)
	db := databases.Open(t, o)
	do := func(statement string, args ...any) {
		t.Helper()
		succeed(t, db.Write(t.Context(), func(tx *state.Tx) error {
			_, err := tx.Exec(statement, args...)
			return err
		}))
	}
	do("CREATE TABLE clock (ahead BIGINT NOT NULL)")
	do("INSERT INTO clock VALUES (0)")
	do("CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT pg_catalog.clock_timestamp() + ahead * interval ''1 microsecond'' FROM clock'")
	o.URL += ",pg_catalog"
	return o, func(ahead time.Duration) { do("UPDATE clock SET ahead = $1", ahead.Microseconds()) }
}

// passed lets the time of a lease have passed since a node has noticed that the server's clock was set.
func passed(t *testing.T, s *Spool) {
	t.Helper()
	if s.leases.jump == nil || !s.leases.jump.seen {
		t.Fatal("that the clock was set is not noticed")
	}
	s.leases.jump.at -= s.o.Lease
}

// TestServersClockIsSet: when the database server's clock is set, ahead or back, nobody who lives loses shards by it, and who is dead by
// then, or dies meanwhile, loses them after the time of a lease.
func TestServersClockIsSet(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"ahead": 5 * time.Hour, "back": -5 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, set := settable(t)
			var log strings.Builder
			a := start(t, o, slow, logged(&log))
			b, dead := start(t, o, slow), start(t, o, slow)
			tick(t, a, b, dead, a)
			kept := b.leases.mine()
			set(ahead)
			tick(t, a)
			if off := a.Now().Sub(time.Now().Add(ahead)).Abs(); off > time.Minute {
				t.Errorf("the time is off by %s", off)
			}
			tick(t, b, a)
			if n := count(t, a, "spool_nodes"); n != 3 {
				t.Fatalf("%d gateways are left", n)
			}
			passed(t, a)
			tick(t, a)
			if n := count(t, a, "spool_nodes"); n != 2 || !strings.Contains(log.String(), dead.leases.node) || strings.Contains(log.String(), b.leases.node) {
				t.Errorf("%d gateways are left: %s", n, &log)
			}
			if !slices.Equal(b.leases.mine(), kept) || !slices.Equal(held(t, b), kept) {
				t.Errorf("the living one has %v, by the database %v, and had %v", b.leases.mine(), held(t, b), kept)
			}
			if a.leases.jump != nil || strings.Count(log.String(), "the clock of the database server was set") != 1 {
				t.Errorf("it is not over: %s", &log)
			}
			kill(t, b)
			tick(t, a)
			if n := len(a.leases.mine()); n != shards {
				t.Errorf("afterwards it has %d shards of one that has died", n)
			}
		})
	}
}

// held are the shards that are a node's by the database.
func held(t *testing.T, s *Spool) (all []int64) {
	t.Helper()
	succeed(t, s.db.Read(t.Context(), func(tx *state.Tx) error {
		all = nil
		return tx.Query(func(scan func(...any) error) error {
			var shard int64
			err := scan(&shard)
			all = append(all, shard)
			return err
		}, "SELECT shard FROM spool_shards WHERE node = $1 ORDER BY shard", s.leases.node)
	}))
	return all
}

// TestFailOver: where the database server has lost the last commits, as a standby may, a node does not go on believing that it has a shard
// that the server says is one's that is gone: it takes it anew, and its mail goes on.
func TestFailOver(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	a := start(t, shared(t), slow, logged(&log))
	before := a.leases.mine()
	succeed(t, a.db.Write(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Exec("UPDATE spool_shards SET node = 'gone', epoch = epoch - 1 WHERE shard = 5")
		return err
	}))
	tick(t, a)
	if mine := a.leases.mine(); !slices.Equal(mine, before) || !slices.Equal(held(t, a), before) || len(before) != shards {
		t.Errorf("it has %v, by the database %v, and had %v", mine, held(t, a), before)
	}
	if n := strings.Count(log.String(), "the database does not know"); n != 1 {
		t.Errorf("it is told %d times: %s", n, &log)
	}
	succeed(t, a.db.Write(t.Context(), func(tx *state.Tx) error { return a.leases.verify(tx, 5, a.leases.epochs[5].Load()) }))
	tick(t, a)
	if n := strings.Count(log.String(), "the database does not know"); n != 1 {
		t.Errorf("it is told %d times afterwards: %s", n, &log)
	}
}

// TestServersTimeIsSteady: what is known of the server's clock is changed by as much as an answer says that it is wrong.
func TestServersTimeIsSteady(t *testing.T) {
	first := time.UnixMicro(1_800_000_000_000_000)
	for name, at := range map[string]struct{ said, asked, answered, want time.Duration }{
		"the same":            {10 * time.Second, 9900 * time.Millisecond, 10100 * time.Millisecond, 0},
		"read at once":        {10 * time.Second, 10 * time.Second, 12 * time.Second, 0},
		"read at the end":     {12 * time.Second, 10 * time.Second, 12 * time.Second, 0},
		"an hour ahead":       {time.Hour + 11*time.Second, 10 * time.Second, 12 * time.Second, time.Hour - time.Second},
		"an hour back":        {-time.Hour + 11*time.Second, 10 * time.Second, 12 * time.Second, -time.Hour + time.Second},
		"a little ahead":      {10*time.Second + time.Millisecond, 9 * time.Second, 10 * time.Second, time.Millisecond},
		"back, and soon said": {9 * time.Second, 10 * time.Second, 10 * time.Second, -time.Second},
	} {
		var c *serverTime
		c = c.corrected(first, -time.Second, time.Second).corrected(first.Add(at.said), at.asked, at.answered)
		if off := c.said.Add(at.answered - c.at).Sub(first.Add(at.answered)); off != at.want {
			t.Errorf("%s: it is set by %s, not %s", name, off, at.want)
		}
	}
}

// TestServersTime: mail is due by the server's clock, which is asked at each renewal and goes on between them, and an
// administrator's spool has it, too.
func TestServersTime(t *testing.T) {
	t.Parallel()
	s := start(t, shared(t), slow)
	beside, err := Attach(Options{Log: zerolog.Nop(), DB: s.o.DB, Folder: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close() //nolint:errcheck // it has no lease
	if beside.leases.clock.Load() == nil {
		t.Error("the administrator's spool has not asked")
	}
	future := time.Now().Add(26 * time.Hour)
	s.leases.clock.Store(&serverTime{said: future, at: sinceBoot() - time.Hour})
	if off := s.Now().Sub(future.Add(time.Hour)); off < 0 || off > time.Minute {
		t.Errorf("it is off by %s", off)
	}
	tick(t, s)
	if off := time.Until(s.Now()).Abs(); off > time.Minute {
		t.Errorf("the server's time is off by %s", off)
	}
}

// TestDifferentTransfer: gateways by which not the same mail leaves are told so at their start and when that changes, once,
// and those of an earlier version, which do not say it, are left alone.
func TestDifferentTransfer(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var logs [3]strings.Builder
	node := func(n int, leaves string) *Spool {
		return start(t, o, slow, logged(&logs[n]), func(o *Options) { o.Leaves = leaves })
	}
	const differ, agree = "another transfer mode", "the same transfer mode again"
	told := func(n int, what string, want int) {
		t.Helper()
		if got := strings.Count(logs[n].String(), what); got != want {
			t.Errorf("gateway %d has told of %q %d times, not %d: %s", n, what, got, want, &logs[n])
		}
	}
	node(0, "")
	a := node(1, "everything")
	told(1, differ, 0)
	b := node(2, "nothing")
	told(2, differ, 1)
	tick(t, a, a, b)
	told(1, differ, 1)
	told(2, differ, 1)
	b.Tell("everything")
	tick(t, b, a, b)
	told(1, agree, 1)
	told(2, agree, 1)
	told(0, "transfer mode", 0)
	a.Tell("nothing")
	b.Tell("nothing")
	tick(t, b)
	if _, others, err := a.leases.look(t.Context()); others != "" || err != nil {
		t.Errorf("what the gateway has said before is taken for another one's: %q, %v", others, err)
	}
}

// TestOtherNodes: a node works on what another one has taken in for its shards, and on nothing else.
func TestOtherNodes(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a, b := start(t, o, slow), start(t, o, slow)
	tick(t, a, b)
	m := to("k")
	for i := range 20 {
		m.Recipients = append(m.Recipients, to("", fmt.Sprintf("a@d%d.example", i)).Recipients...)
	}
	accept(t, a, m, "text")
	seen := make(map[string]bool)
	for _, s := range []*Spool{a, b} {
		if err := s.schedule.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		for {
			d := readyNow(t, s)
			if d == nil {
				break
			}
			if seen[d.name] || !s.leases.has(shardOf(d.name)) {
				t.Errorf("%s is another node's", d.name)
			}
			seen[d.name] = true
			settle(t, s, all(one(t, s, d.name), Outcome{State: Delivered}))
			s.Done(d.name, time.Time{})
		}
	}
	if len(seen) != 20 || count(t, a, "spool_messages") != 0 {
		t.Errorf("%d destinations were delivered to, and %d messages are left", len(seen), count(t, a, "spool_messages"))
	}
	if _, err := a.Claim(t.Context(), nameOf(b), 1); !errors.Is(err, ErrLease) {
		t.Errorf("a claim of another node's: %v", err)
	}
}

// TestManyFromOthers (I11): however many destinations have mail that others have taken in, a look reads no more of them
// than memory has a place for. All of them are given out.
func TestManyFromOthers(t *testing.T) {
	t.Parallel()
	const many, bound = 100, 10
	db := &counted{database: databases.Open(t, shared(t))}
	s, err := open(t.Context(), Options{Log: zerolog.Nop(), Folder: t.TempDir(), Lease: time.Hour, Poll: time.Hour, Reserve: 1, Destinations: bound, deaf: true}, db)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test is about something else
	<-s.swept
	nothing(t, s)
	other, err := prepare(Options{Log: zerolog.Nop(), Folder: t.TempDir()}, db.database)
	if err != nil {
		t.Fatal(err)
	}
	for key := range many / bound {
		m := to(fmt.Sprint(key))
		for i := range bound {
			m.Recipients = append(m.Recipients, to("", fmt.Sprintf("a@d%d.%d.example", i, key)).Recipients...)
		}
		accept(t, other, m, "text")
	}
	seen := make(map[string]bool)
	look := func() {
		t.Helper()
		before := db.queries.Load()
		if err := s.schedule.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if asked := db.queries.Load() - before; asked != 1 {
			t.Errorf("a look reads %d pages", asked)
		}
	}
	for round := range many / bound {
		if round%2 == 0 { // what one has left is found without another
			look()
		}
		if n := inMemory(s); n > 2*bound {
			t.Errorf("%d destinations are in memory", n)
		}
		for range bound {
			name := next(t, s)
			seen[name] = true
			s.Done(name, time.Now().Add(time.Hour))
		}
		refreshed(t, s, "memory has no more than its bound", func() bool { return inMemory(s) <= bound })
	}
	if len(seen) != many {
		t.Errorf("%d destinations were given out", len(seen))
	}
	nothing(t, s)
}

// nameOf is a destination that a node has.
func nameOf(s *Spool) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("n%d.example", i); s.leases.has(shardOf(name)) {
			return name
		}
	}
}

// TestFrozen: a node that was frozen past its lease has lost what it had in flight: another one has it,
// as uncertain, and what the first one learns after it has thawed counts for nothing.
func TestFrozen(t *testing.T) {
	t.Parallel()
	o := shared(t)
	frozen, other := start(t, o, slow), start(t, o, slow)
	tick(t, frozen, other)
	name := nameOf(frozen)
	accept(t, other, to("k", "a@"+name), "text")
	d := one(t, frozen, name)
	if !d.Held() {
		t.Error("it is not held while the node lives")
	}
	kill(t, frozen)
	tick(t, other)
	taken := one(t, other, name)
	if got := taken.Recipients[0]; taken.Key != "k" || got.State != Uncertain || got.Attempts != 1 {
		t.Errorf("the other node has %+v", got)
	}
	for what, r := range map[string]Result{
		"an outcome": all(d, Outcome{State: Failed, At: time.Now()}), "nothing": {Delivery: d},
	} {
		if err := frozen.Settle(t.Context(), r); !errors.Is(err, ErrLease) {
			t.Errorf("thawed, it settles %s: %v", what, err)
		}
	}
	accept(t, other, to("l", "a@"+name), "text")
	if _, err := frozen.Claim(t.Context(), name, 1); !errors.Is(err, ErrLease) {
		t.Errorf("thawed, it claims: %v", err)
	}
	tick(t, frozen) // it notices
	if d.Held() || len(frozen.leases.mine()) != 0 {
		t.Errorf("thawed, it has %d shards", len(frozen.leases.mine()))
	}
	settle(t, other, all(taken, Outcome{State: Delivered, At: time.Now()}))
	tick(t, other, frozen)
	if n := len(frozen.leases.mine()); n != shards/2 {
		t.Errorf("back again it has %d shards", n)
	}
}

// TestInFlightStays: a shard whose mail is being delivered stays with its node when another one joins, although its destination was
// given back. If all shards are so, some go to the other one in the end.
func TestInFlightStays(t *testing.T) {
	t.Parallel()
	o := shared(t)
	s := start(t, o, slow)
	var flying [shards]*Delivery
	for left, i := shards, 0; left > 0; i++ {
		name := fmt.Sprintf("d%d.example", i)
		if shard := shardOf(name); flying[shard] == nil {
			accept(t, s, to("k-"+name, "a@"+name), "text")
			flying[shard] = one(t, s, name)
			left--
		}
	}
	other := start(t, o, slow)
	for range stuckMost {
		tick(t, s, other)
	}
	for shard, d := range flying {
		if !d.Held() {
			t.Errorf("shard %d is not held any more", shard)
		}
	}
	const landed = 40
	settle(t, s, all(flying[landed], Outcome{State: Delivered, At: time.Now()}))
	s.leases.stuck = 0
	tick(t, s, other)
	if mine := other.leases.mine(); !slices.Equal(mine, []int64{landed}) {
		t.Errorf("the other one has the shards %v", mine)
	}
	for range stuckMost + 1 {
		tick(t, s, other)
	}
	if n := len(other.leases.mine()); n != shards/2 {
		t.Errorf("the other one has %d shards in the end", n)
	}
}

// TestRunsOut: without an answer from the database a node stops by its own clock.
func TestRunsOut(t *testing.T) {
	t.Parallel()
	s := start(t, shared(t), slow)
	accept(t, s, to("k", "a@x.example"), "text")
	d := one(t, s, "x.example")
	s.leases.until.Store(int64(sinceBoot()))
	if _, err := s.Claim(t.Context(), "x.example", 1); d.Held() || !errors.Is(err, ErrLease) {
		t.Errorf("held: %v, a claim: %v", d.Held(), err)
	}
}

// TestEarlierRun: what was in flight when the gateway ended is uncertain after its next start, and due.
func TestEarlierRun(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		s := start(t, o)
		accept(t, s, to("k", "a@x.example", "b@x.example"), "text")
		accept(t, s, to("l", "a@y.example"), "text")
		d := one(t, s, next(t, s))
		settle(t, s, Result{Delivery: d, Outcomes: []Outcome{{Number: 0, State: Delivered, At: time.Now()}}})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = start(t, o)
		for range 2 {
			name := next(t, s)
			got := one(t, s, name).Recipients
			want, attempts, number := Uncertain, 1, 1
			if name == "y.example" {
				want, attempts, number = Waiting, 0, 0
			}
			if len(got) != 1 || got[0].State != want || got[0].Attempts != attempts || got[0].Number != number {
				t.Errorf("at %s there are %+v", name, got)
			}
		}
	})
}

// TestLastRecipients: two nodes that settle the last two recipients of a message at the same time do not
// leave it behind.
func TestLastRecipients(t *testing.T) {
	t.Parallel()
	o := shared(t)
	a, b := start(t, o, slow), start(t, o, slow)
	tick(t, a, b)
	for i := range 20 {
		accept(t, a, to(fmt.Sprint(i), "x@"+nameOf(a), "y@"+nameOf(b)), "text")
		ended := make(chan error, 2)
		for _, s := range []*Spool{a, b} {
			d := one(t, s, nameOf(s))
			go func() { ended <- s.Settle(t.Context(), all(d, Outcome{State: Delivered, At: time.Now()})) }()
			_ = s.schedule.look(t.Context()) // what was told late is looked for again
		}
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, a, "spool_messages"); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}
