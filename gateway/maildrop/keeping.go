package maildrop

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
)

const (
	// dueMost is how many kept messages a session removes at its end when their time is over.
	dueMost = 200
	// dueTimeout bounds the time that it takes for that.
	dueTimeout = 5 * time.Second
)

// hideKept leaves out the messages that clients have deleted and that the policy keeps for a time
// (RFC 1939 §8 leaves retention to the site). If it cannot be known which these are, the login fails:
// otherwise deleted messages would be listed again.
func (d *drop) hideKept(ctx context.Context) error {
	if d.o.Retention == nil {
		return nil
	}
	kept, err := d.o.Retention.In(ctx, d.box.Key, d.box.Names...)
	if err != nil {
		return backends.Fail(backends.Temporary, "deleted messages that are kept: %w", err)
	}
	if len(kept) == 0 {
		return nil
	}
	now := d.o.Retention.Time()
	d.list.filter(func(i int) bool {
		id := d.list.id(i)
		due, is := kept[id]
		if is && !due.After(now) && len(d.due) < dueMost {
			d.due = append(d.due, id)
		}
		delete(kept, id) // it is there
		return !is
	})
	var gone []backends.MessageID
	for id := range kept {
		gone = append(gone, id)
	}
	if err := d.o.Retention.Forget(ctx, d.box.Key, gone); err != nil {
		d.log(zerolog.WarnLevel).Err(err).Msg("kept messages that are gone are remembered still")
	}
	return nil
}

// keep hides deleted messages until their time is over. A client sees no difference to removal.
func (d *drop) keep(ctx context.Context, messages []int) error {
	if d.o.Retention == nil {
		return &pop3.Error{Code: "SYS/PERM", Text: "nothing was removed", Err: errors.New("there is nowhere to note what is kept")}
	}
	if err := d.lock.Held(ctx); err != nil {
		return &pop3.Error{Code: "SYS/TEMP", Text: "nothing was removed", Err: err}
	}
	account := d.inner.Opened().Account
	owner := folder.Owner{Name: account.Address, Path: d.folder}
	if owner.Name == "" {
		owner.Name = account.ID
	}
	if names := d.box.Names; len(names) > 0 && !slices.Contains(names, owner.Path) {
		owner.Path = names[0]
	}
	due := d.o.Retention.Time().Add(d.policy.Keep)
	if err := d.o.Retention.Keep(ctx, d.box.Key, owner, d.ids(messages), due); err != nil {
		return &pop3.Error{Code: "SYS/TEMP", Text: "nothing was removed", Err: err}
	}
	for _, i := range messages {
		d.deletion(i, "kept", nil)
	}
	d.log(zerolog.DebugLevel).Int("messages", len(messages)).Time("until", due).Msg("what the client deleted is kept, and hidden")
	return nil
}

// removeDue removes messages whose time is over, after the client has left.
func (d *drop) removeDue() {
	if len(d.due) == 0 || d.lock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dueTimeout)
	defer cancel()
	if d.lock.Held(ctx) != nil {
		return // the next session will remove them
	}
	removed, err := removeKept(ctx, d.o.Retention, d.inner, d.box.Key, d.due)
	d.log(zerolog.InfoLevel).Int("messages", removed).AnErr("cause", err).Msg("removed what was kept for long enough")
}

// removeKept removes exactly these messages (I4), and forgets those that are gone.
func removeKept(ctx context.Context, keeper *folder.Retention, from backends.Maildrop, f folder.Key, ids []backends.MessageID) (removed int, err error) {
	removals, err := from.Remove(ctx, ids, backends.DisposalRemove)
	if err != nil {
		return 0, err
	}
	var gone []backends.MessageID
	for i, r := range removals {
		switch {
		case i >= len(ids) || r.ID != ids[i]:
			return 0, backends.Fail(backends.Temporary, "the store answered for another message than asked")
		case r.Failure == nil || r.Failure.Kind == backends.NotFound:
			gone = append(gone, r.ID)
		case err == nil:
			err = r.Failure
		}
	}
	return len(gone), errors.Join(err, keeper.Forget(ctx, f, gone))
}

// Sweeper removes messages that were kept for long enough from stores that let the gateway act
// for their users. Those of other stores are removed by their owners' next sessions.
type Sweeper struct {
	Log       zerolog.Logger
	Retention *folder.Retention
	Locks     folder.Locks
	// Keys are those of [Options].
	Keys *folder.Keys
	// Table gives the current table of stores.
	Table func() *stores.Table
}

// Task is the sweeper's work, to be done at intervals.
func (s *Sweeper) Task() state.Task {
	return state.Task{Name: "deleted messages that were kept", Do: s.sweep}
}

func (s *Sweeper) sweep(ctx context.Context, most int) (rows int64, err error) {
	readable := make(map[string]*stores.Store)
	var names []string
	for _, store := range s.Table().Stores() {
		// One that is not known yet does not take the gateway's word, as far as is known.
		if store.Reader != nil && store.Takes(backends.CredentialImpersonation) {
			readable[store.Name] = store
			names = append(names, store.Name)
		}
	}
	due, err := s.Retention.Due(ctx, names, most)
	if err != nil {
		return 0, err
	}
	for _, d := range due {
		removed, err := s.folder(ctx, readable[d.Store], d)
		rows += int64(removed)
		if err != nil && backends.KindOf(err) != backends.InUse {
			s.Log.Warn().Err(err).Str("store", d.Store).Str("account", d.Account).Msg("messages that were kept for long enough could not be removed")
		}
		if ctx.Err() != nil {
			break
		}
	}
	return rows, nil
}

// folder removes the due messages of one folder under its lock (I5).
func (s *Sweeper) folder(ctx context.Context, store *stores.Store, d folder.Due) (removed int, err error) {
	drop, err := store.Reader.Open(ctx, backends.OpenRequest{
		Credential: backends.Credential{Kind: backends.CredentialImpersonation, User: d.Name, Peer: backends.Peer{Protocol: "pop3"}},
		Folder:     d.Path,
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, drop.Close()) }()
	box, lock, err := s.lock(ctx, mailboxOf(d.Store, d.Path, drop.Opened()))
	if err != nil {
		return 0, err
	}
	defer lock.Release()
	// What was deleted by this name may have been another account's, or another folder's.
	kept, err := s.Retention.In(ctx, box.Key, d.Path)
	if err != nil {
		return 0, err
	}
	ids := slices.DeleteFunc(slices.Clone(d.IDs), func(id backends.MessageID) bool {
		due, is := kept[id]
		return !is || due.After(s.Retention.Time())
	})
	if len(ids) == 0 {
		return 0, backends.Fail(backends.Permanent, "%s is the account %s now, and not %s", d.Name, drop.Opened().Account.ID, d.Account)
	}
	return removeKept(ctx, s.Retention, drop, box.Key, ids)
}

// lock locks a folder that is open, and takes over what was remembered of it.
func (s *Sweeper) lock(ctx context.Context, m folder.Identity) (box folder.Known, lock folder.Lock, err error) {
	if box, err = s.Keys.Find(ctx, m); err != nil {
		return box, nil, err
	}
	if lock, err = s.Locks.Acquire(ctx, m.Lock(box)); err != nil {
		return box, nil, err
	}
	if box, err = s.Keys.TakeOver(ctx, m, box); err != nil {
		lock.Release()
		return box, nil, err
	}
	return box, lock, nil
}
