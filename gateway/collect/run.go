package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/pop3client"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/folder"
)

const (
	// sessionMost is how many messages are read or removed in one session, and sessionLeast where sessions break: each that breaks
	// has the next one half as long. What was taken is removed at a session's end: whatever breaks it costs so much at the most.
	sessionMost, sessionLeast = 200, 10
	// brokenMost is how many sessions of a run may break in a row with nothing done.
	brokenMost = 5
	// suspectMost is how often reading a message may break the connection before it is set aside.
	suspectMost = 3
	// finishMost is how long a session may take to end, and stopMost while the gateway ends.
	finishMost = 20 * time.Second
	stopMost   = 5 * time.Second
	// tellEvery is how often a long run says how far it is.
	tellEvery = 2 * time.Second
	// logEvery is how often the log does.
	logEvery = time.Minute
	// refusalsMost is how many messages in a row may find no store that takes mail, before the rest waits.
	refusalsMost = 3
)

// run is one collection of one account.
type run struct {
	*Collector
	account *Account
	log     zerolog.Logger
	lock    folder.Lock
	status  *Status
	count   Counts // of this run
	told    time.Time
	logged  time.Time

	entries map[string]*entry
	there   map[string]bool // the unique-ids that the server has in this session
	// contents are the entries by their digests.
	contents map[string][]*entry
	weak     map[string]int // contents without an id of their own, in this session
	skipped  int            // messages without an id that are set aside, in this session
	// asked says that somebody wants this run: what is set aside is tried, too, each message once.
	asked bool
	tried map[string]bool
	// parted are the ids that the server has said it removed in this run: it is not asked again.
	parted map[string]bool
	src    source
	read   int // messages that were read or are removed in this session
	most   int // of them
	later  int // messages in a row that no store has taken for now
}

// errLost says that another gateway may collect the account by now.
var errLost = errors.New("the lease on the account has run out")

// all collects until there is nothing more, or as much as a run may.
func (r *run) all(ctx context.Context) error {
	r.most = sessionMost
	for broken := 0; ; {
		before := r.count
		more, err := r.session(ctx)
		switch {
		case given(ctx):
			return ctx.Err()
		case err == nil && !more:
			return nil
		case err == nil:
			broken, r.most = 0, min(2*r.most, sessionMost)
			continue
		case r.count.Read > before.Read || r.count.Aside > before.Aside || r.count.Removed > before.Removed:
			broken = 0
		}
		r.most = max(r.most/2, sessionLeast)
		if broken++; broken >= brokenMost || r.src == nil || final(err) {
			return err
		}
		r.log.Warn().Err(err).Msg("the session with the server broke: it is tried again")
	}
}

// final says whether another session now would not help.
func final(err error) bool {
	f, is := errors.AsType[*failure](err)
	return is && f.kind != kindServer
}

// session is one session with the server. more says that another one is worth while.
func (r *run) session(ctx context.Context) (more bool, err error) {
	r.src, r.read, r.weak = nil, 0, make(map[string]int)
	src, err := r.open(ctx, r.account)
	if err != nil {
		return false, err
	}
	defer src.close()
	r.src = src
	items, err := src.list(ctx)
	if err != nil {
		return false, fmt.Errorf("listing the messages: %w", err)
	}
	place(items)
	if r.entries, err = r.ledger.entries(ctx, r.account.Name); err != nil {
		return false, &failure{kind: kindState, err: err}
	}
	if err := r.compare(ctx, items); err != nil {
		return false, &failure{kind: kindState, err: err}
	}
	more, err = r.each(ctx, items)
	if err != nil && !errors.Is(err, errEnough) && !given(ctx) {
		return false, err
	}
	return more, errors.Join(r.end(ctx), err)
}

// errEnough ends a session in good order, as nothing more can be done now.
var errEnough = errors.New("the rest waits")

