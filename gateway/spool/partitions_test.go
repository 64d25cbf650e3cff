//go:build linux

package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// turning is a clock of a spool, which the test sets forward: partitions get old by it, and nothing happens to them by itself.
type turning struct{ clock }

func (c *turning) set(o *Options) {
	c.clock.set(o)
	o.Partition = 100 * time.Hour
}

// turn has a further partition written into, and what is older dropped, as far as that goes. Transactions of other tests in the same
// database may keep that up, as they do an administrator's.
func (c *turning) turn(t *testing.T, s *Spool) {
	t.Helper()
	for range 2 {
		c.ahead.Add(int64(s.o.Partition))
		err := s.partitions.round(t.Context())
		for deadline := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), "lock timeout") && time.Now().Before(deadline); {
			err = s.partitions.round(t.Context())
		}
		succeed(t, err)
	}
}

// older has a further partition written into, and gives the one before it.
func (c *turning) older(t *testing.T, s *Spool) partition {
	t.Helper()
	c.ahead.Add(int64(s.o.Partition))
	all, err := s.partitions.renew(t.Context())
	if err != nil || len(all) < 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	return all[len(all)-2]
}

func partitionsOf(t *testing.T, s *Spool) []partition {
	t.Helper()
	all, err := s.partitions.list(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// places are where the contents of messages are, by key.
func places(t *testing.T, s *Spool) map[string]int64 {
	t.Helper()
	rows, err := s.db.Query(t.Context(), "SELECT key, place FROM spool_messages")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := make(map[string]int64)
	for rows.Next() {
		var key string
		var place int64
		if err := rows.Scan(&key, &place); err != nil {
			t.Fatal(err)
		}
		all[key] = place
	}
	return all
}

// sizes are contents of every kind, by the key of their messages: one of no octets, one in one piece, one in a single part, and
// one that is put elsewhere in several transactions.
var sizes = map[string]int{"empty": 0, "small": 4 << 10, "part": 200 << 10, "large": restParts*chunkSize + 12345}

// contentOf is the content of a key.
func contentOf(key string) string {
	return strings.Repeat(key+" 0123456789abcdef\n", sizes[key]/16+1)[:sizes[key]]
}

// acceptSizes takes one of each in.
func acceptSizes(t *testing.T, s *Spool) {
	t.Helper()
	for key := range sizes {
		accept(t, s, to(key, "a@"+key+".example"), contentOf(key))
	}
}

// deliverSizes looks whether all of them are there as a whole, and delivers them: nothing is left then.
func deliverSizes(t *testing.T, s *Spool) {
	t.Helper()
	for key := range sizes {
		d := one(t, s, key+".example")
		if got := textOf(t, d); got != contentOf(key) {
			t.Errorf("%s has %d octets in place of %d", key, len(got), sizes[key])
		}
		settle(t, s, all(d, Outcome{State: Delivered}))
	}
	for _, table := range []string{"spool_messages", "spool_recipients", "spool_chunks"} {
		if n := count(t, s, table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}

// unread has nothing handed out from memory.
func unread(o *Options) { o.FreshMessages = -1 }

// TestPassing: contents of mail that passes through are never changed and never deleted, and go with their partition.
func TestPassing(t *testing.T) {
	t.Parallel()
	o := shared(t)
	db, err := state.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var passing turning
	options := Options{Log: zerolog.Nop(), DB: db, Folder: t.TempDir(), Reserve: 1, Poll: time.Hour, deaf: true}
	passing.set(&options)
	s, err := Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	const senders, each = 8, 40
	var sending sync.WaitGroup
	for sender := range senders {
		sending.Go(func() {
			name := fmt.Sprint("d", sender, ".example")
			for n := range each {
				accept(t, s, to(fmt.Sprint(sender, "-", n), "a@"+name), "content")
			}
			var results []Result
			for _, d := range claim(t, s, name, each) {
				results = append(results, all(d, Outcome{State: Delivered}))
			}
			settle(t, s, results...)
		})
	}
	sending.Wait()
	acceptSizes(t, s)
	deliverSizes(t, s)
	slot := partitionsOf(t, s)[0].name()
	// Who closes a connection tells what was done by it.
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	s = start(t, o, passing.set)
	var inserted, changed int64
	err = s.db.QueryRow(t.Context(), `SELECT sum(n_tup_ins), sum(n_tup_upd + n_tup_del) FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND relname IN ('spool_chunks', $1)`, slot).Scan(&inserted, &changed)
	if err != nil || inserted < senders*each+int64(len(sizes)) || changed != 0 {
		t.Errorf("%d rows were inserted, and %d changed or deleted: %v", inserted, changed, err)
	}
	passing.turn(t, s)
	if left := partitionsOf(t, s); len(left) != 1 || left[0].name() == slot || !left[0].usable() || count(t, s, "spool_contents") != 0 {
		t.Errorf("%+v are left", left)
	}
	passing.turn(t, s)
	if left := partitionsOf(t, s); len(left) != 1 {
		t.Errorf("%+v are left", left)
	}
}

// TestRest: contents of what waits when a partition is dropped are put elsewhere, and are there as a whole: for who reads them
// later, who has been given them already, and who is reading.
func TestRest(t *testing.T) {
	t.Parallel()
	var passing turning
	s := start(t, shared(t), passing.set, unread)
	acceptSizes(t, s)
	accept(t, s, to("reading", "a@reading.example"), contentOf("large"))
	accept(t, s, to("claimed", "a@claimed.example"), contentOf("small"))
	accept(t, s, to("damaged", "a@damaged.example"), "text")
	change(t, s, "DELETE FROM spool_contents WHERE content = 'text'")
	reading, claimed := one(t, s, "reading.example"), one(t, s, "claimed.example")
	opened, err := reading.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, chunkSize+7)
	if _, err := io.ReadFull(opened, first); err != nil {
		t.Fatal(err)
	}
	for key, place := range places(t, s) {
		if place != s.partitions.open.Load() {
			t.Errorf("%s is at %d", key, place)
		}
	}
	passing.turn(t, s)
	want := map[string]int64{"empty": inRow, "small": inRow, "part": inChunks, "large": inChunks, "reading": inChunks, "claimed": inRow, "damaged": inRow}
	for key, place := range places(t, s) {
		if place != want[key] {
			t.Errorf("%s is at %d", key, place)
		}
	}
	if left := partitionsOf(t, s); len(left) != 1 {
		t.Errorf("%+v are left", left)
	}
	rest, err := io.ReadAll(opened)
	if string(first)+string(rest) != contentOf("large") || err != nil {
		t.Errorf("who was reading has %d and %d octets, %v", len(first), len(rest), err)
	}
	if textOf(t, claimed) != contentOf("small") {
		t.Error("what was handed out before is another content")
	}
	damaged := one(t, s, "damaged.example")
	isDamaged(t, damaged)
	settle(t, s, all(reading, Outcome{State: Delivered}), all(claimed, Outcome{State: Delivered}), all(damaged, Outcome{State: Failed}))
	deliverSizes(t, s)
}

// TestRestBrokenOff: whatever the last thing is that was done with a partition, the next who looks after it goes on, and nothing
// is lost. What leaves in the middle leaves nothing behind.
func TestRestBrokenOff(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(t *testing.T, s *Spool, old partition){
		"closed": func(t *testing.T, s *Spool, old partition) { succeed(t, s.partitions.close(t.Context(), old)) },
		"one is elsewhere": func(t *testing.T, s *Spool, old partition) {
			succeed(t, s.partitions.close(t.Context(), old))
			page, err := s.partitions.inside(t.Context(), old, 0)
			succeed(t, err)
			succeed(t, s.partitions.rest(t.Context(), old, page[:2]))
		},
		"some parts are elsewhere": func(t *testing.T, s *Spool, old partition) {
			succeed(t, s.partitions.close(t.Context(), old))
			copySome(t, s, old)
		},
		"empty": func(t *testing.T, s *Spool, old partition) {
			succeed(t, s.partitions.close(t.Context(), old))
			left, err := s.partitions.empty(t.Context(), old)
			if succeed(t, err); left {
				t.Error("something is left")
			}
		},
		"detached": func(t *testing.T, s *Spool, old partition) {
			succeed(t, s.partitions.close(t.Context(), old))
			_, err := s.partitions.empty(t.Context(), old)
			succeed(t, err)
			succeed(t, s.partitions.detach(t.Context(), old))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := shared(t)
			var passing turning
			s := start(t, o, passing.set, unread)
			acceptSizes(t, s)
			do(t, s, passing.older(t, s))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = start(t, o, passing.set, unread)
			passing.turn(t, s)
			if left := partitionsOf(t, s); len(left) != 1 {
				t.Errorf("%+v are left", left)
			}
			deliverSizes(t, s)
		})
	}
}

func succeed(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copySome copies parts of the large content, and stops before it says so.
func copySome(t *testing.T, s *Spool, old partition) {
	t.Helper()
	var id ID
	succeed(t, s.db.QueryRow(t.Context(), "SELECT id FROM spool_messages WHERE key = 'large'").Scan(&id))
	stop := errors.New("stop")
	p := &partitions{spool: &Spool{db: &failing{s.db, 2, stop}}}
	if err := p.restLarge(t.Context(), old, resting{id, int64(sizes["large"])}); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if n := count(t, s, "spool_chunks"); n != restParts {
		t.Fatalf("%d parts are copied", n)
	}
}

// failing is a database of which a certain write fails before it is begun.
type failing struct {
	database
	left int
	err  error
}

func (d *failing) Write(ctx context.Context, f func(*state.Tx) error) error {
	if d.left--; d.left == 0 {
		return d.err
	}
	return d.database.Write(ctx, f)
}

// TestLeavesWhileItIsPutElsewhere: a message that leaves when some of its parts were copied leaves none of them.
func TestLeavesWhileItIsPutElsewhere(t *testing.T) {
	t.Parallel()
	var passing turning
	s := start(t, shared(t), passing.set, unread)
	acceptSizes(t, s)
	old := passing.older(t, s)
	succeed(t, s.partitions.close(t.Context(), old))
	copySome(t, s, old)
	deliverSizes(t, s)
}

// TestDroppedForNothingNeeded: what is needed for whatever reason is not dropped, and the error says what brings it back.
func TestDroppedForNothingNeeded(t *testing.T) {
	t.Parallel()
	var passing turning
	s := start(t, shared(t), passing.set, unread)
	acceptSizes(t, s)
	old := passing.older(t, s)
	succeed(t, s.partitions.detach(t.Context(), old))
	err := s.partitions.round(t.Context())
	if err == nil {
		t.Fatal("there is no error")
	}
	_, command, is := strings.Cut(err.Error(), "any more: ")
	command, _, _ = strings.Cut(command, " brings")
	if !is {
		t.Fatal(err)
	}
	change(t, s, command)
	passing.turn(t, s)
	deliverSizes(t, s)
}

// TestNoFurtherPartition: where no further partition can be made, as the role may not any more, what is old is dropped all the
// same, and the newest one is not written into for ever, nor by a gateway that does not look after them.
func TestNoFurtherPartition(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var passing turning
	s, other := start(t, o, slow, passing.set, unread), start(t, o, slow, passing.set, unread)
	refused := errors.New("permission denied")
	able, unable := s.partitions, &partitions{spool: &Spool{o: s.o, leases: s.leases, db: &failing{s.db, 1, refused}}, able: true}
	acceptSizes(t, s)
	passing.ahead.Add(int64(s.o.Partition))
	for _, p := range []*partitions{unable, other.partitions} {
		if err := p.round(t.Context()); p == unable && !errors.Is(err, refused) {
			t.Fatal(err)
		}
		if p.open.Load() == 0 {
			t.Error("it is not used after the first failure")
		}
	}
	passing.ahead.Add(int64(s.o.Partition * overdueAfter))
	succeed(t, other.partitions.round(t.Context()))
	if slot := other.partitions.open.Load(); slot != 0 {
		t.Errorf("the other one goes on with %d", slot)
	}
	unable.spool.db = &failing{s.db, 1, refused}
	if err := unable.round(t.Context()); !errors.Is(err, refused) {
		t.Error(err)
	}
	if left := partitionsOf(t, s); len(left) != 0 {
		t.Errorf("%+v are left", left)
	}
	succeed(t, able.round(t.Context()))
	accept(t, s, to("new", "a@new.example"), "text")
	if !isPassing(t, s, "new") {
		t.Error("it does not begin again")
	}
	settle(t, s, all(one(t, s, "new.example"), Outcome{State: Delivered}))
	deliverSizes(t, s)
}

func isPassing(t *testing.T, s *Spool, key string) bool { return passing(places(t, s)[key]) }

// TestDetachBrokenOffEarly: what waits in a partition that somebody else began to detach is put elsewhere as a whole.
func TestDetachBrokenOffEarly(t *testing.T) {
	t.Parallel()
	var passing turning
	s := start(t, shared(t), passing.set, unread)
	acceptSizes(t, s)
	old := passing.older(t, s)
	err := s.db.Read(t.Context(), func(tx *state.Tx) error {
		_, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_contents LIMIT 1")
		if err := s.partitions.detach(t.Context(), old); err == nil {
			t.Error("it is detached")
		}
		return err
	})
	succeed(t, err)
	passing.turn(t, s)
	if left := partitionsOf(t, s); len(left) != 1 {
		t.Errorf("%+v are left", left)
	}
	deliverSizes(t, s)
}

// TestDetachWaits: who reads for long keeps a partition from being detached, and hinders nobody. What was broken off so is
// finished later, also by another gateway.
func TestDetachWaits(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var passing turning
	s := start(t, o, passing.set, unread)
	accept(t, s, to("gone", "a@gone.example"), "text")
	settle(t, s, all(one(t, s, "gone.example"), Outcome{State: Delivered}))
	acceptSizes(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	begun := make(chan struct{})
	reading.Go(func() {
		err := s.db.Read(t.Context(), func(tx *state.Tx) error {
			_, err := tx.One([]any{new(int)}, "SELECT 1 FROM spool_contents LIMIT 1")
			close(begun)
			<-ctx.Done()
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	passing.older(t, s)
	passing.ahead.Add(int64(s.o.Partition))
	for range 2 { // the second finds it half done
		if err := s.partitions.round(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot be detached") {
			t.Errorf("%v", err)
		}
	}
	if all := partitionsOf(t, s); len(all) != 2 || !all[0].detaching {
		t.Errorf("%+v", all)
	}
	accept(t, s, to("meanwhile", "a@meanwhile.example"), "text")
	if slot := s.partitions.open.Load(); passing.older(t, s).slot != slot || s.partitions.open.Load() <= slot {
		t.Errorf("there is no further partition")
	}
	if textOf(t, one(t, s, "meanwhile.example")) != "text" || textOf(t, one(t, s, "small.example")) != contentOf("small") {
		t.Error("what comes and goes meanwhile is not there")
	}
	cancel()
	reading.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = start(t, o, passing.set, unread)
	succeed(t, s.partitions.round(t.Context()))
	if all := partitionsOf(t, s); slices.ContainsFunc(all, func(p partition) bool { return !p.usable() }) {
		t.Errorf("%+v", all)
	}
	settle(t, s, all(one(t, s, "meanwhile.example"), Outcome{State: Delivered}))
	deliverSizes(t, s)
}

// TestFrozenWriter (I1): a gateway that knows of a partition which is closed, or gone, takes mail in all the same, whatever it
// was doing when it was frozen, and nothing is lost.
func TestFrozenWriter(t *testing.T) {
	t.Parallel()
	for name, turns := range map[string]func(t *testing.T, passing *turning, s *Spool){
		"closed": func(t *testing.T, passing *turning, s *Spool) {
			succeed(t, s.partitions.close(t.Context(), passing.older(t, s)))
		},
		"dropped": func(t *testing.T, passing *turning, s *Spool) { passing.turn(t, s) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := shared(t)
			var passing turning
			keeper := start(t, o, slow, passing.set, unread)
			db := &interrupting{database: databases.Open(t, o)}
			options := Options{Log: zerolog.Nop(), Folder: t.TempDir(), Reserve: 1, deaf: true}
			slow(&options)
			passing.set(&options)
			frozen, err := open(t.Context(), options, db)
			succeed(t, err)
			t.Cleanup(func() { _ = frozen.Close() })
			<-frozen.swept // that writes, too
			// Before it, after the first part, after some, and before the message itself.
			for after, key := range map[int]string{0: "small", 1: "large", 3: "large", restParts + 1: "large"} {
				succeed(t, frozen.partitions.round(t.Context()))
				key := key
				stale := frozen.partitions.open.Load()
				if after == 0 {
					accept(t, keeper, to("first", "a@first.example"), "text") // or there would be no further partition
					turns(t, &passing, keeper)
				} else {
					db.after(after, func() { turns(t, &passing, keeper) })
				}
				m := to(fmt.Sprint(key, after), fmt.Sprintf("a@%s%d.example", key, after))
				accept(t, frozen, m, contentOf(key))
				if place := places(t, keeper)[m.Key]; place == stale {
					t.Errorf("%s is in the partition that is closed", m.Key)
				}
			}
			passing.turn(t, keeper)
			for after, key := range map[int]string{0: "small", 1: "large", 3: "large", restParts + 1: "large"} {
				d := one(t, keeper, fmt.Sprintf("%s%d.example", key, after))
				if got := textOf(t, d); got != contentOf(key) {
					t.Errorf("after %d, %s has %d octets", after, key, len(got))
				}
			}
		})
	}
}

// TestFrozenSettle (I1): reports that come with outcomes are taken in though their partition is closed.
func TestFrozenSettle(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var passing turning
	s := start(t, o, passing.set)
	accept(t, s, to("k", "a@x.example"), "text")
	d := one(t, s, "x.example")
	succeed(t, s.partitions.close(t.Context(), partitionsOf(t, s)[0]))
	r := all(d, Outcome{State: Failed, At: time.Now()})
	r.New = []New{{Message: to("report", "b@y.example"), Body: full(t, buffer.Options{}, "report")}}
	settle(t, s, r)
	if textOf(t, one(t, s, "y.example")) != "report" || places(t, s)["report"] != inRow {
		t.Errorf("%v", places(t, s))
	}
}

// TestOlderGateway: while a gateway of a version that cannot read spool_contents works on mail, nothing is there; afterwards none
// of them gets work.
func TestOlderGateway(t *testing.T) {
	t.Parallel()
	o := shared(t)
	db := databases.Open(t, o)
	enrol := func() error {
		return db.Write(t.Context(), func(tx *state.Tx) error {
			_, err := tx.Exec("INSERT INTO spool_nodes (node, until, leaves) VALUES ('older', " + databaseNow + " + 3600000000, '')")
			return err
		})
	}
	succeed(t, enrol())
	s := start(t, o, slow)
	tick(t, s)
	acceptSizes(t, s)
	for key, place := range places(t, s) {
		if passing(place) {
			t.Errorf("%s is at %d", key, place)
		}
	}
	if err := s.partitions.round(t.Context()); s.leases.has(0) && !errors.Is(err, errOlder) {
		t.Errorf("%v", err)
	}
	change(t, s, "DELETE FROM spool_nodes WHERE node = 'older'")
	tick(t, s)
	succeed(t, s.partitions.round(t.Context()))
	accept(t, s, to("new", "a@new.example"), "text")
	if !passing(places(t, s)["new"]) {
		t.Errorf("%v", places(t, s))
	}
	if enrol() == nil {
		t.Error("a gateway of an earlier version gets work")
	}
	settle(t, s, all(one(t, s, "new.example"), Outcome{State: Delivered}))
	deliverSizes(t, s)
}

// TestPartitionsOfTwo: of several gateways one makes partitions, and all write into the newest; when it ends another one goes on.
func TestPartitionsOfTwo(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var passing turning
	a := start(t, o, slow, passing.set)
	b := start(t, o, slow, passing.set)
	both := func() {
		t.Helper()
		for _, s := range []*Spool{a, b} {
			succeed(t, s.partitions.round(t.Context()))
		}
	}
	if a.partitions.open.Load() == 0 || a.partitions.open.Load() != b.partitions.open.Load() {
		t.Errorf("they write into %d and %d", a.partitions.open.Load(), b.partitions.open.Load())
	}
	accept(t, b, to("b", "a@b.example"), "text")
	before := b.partitions.open.Load()
	passing.ahead.Add(int64(a.o.Partition))
	both()
	if a.partitions.open.Load() != b.partitions.open.Load() || before == b.partitions.open.Load() {
		t.Errorf("they write into %d and %d", a.partitions.open.Load(), b.partitions.open.Load())
	}
	accept(t, b, to("c", "a@c.example"), "text")
	succeed(t, a.Close())
	tick(t, b)
	passing.turn(t, b)
	if all := partitionsOf(t, b); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	if textOf(t, one(t, b, "b.example")) != "text" || textOf(t, one(t, b, "c.example")) != "text" {
		t.Error("they are not there")
	}
}

// TestPartitionsAndClocks: a server's clock that is set back or forward does not keep contents from being dropped.
func TestPartitionsAndClocks(t *testing.T) {
	t.Parallel()
	var passing turning
	s := start(t, shared(t), passing.set)
	for i, jump := range []time.Duration{-1000 * time.Hour, 2000 * time.Hour, -1000 * time.Hour} {
		key := fmt.Sprint(i)
		succeed(t, passOn(t.Context(), s, key, key+".example", "text"))
		passing.ahead.Add(int64(jump))
		for range 3 {
			succeed(t, s.partitions.round(t.Context()))
			passing.ahead.Add(int64(s.o.Partition))
		}
		if n := count(t, s, "spool_contents"); n != 0 || len(partitionsOf(t, s)) != 1 {
			t.Errorf("after %s: %d contents, %+v", jump, n, partitionsOf(t, s))
		}
	}
}

// TestPartitionsUnderLoad: mail comes, waits and goes while its partitions are dropped, by two gateways that both look after
// them: everything arrives once and as it was.
func TestPartitionsUnderLoad(t *testing.T) {
	t.Parallel()
	o := shared(t)
	var passing turning
	a := start(t, o, slow, passing.set, unread)
	var working sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	b := &Spool{o: a.o, db: a.db, leases: a.leases} // it takes itself for who looks after them
	b.partitions = &partitions{spool: b, able: true}
	for _, p := range []*partitions{a.partitions, b.partitions} {
		working.Go(func() {
			for ctx.Err() == nil {
				passing.ahead.Add(int64(a.o.Partition / 4))
				_ = p.round(ctx) // what one has done already fails for the other one
			}
		})
	}
	var sending sync.WaitGroup
	for sender := range 4 {
		sending.Go(func() {
			for n := range 15 {
				key := fmt.Sprint(sender, "-", n)
				content := strings.Repeat(key+"\n", []int{10, 100_000}[n%2])
				accept(t, a, to(key, "a@"+key+".example"), content)
				if n%5 == 4 {
					for i := n - 4; i <= n; i++ {
						key := fmt.Sprint(sender, "-", i)
						d := one(t, a, key+".example")
						if got := textOf(t, d); got != strings.Repeat(key+"\n", []int{10, 100_000}[i%2]) {
							t.Errorf("%s has %d octets", key, len(got))
						}
						settle(t, a, all(d, Outcome{State: Delivered}))
					}
				}
			}
		})
	}
	sending.Wait()
	cancel()
	working.Wait()
	passing.turn(t, a)
	for _, table := range []string{"spool_messages", "spool_recipients", "spool_chunks", "spool_contents"} {
		if n := count(t, a, table); n != 0 {
			t.Errorf("%s has %d rows", table, n)
		}
	}
}
