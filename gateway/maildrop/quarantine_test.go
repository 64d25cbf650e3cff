package maildrop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// newQuarantine is a quarantine with a database of its own.
func newQuarantine(t *testing.T) *folder.Quarantine {
	t.Helper()
	db := databases.Open(t, state.Options{Log: zerolog.Nop(), Folder: databases.Folder(t)})
	return &folder.Quarantine{DB: db}
}

// quarantineGateway is a gateway whose store has three messages, and gives some of them badly.
type quarantineGateway struct {
	*gateway
	quarantined *folder.Quarantine
	bad         map[backends.MessageID]error // what Fetch fails with
	torn        map[backends.MessageID]error // what reading fails with, after a line
}

func newQuarantineGateway(t *testing.T, change ...func(*maildrop.Options)) *quarantineGateway {
	r := &quarantineGateway{quarantined: newQuarantine(t), bad: map[backends.MessageID]error{}, torn: map[backends.MessageID]error{}}
	r.gateway = newGateway(t, append(change, func(o *maildrop.Options) {
		o.Quarantine = r.quarantined
		o.AheadPerSession = -1 // so that fetches can be counted
	})...)
	for _, id := range []string{"m1", "m2", "m3"} {
		r.store.add(id, letter)
	}
	r.store.onFetch = func(_ context.Context, request backends.FetchRequest) (backends.Content, error) {
		switch {
		case r.bad[request.ID] != nil:
			return nil, r.bad[request.ID]
		case r.torn[request.ID] != nil && !request.Top:
			return &fakeContent{Reader: io.MultiReader(strings.NewReader("Subject: x\r\n\r\n"), failing{r.torn[request.ID]})}, nil
		}
		return &fakeContent{Reader: strings.NewReader(letter)}, nil
	}
	return r
}

// state is what the quarantine says of a message, and "" where it says nothing.
func (r *quarantineGateway) state(id string) string {
	r.t.Helper()
	entries, err := r.quarantined.List(r.t.Context(), 10)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if string(e.ID) == id {
			return string(e.State)
		}
	}
	return ""
}

// session logs in, asks for a message, leaves, and gives what it has got.
func (r *quarantineGateway) ask(n int) (string, error) {
	r.t.Helper()
	drop := r.login()
	defer drop.Close()
	return read(r.t, drop, n, -1)
}

func isNotice(text string) bool {
	return strings.Contains(text, "Subject: A message that could not be shown\r\n")
}

var errDamaged = backends.Fail(backends.Poison, "property 0x1000 is damaged").Say("it is damaged")

func TestPoisonIsRemembered(t *testing.T) {
	r := newQuarantineGateway(t)
	r.bad["m2"] = errDamaged
	first, err := r.ask(2)
	if err != nil || !isNotice(first) || !strings.Contains(first, "\r\n    it is damaged\r\n") || strings.Contains(first, "0x1000") {
		t.Fatalf("%q, %v", first, err)
	}
	asked := r.store.fetches
	drop := r.login()
	size, err := drop.Size(t.Context(), 2)
	if err != nil || size != int64(len(first)) {
		t.Errorf("the next session is told %d octets (%v), not %d", size, err, len(first))
	}
	if again, err := read(t, drop, 2, -1); err != nil || again != first {
		t.Errorf("the notice is another: %q, %v", again, err)
	}
	if r.store.fetches != asked {
		t.Error("the store is asked for what it cannot give")
	}
	for _, n := range []int{1, 3} {
		if got, err := read(t, drop, n, -1); err != nil || got != letter {
			t.Errorf("message %d: %q, %v", n, got, err)
		}
	}
	_ = drop.Close()

	// The notice is deleted, the message is not.
	drop = r.login()
	if err := drop.Update(t.Context(), []int{2}); err != nil || len(r.store.removed) > 0 {
		t.Fatalf("removed %q, %v", r.store.removed, err)
	}
	_ = drop.Close()
	drop = r.login()
	if drop.Len() != 2 || drop.UIDL(1) != "m1" || drop.UIDL(2) != "m3" {
		t.Errorf("%d messages are listed: %s, %s", drop.Len(), drop.UIDL(1), drop.UIDL(2))
	}
	if got, err := read(t, drop, 2, -1); err != nil || got != letter {
		t.Errorf("behind the hidden one: %q, %v", got, err)
	}
	_ = drop.Close()

	// It is released, and the store can give it by now.
	delete(r.bad, "m2")
	entries, err := r.quarantined.List(t.Context(), 1, folder.Hidden)
	if err != nil || len(entries) != 1 || entries[0].Served != 2 {
		t.Fatalf("%+v, %v", entries, err)
	}
	if err := r.quarantined.Release(t.Context(), entries[0]); err != nil {
		t.Fatal(err)
	}
	drop = r.login()
	if uidl := drop.UIDL(2); drop.Len() != 3 || uidl == "m2" || len(uidl) < 20 {
		t.Errorf("%d messages, and the released one has the unique-id %s: clients have had its notice under m2", drop.Len(), uidl)
	}
	if size, err := drop.Size(t.Context(), 2); size != int64(len(letter)) || err != nil {
		t.Errorf("%d octets, %v", size, err)
	}
	if got, err := read(t, drop, 2, -1); err != nil || got != letter {
		t.Errorf("released: %q, %v", got, err)
	}
}