// end has the server remove what was taken, also while the gateway ends, and forgets it.
func (r *run) end(ctx context.Context) error {
	most := finishMost + r.account.Secure.Timeout
	if given(ctx) {
		most = stopMost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	removed, err := r.src.finish(ctx)
	if err != nil {
		err = fmt.Errorf("ending the session: %w", err)
	}
	r.count.Removed += int64(len(removed))
	if e := r.part(ctx, removed); e != nil {
		return errors.Join(err, &failure{kind: kindState, err: e})
	}
	return err
}

// part notes what the server says that it has removed. It is forgotten once the server lists it no more: some keep what they were told to
// remove, and all of it would come again.
func (r *run) part(ctx context.Context, ids []string) error {
	if r.parted == nil {
		r.parted = make(map[string]bool)
	}
	var changed []*entry
	for _, id := range ids {
		r.parted[id] = true
		if e := r.entries[id]; e != nil {
			e.state = removed
			changed = append(changed, e)
		}
	}
	return r.ledger.putAll(ctx, r.account.Name, changed)
}

// compare notes which messages the server lists, and which it has no more, or has again.
func (r *run) compare(ctx context.Context, items []item) error {
	r.there, r.contents = make(map[string]bool, len(items)), make(map[string][]*entry)
	for _, i := range items {
		r.there[i.name()] = true
	}
	var changed []*entry
	var gone []string
	kept := 0
	for id, e := range r.entries {
		if e.state == removed && !strings.HasPrefix(id, weakMark) {
			if !r.there[id] {
				gone = append(gone, id)
				delete(r.entries, id)
				continue
			}
			kept++
			e.state = taken
			changed = append(changed, e)
		}
		if len(e.digest) > 0 {
			r.contents[string(e.digest)] = append(r.contents[string(e.digest)], e)
		}
		if there := r.there[id]; !strings.HasPrefix(id, weakMark) && there != e.gone.IsZero() { // others are known when they were read
			if e.gone = r.now(); there {
				e.gone = time.Time{}
			}
			changed = append(changed, e)
		}
	}
	if kept > 0 {
		r.log.Warn().Int("messages", kept).Msg("the server still has messages that it has said it removed: they are not delivered again, and it is told again to remove them")
	}
	if err := r.ledger.forget(ctx, r.account.Name, gone); err != nil {
		return err
	}
	return r.ledger.putAll(ctx, r.account.Name, changed)
}

// weakMark begins the ids that are made of contents.
const weakMark = "="

// each goes through the messages: those that are new, then those that were set aside and are due, then those to be removed.
func (r *run) each(ctx context.Context, items []item) (more bool, err error) {
	var fresh, due, over []item
	now := r.now()
	r.skipped = 0
	for _, i := range items {
		e := r.entries[i.name()]
		switch {
		case e == nil || e.state == begun:
			fresh = append(fresh, i)
		case e.state == setDown && (!r.waits(e, now) || r.asked && !r.tried[i.name()]):
			due = append(due, i)
		case i.id == "":
			r.skipped++
		case e.state == taken && r.suspicious(i, e):
			fresh = append(fresh, i)
		case e.state == taken && r.removable(e, now):
			over = append(over, i)
		}
	}
	r.status.Found, r.status.ToRead = int64(len(items)), int64(len(fresh)+len(due))
	for _, i := range slices.Concat(fresh, due) {
		if r.read >= r.most {
			more = true
			break
		}
		if r.count.Read >= int64(r.account.RunMost) {
			r.log.Info().Int64("messages", r.status.ToRead).Msg("as many messages as a run may read were read: the rest comes with the next one")
			break
		}
		if err := r.alive(ctx); err != nil {
			return false, err
		}
		if r.asked {
			r.tried[i.name()] = true
		}
		if err := r.message(ctx, i); err != nil {
			return false, err
		}
		r.status.ToRead--
		r.progress(ctx)
	}
	if !more {
		if err := r.forgetWeak(ctx, items); err != nil {
			return false, err
		}
	}
	for _, i := range over {
		if r.read >= r.most {
			return true, nil
		}
		r.read++
		if err := r.alive(ctx); err != nil {
			return false, err
		}
		if err := r.sweep(ctx, i); err != nil {
			return false, err
		}
	}
	return more, nil
}

// forgetWeak forgets messages without a unique-id that were not there when the contents of all messages were known.
func (r *run) forgetWeak(ctx context.Context, items []item) error {
	weak, read := 0, 0
	for _, i := range items {
		if i.id == "" {
			weak++
		} else if e := r.entries[i.id]; e == nil || len(e.digest) == 0 {
			return nil // it may be one of them
		}
	}
	for _, n := range r.weak {
		read += n
	}
	if read+r.skipped < weak {
		return nil
	}
	var gone []string
	var late []*entry // one of those that could not be read may be it
	for id, e := range r.entries {
		switch {
		case !strings.HasPrefix(id, weakMark) || r.listed(e):
		case r.skipped == 0:
			gone = append(gone, id)
		case e.gone.IsZero():
			e.gone = r.now()
			late = append(late, e)
		}
	}
	if err := r.ledger.putAll(ctx, r.account.Name, late); err != nil {
		return &failure{kind: kindState, err: err}
	}
	if weak > 0 && (r.account.LeaveForEver || r.account.Leave > 0) {
		r.log.Warn().Int("messages", weak).Msg("the server has no unique-ids for messages that stay there: they are read again in each run, have them removed instead")
	}
	if err := r.ledger.forget(ctx, r.account.Name, gone); err != nil {
		return &failure{kind: kindState, err: err}
	}
	return nil
}

// alive says whether the run may go on.
func (r *run) alive(ctx context.Context) error {
	switch {
	case given(ctx):
		return ctx.Err()
	case r.lock.Lost():
		return &failure{kind: kindState, err: errLost}
	}
	return nil
}

// suspicious says whether an id may be another message's by now: some servers number the messages of each session.
func (r *run) suspicious(i item, e *entry) bool {
	return !r.src.lasting() && i.size >= 0 && e.size >= 0 && i.size != e.size
}

// waits says whether it is too early to try a message that was set aside. One that is due later than any can be is from before the clock
// was set back.
func (r *run) waits(e *entry, now time.Time) bool {
	return e.due.After(now) && !e.due.After(now.Add(refusedMost))
}

// removable says whether a message has been at the source for long enough.
func (r *run) removable(e *entry, now time.Time) bool {
	return !r.parted[e.id] && !r.account.LeaveForEver && !now.Before(e.taken.Add(r.account.Leave))
}

// sweep removes a message that an earlier session has taken, once it is known to be that one.
func (r *run) sweep(ctx context.Context, i item) error {
	e := r.entries[i.id]
	same, err := r.same(ctx, i, e)
	switch {
	case refusedReply(err):
		return nil // it is gone, or will be there the next time
	case err != nil:
		return err
	case !same:
		r.log.Warn().Str("id", i.id).Msg("the server has given a unique-id to another message: that is collected")
		return r.message(ctx, i)
	}
	return r.discard(ctx, i)
}

// same says whether a message is the one that was taken under its id, by its header, or by all of it where the server does not give that
// alone, or where others may have the same header.
func (r *run) same(ctx context.Context, i item, e *entry) (bool, error) {
	if r.src.lasting() {
		return true, nil
	}
	sum := newDigest()
	err := canonical(sum, func(w io.Writer) error { return r.src.header(ctx, i, w) })
	if err == nil {
		if _, header := sum.sums(); string(header) == string(e.header) {
			if named, dated := content.Identity(sum.start); named || !dated.IsZero() {
				return true, nil
			}
		}
	}
	if err != nil && !errors.Is(err, errNoHeader) {
		return false, err
	}
	sum = newDigest() // TOP of some servers is another header than RETR's
	if err := canonical(sum, func(w io.Writer) error { return r.src.fetch(ctx, i, r.account.MessageMost, w) }); err != nil {
		return false, err
	}
	whole, _ := sum.sums()
	return string(whole) == string(e.digest), nil
}

// discard has a message removed. That the server refuses costs nothing: it is known, and tried again.
func (r *run) discard(ctx context.Context, i item) error {
	err := r.src.remove(ctx, i)
	if refusedReply(err) {
		r.log.Warn().Err(err).Str("id", i.id).Msg("the server does not remove a message that was collected")
		return nil
	}
	return err
}

// refusedReply says that the server has refused something, and that the session goes on.
func refusedReply(err error) bool {
	_, is := errors.AsType[*pop3client.ReplyError](err)
	return is
}

// progress says how far a long run is.
func (r *run) progress(ctx context.Context) {
	now := r.now()
	if now.Sub(r.told) < tellEvery {
		return
	}
	r.told = now
	r.status.Seen, r.status.Last = now, r.count
	if err := r.ledger.tell(ctx, *r.status); err != nil && !given(ctx) {
		r.log.Warn().Err(err).Msg("how far the collection is cannot be told")
	}
	if now.Sub(r.logged) >= logEvery {
		r.logged = now
		r.log.Info().Int64("read", r.count.Read).Int64("to_read", r.status.ToRead).Msg("collecting")
	}
}

// keyOf names a message in transit: by its account, its id and its content, so that it has the same name after any end.
func keyOf(account string, e *entry) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d %s %d %s ", len(account), account, len(e.id), e.id)
	sum.Write(e.digest)
	return "collect-" + hex.EncodeToString(sum.Sum(nil)[:16])
}
