package outbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/folder"
)

const (
	// renewEvery is how often the store is told that messages that are set aside are still the gateway's. It leaves
	// time for a whole batch before a lease runs out.
	renewEvery = Lease / 2
	// lookUsual is when a message that is set aside is let come again, to see whether it is another one now.
	lookUsual = 24 * time.Hour
	// lookFor is how long it has for that. One that does not come is gone.
	lookFor = 3 * Lease
	// wellFor is how long collections must not have broken for those that did to be forgotten: a message that the
	// store does not name comes once a lease.
	wellFor = 2 * Lease
	// quarantineMost bounds what the quarantine's database may take of a collection.
	quarantineMost = 15 * time.Second
)

// errAside says that a message is set aside. Nobody is told.
var errAside = errors.New("the message is set aside")

// outboxOf is a store's outbox in the quarantine. No mailbox has an account without a name.
func outboxOf(store string) folder.Key { return folder.Key{Store: store, Folder: "outbox"} }

// aside is what is remembered of the messages of one store that break collections.
type aside struct {
	*Collector
	key     folder.Key
	entries map[backends.MessageID]folder.QuarantineEntry // the one without an id: breaks of which no message is known
	seen    map[backends.MessageID]time.Time              // when those that are set aside came, or were first known of
	renewed time.Time
	broken  time.Time // when a message broke a collection, which may have ended the plugin
}

func (a *aside) lookAfter() time.Duration { return cmp.Or(a.look, lookUsual) }

// load asks the quarantine, as administrators and other gateways change it.
func (a *aside) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quarantineMost)
	defer cancel()
	entries, err := a.Quarantine.In(ctx, a.key)
	if err != nil {
		return err
	}
	a.entries = make(map[backends.MessageID]folder.QuarantineEntry, len(entries))
	seen := make(map[backends.MessageID]time.Time)
	for _, e := range entries {
		a.entries[e.ID] = e
		if e.State != folder.Held || e.ID == "" {
			continue
		}
		if seen[e.ID] = a.seen[e.ID]; seen[e.ID].IsZero() {
			seen[e.ID], a.renewed = time.Now(), time.Time{}
		}
	}
	a.seen = seen
	return nil
}

// due gives the messages whose leases are to start again, so that the store does not hand them over. Once a day they
// are left out.
func (a *aside) due() (ids []backends.MessageID) {
	now := time.Now()
	if now.Sub(a.renewed) < renewEvery {
		return nil
	}
	a.renewed = now
	for id, at := range a.seen {
		if now.Sub(at) < a.lookAfter() {
			ids = append(ids, id)
		}
	}
	return ids
}

// holds says whether a message is set aside. One that is another message under the same id is not, and what was
// remembered is forgotten.
func (a *aside) holds(ctx context.Context, m backends.Outgoing) bool {
	e, ok := a.entries[m.ID]
	if ok && e.UIDL != fingerprint(m) {
		a.forget(ctx, e)
		return false
	}
	if !ok || e.State != folder.Held {
		return false
	}
	a.seen[m.ID] = time.Now()
	return true
}

// fingerprint is what is known of a message without its content. Not the time: some stores tell the present one.
func fingerprint(m backends.Outgoing) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %q", m.Size, m.From)
	for _, r := range m.Recipients {
		fmt.Fprintf(sum, " %q", r.Address)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// counts says whether a failure speaks against a message: it ended the store's plugin, or the store says that it will
// never be read. What fails for now, as the store's disk or a plugin that is being replaced does, is over some day.
func counts(err error) bool {
	kind := backends.KindOf(err)
	return kind == backends.Poison || kind == backends.Permanent || errors.Is(err, backends.ErrCrashed)
}

// failed counts that a message broke a collection, and sets it aside when it has done so often enough.
func (a *aside) failed(ctx context.Context, m backends.Outgoing, cause error) {
	if !counts(cause) {
		return
	}
	failure := backends.AsFailure(cause)
	a.broken, a.renewed = time.Now(), time.Time{} // a plugin that has ended may have forgotten its leases
	e, ok := a.count(ctx, folder.Message{Key: a.key, ID: m.ID, UIDL: fingerprint(m)},
		failure.Say(fmt.Sprintf("the message from <%s> cannot be collected", backends.SafeText(m.From))), failure.Kind == backends.Poison)
	if !ok || e.State != folder.Held {
		return
	}
	a.seen[m.ID] = time.Now()
	a.observe(a.key.Store, Aside)
	a.Log.Error().Err(cause).Str(events.Store, a.key.Store).Str("id", backends.SafeText(string(m.ID))).Str("number", e.Number).
		Str("from", backends.SafeText(m.From)).Int64("failures", e.Failures).
		Msg("a message in the store's outbox breaks its collection, it is set aside: see why the store or its plugin fails with it, then `dipylon quarantine release` with the number has it collected again")
}

// failedUnnamed counts that a collection broke before a message was named: at most once in half a lease, and not while
// the plugin may start again. After some in a row the administrator is told. Which message it is only the store knows,
// so that none is set aside.
func (a *aside) failedUnnamed(ctx context.Context, cause error) {
	before, again := a.entries[""]
	if now := time.Now(); !counts(cause) || now.Sub(a.broken) < renewEvery || again && now.Sub(before.Last) < renewEvery {
		return
	}
	e, ok := a.count(ctx, folder.Message{Key: a.key}, backends.AsFailure(cause).Say("collections break before the store names a message"), false)
	if !ok || e.State != folder.Held || before.State == folder.Held {
		return
	}
	a.observe(a.key.Store, Aside)
	a.Log.Error().Err(cause).Str(events.Store, a.key.Store).Str("number", e.Number).Int64("failures", e.Failures).
		Msg("collections of the store's outbox break before a message is named, and mail in it may wait: if the store is well otherwise, find the message by its log or its plugin's, and take it out of the outbox")
}

func (a *aside) count(ctx context.Context, m folder.Message, failure *backends.Failure, hold bool) (folder.QuarantineEntry, bool) {
	if _, known := a.entries[m.ID]; !known && len(a.entries) >= folder.EntriesMost {
		return folder.QuarantineEntry{}, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quarantineMost)
	defer cancel()
	e, err := a.Quarantine.Failed(ctx, m, failure, hold)
	if err != nil {
		a.Log.Error().Err(err).Str(events.Store, a.key.Store).Msg("the quarantine takes no note that a collection broke: the message is collected again")
		return e, false
	}
	a.entries[m.ID] = e
	return e, true
}

// taken forgets a message that could be had after all.
func (a *aside) taken(ctx context.Context, m backends.Outgoing) {
	if e, ok := a.entries[m.ID]; ok {
		a.forget(ctx, e)
	}
}

// well forgets what is over, after a collection that has not broken: breaks of which no message is known, and messages
// that have not come for long, and are gone.
func (a *aside) well(ctx context.Context) {
	now := time.Now()
	for id, e := range a.entries {
		since, most := e.Last, a.lookAfter()
		switch {
		case id == "":
			most = wellFor
		case e.State == folder.Held:
			since, most = a.seen[id], a.lookAfter()+lookFor
		}
		if now.Sub(since) >= most {
			a.forget(ctx, e)
		}
	}
}

func (a *aside) forget(ctx context.Context, e folder.QuarantineEntry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quarantineMost)
	defer cancel()
	if err := a.Quarantine.Forget(ctx, []string{e.Number}); err != nil {
		a.Log.Error().Err(err).Str(events.Store, a.key.Store).Str("number", e.Number).Msg("a message cannot be taken out of the quarantine now")
		return
	}
	delete(a.entries, e.ID)
	delete(a.seen, e.ID)
}