func TestNoticeThatRemoves(t *testing.T) {
	r := newQuarantineGateway(t, with(func(p *policy.Policy) { p.NoticeRemoves = true }))
	r.bad["m2"] = errDamaged
	if notice, err := r.ask(2); err != nil || !strings.Contains(notice, "Deleting this notice deletes the message.") {
		t.Errorf("%q, %v", notice, err)
	}
	if err := r.login().Update(t.Context(), []int{2}); err != nil || fmt.Sprint(r.store.removed) != "[m2]" {
		t.Errorf("removed %q, %v", r.store.removed, err)
	}
}

// TestFailsAgainAndAgain: a message that fails while others can be had is held, one day.
func TestFailsAgainAndAgain(t *testing.T) {
	broken := backends.Fail(backends.Temporary, "node 7 is down").Say("it cannot be read")
	for name, prepare := range map[string]func(r *quarantineGateway){
		"at once":     func(r *quarantineGateway) { r.bad["m2"] = broken },
		"midway":      func(r *quarantineGateway) { r.torn["m2"] = broken },
		"permanently": func(r *quarantineGateway) { r.bad["m2"] = backends.Fail(backends.Permanent, "no") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newQuarantineGateway(t)
			prepare(r)
			for n := range folder.FailuresMost {
				got, err := r.ask(2)
				if last := n == folder.FailuresMost-1; (err == nil) != (last && name != "midway") {
					t.Errorf("the time %d: %q, %v", n+1, got, err)
				}
			}
			if got, err := r.ask(2); err != nil || !isNotice(got) {
				t.Errorf("held: %q, %v", got, err)
			}
			if got, err := r.ask(3); err != nil || got != letter {
				t.Errorf("the other: %q, %v", got, err)
			}
		})
	}
}

// TestOutageHoldsNothing: where the store gives nothing, no message is to blame.
func TestOutageHoldsNothing(t *testing.T) {
	r := newQuarantineGateway(t)
	down := backends.Fail(backends.Temporary, "the store is down")
	for _, id := range []backends.MessageID{"m1", "m2", "m3"} {
		r.bad[id] = down
	}
	for range 3 * folder.FailuresMost {
		if got, err := r.ask(1); err == nil {
			t.Fatalf("%q", got)
		}
	}
	if got := r.state("m1"); got != "suspected" {
		t.Errorf("the message is %q", got)
	}
	clear(r.bad)
	if got, err := r.ask(1); err != nil || got != letter {
		t.Errorf("after the outage: %q, %v", got, err)
	}
	if got := r.state("m1"); got != "" {
		t.Errorf("a message that could be had is %s still", got)
	}
}

// TestWhatDoesNotCount: a client that leaves, and an answer that is no failure of the message.
func TestWhatDoesNotCount(t *testing.T) {
	r := newQuarantineGateway(t)
	for _, kind := range []backends.Kind{backends.NotFound, backends.Throttled} {
		r.bad["m2"] = backends.Fail(kind, "not now")
		if _, err := r.ask(2); err == nil {
			t.Errorf("%s: it came", kind)
		}
	}
	r.bad["m2"] = errors.New("the call was cancelled")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.login().Open(ctx, 2, -1); err == nil {
		t.Error("it came")
	}
	if got := r.state("m2"); got != "" {
		t.Errorf("the message is %s", got)
	}
}

// TestTheOnlyMessage: where there is no other to compare with, the store's health tells.
func TestTheOnlyMessage(t *testing.T) {
	r := newQuarantineGateway(t)
	r.store.entries = r.store.entries[:1]
	r.bad["m1"] = backends.Fail(backends.Temporary, "no")
	for range folder.FailuresMost {
		_, _ = r.ask(1) // it fails, or is a notice
	}
	if got := r.state("m1"); got != "held" {
		t.Errorf("the message is %q", got)
	}
}

func TestGoneFromQuarantine(t *testing.T) {
	r := newQuarantineGateway(t)
	r.bad["m2"] = errDamaged
	if _, err := r.ask(2); err != nil {
		t.Fatal(err)
	}
	r.store.entries = r.store.entries[:1]
	if _, err := r.ask(1); err != nil {
		t.Fatal(err)
	}
	if got := r.state("m2"); got != "" {
		t.Errorf("a message that is gone is %s still", got)
	}
}

// TestWithoutItsMemory: a quarantine that cannot be read or written harms no session.
func TestWithoutItsMemory(t *testing.T) {
	r := newQuarantineGateway(t)
	r.bad["m2"] = errDamaged
	if err := r.quarantined.DB.Close(); err != nil {
		t.Fatal(err)
	}
	drop := r.login()
	if got, err := read(t, drop, 2, -1); err != nil || !isNotice(got) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := read(t, drop, 3, -1); err != nil || got != letter {
		t.Errorf("%q, %v", got, err)
	}
	if err := drop.Update(t.Context(), []int{2, 3}); code(err) != "-ERR [SYS/TEMP]" || len(r.store.removed) > 0 {
		t.Errorf("removed %q, %v", r.store.removed, err)
	}
}

// outrunLock is a lock that somebody else has had.
type outrunLock struct{ folder.Lock }

func (outrunLock) Held(context.Context) error { return backends.Fail(backends.Temporary, "it is lost") }

type outrunLocks struct{ folder.MemoryLocks }

func (l *outrunLocks) Acquire(ctx context.Context, key folder.Key) (folder.Lock, error) {
	lock, err := l.MemoryLocks.Acquire(ctx, key)
	return outrunLock{lock}, err
}

// TestNoticeWithoutLock: a notice whose deletion comes when the lock is lost is not hidden.
func TestNoticeWithoutLock(t *testing.T) {
	t.Parallel()
	quarantined := newQuarantine(t)
	g := newGateway(t, func(o *maildrop.Options) { o.Quarantine, o.Locks = quarantined, &outrunLocks{} })
	g.store.add("m1", letter)
	m := folder.Message{Key: folder.Key{Store: "sakes", Account: "alice-id"}, ID: "m1", UIDL: "m1"}
	if _, err := quarantined.Failed(t.Context(), m, backends.Fail(backends.Poison, "no"), true); err != nil {
		t.Fatal(err)
	}
	if err := g.login().Update(t.Context(), []int{1}); code(err) != "-ERR [SYS/TEMP]" {
		t.Errorf("QUIT: %s", code(err))
	}
	if entries, err := quarantined.List(t.Context(), 10, folder.Hidden); err != nil || len(entries) > 0 {
		t.Errorf("hidden are %v (%v)", entries, err)
	}
}
