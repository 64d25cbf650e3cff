package collect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/pop3client"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/stores"
)

// message reads a message and hands it to whom it is for. An error ends the session: what is wrong with the message alone
// is noted with it.
func (r *run) message(ctx context.Context, i item) error {
	e := r.entryOf(i)
	if i.size > r.account.MessageMost {
		return r.putAside(ctx, e, false, fmt.Errorf("it has %d octets, and %d are allowed", i.size, r.account.MessageMost))
	}
	body, sum, err := r.fetchWhole(ctx, i)
	if err != nil {
		return r.unread(ctx, i, e, err)
	}
	defer body.Discard() //nolint:errcheck // it is not needed any more
	if err := r.placed(ctx, i); err != nil {
		return err
	}
	old := r.identify(&i, &e, sum)
	if known, err := r.recognise(ctx, i, e, old); known || err != nil {
		return err
	}
	if e.state == setDown && r.waits(e, r.now()) && !r.asked {
		return nil // without a unique-id it had to be read to know that
	}
	r.read++
	r.count.Read++
	r.count.Octets += body.Size()
	return r.handOver(ctx, i, e, body, sum)
}

// entryOf is what is known of a message, or a new entry.
func (r *run) entryOf(i item) *entry {
	if e := r.entries[i.name()]; e != nil {
		return e
	}
	return &entry{id: i.name(), size: i.size, first: r.now()}
}

// placed forgets that the message of a place could not be read: it has been.
func (r *run) placed(ctx context.Context, i item) error {
	if i.id != "" || r.entries[i.place] == nil {
		return nil
	}
	delete(r.entries, i.place)
	if err := r.ledger.forget(ctx, r.account.Name, []string{i.place}); err != nil {
		return &failure{kind: kindState, err: err}
	}
	return nil
}

// identify notes the content, and gives an id to a message that has none. An id that is another message's now starts anew. Of a message
// that was not read before, it gives what is known of one with its content, or nil.
func (r *run) identify(i *item, at **entry, sum *digest) (old *entry) {
	e := *at
	whole, header := sum.sums()
	switch {
	case i.id == "":
		name := weakMark + hex.EncodeToString(whole)
		r.weak[name]++
		i.id = fmt.Sprintf("%s/%d", name, r.weak[name])
		e = r.entries[i.id]
		if e != nil && e.state == removed && content.MessageID(sum.start) != "" {
			e.state = taken // the server has kept it
		}
		if e == nil || e.state == removed {
			e = &entry{id: i.id, size: i.size, first: r.now()}
		}
		e.gone = time.Time{}
	case len(e.digest) > 0 && string(e.digest) != string(whole):
		e = &entry{id: i.id, size: i.size, first: r.now()}
	}
	first := len(e.digest) == 0
	e.digest, e.header, e.size = whole, header, i.size
	if e.key == "" {
		e.key = keyOf(r.account.Name, e)
	}
	*at = e
	r.entries[i.id] = e
	if !first {
		return nil
	}
	return r.sameContent(e, sum.start)
}

// recognise says whether a message was taken before: under this id, or under one that the server has forgotten. One that was begun
// under another id goes on as that.
func (r *run) recognise(ctx context.Context, i item, e, old *entry) (known bool, err error) {
	if old != nil {
		r.log.Info().Str("id", i.id).Str("before", old.id).Msg("the server has another unique-id for a message that was read before")
		id, size := e.id, e.size
		before := old.id
		*e = *old
		e.id, e.size, e.gone = id, size, time.Time{}
		delete(r.entries, before)
		if err := r.ledger.rename(ctx, r.account.Name, before, e); err != nil {
			return false, &failure{kind: kindState, err: err}
		}
	}
	if e.state != taken {
		return false, nil
	}
	if err := r.ledger.put(ctx, r.account.Name, e); err != nil { // its size may be told otherwise now
		return true, &failure{kind: kindState, err: err}
	}
	r.count.Known++
	if r.removable(e, r.now()) {
		r.read++
		return true, r.discard(ctx, i)
	}
	return true, nil
}

// sameContent is what is known of a message with this content that the server does not list under its id; nil: nothing is. Messages without
// Message-ID and Date may be alike and be several.
func (r *run) sameContent(e *entry, start []byte) *entry {
	for _, old := range r.contents[string(e.digest)] {
		if old != e && r.entries[old.id] == old && !r.listed(old) {
			if named, dated := content.Identity(start); named || !dated.IsZero() {
				return old
			}
		}
	}
	return nil
}

// listed says whether the server lists a message under the id that it had; one without an id, whether as many of its content
// were read in this session.
func (r *run) listed(e *entry) bool {
	name, number, weak := strings.Cut(e.id, "/")
	if !weak || !strings.HasPrefix(e.id, weakMark) {
		return r.there[e.id]
	}
	n, err := strconv.Atoi(number)
	return err == nil && n <= r.weak[name]
}

// unread notes that a message could not be read. A connection that breaks each time that it is, is the message's fault.
func (r *run) unread(ctx context.Context, i item, e *entry, err error) error {
	switch {
	case given(ctx):
		return ctx.Err()
	case keeping(err):
		return &failure{kind: kindState, err: err}
	case errors.Is(err, pop3client.ErrTooLarge):
		// The server has said another size, and the rest of the message is on the connection.
		return errors.Join(r.putAside(ctx, e, false, fmt.Errorf("it has more than the %d octets that are allowed", r.account.MessageMost)), err)
	case refusedReply(err):
		return r.putAside(ctx, e, true, err)
	}
	if f := backends.AsFailure(err); r.src.lasting() && (f.Kind == backends.NotFound || f.Kind == backends.Poison || f.Kind == backends.Permanent || f.Kind == backends.TooLarge) {
		return r.putAside(ctx, e, f.Kind == backends.NotFound, err)
	}
	if i.id == "" {
		err = fmt.Errorf("message %d of the list, of %d octets, which has no unique-id: %w", i.number, i.size, err)
	}
	if e.tries+1 < suspectMost {
		e.tries++
		e.state, e.due, e.reason = setDown, r.now(), backends.SafeText(err.Error())
		if e := r.ledger.put(ctx, r.account.Name, e); e != nil {
			return &failure{kind: kindState, err: e}
		}
		return err
	}
	return errors.Join(r.putAside(ctx, e, true, err), err)
}

// putAside leaves a message at the source for a while. Others go on.
func (r *run) putAside(ctx context.Context, e *entry, passes bool, why error) error {
	e.tries++
	e.state, e.reason = setDown, backends.SafeText(why.Error())
	e.due = r.now().Add(asideFor(passes, e.tries))
	r.count.Aside++
	r.log.Warn().Str("id", backends.SafeText(e.id)).Int64("tries", e.tries).Time("again", e.due).Str(events.Reason, e.reason).
		Msg("a message cannot be collected now: it stays at the source")
	if err := r.ledger.put(ctx, r.account.Name, e); err != nil {
		return &failure{kind: kindState, err: err}
	}
	return nil
}

// handOver gives a message to its recipients.
func (r *run) handOver(ctx context.Context, i item, e *entry, body *buffer.Buffer, sum *digest) error {
	table := r.Table()
	env := readEnvelope(sum.start[:min(len(sum.start), headerWithin)], r.account.Headers, r.mark(), func(domain string) bool {
		store := table.StoreFor(domain)
		return store != nil && store.Receiver != nil
	})
	if why := r.loops(env, sum.start); why != nil {
		return r.putAside(ctx, e, false, why)
	}
	to, fellBack := r.recipients(env)
	if len(to) == 0 {
		return r.putAside(ctx, e, false, errors.New("no field of it names a mailbox here, and there is no fall-back mailbox"))
	}
	retry := e.state != ""
	before := e.state
	e.state = begun
	times, err := r.ledger.begin(ctx, r.account.Name, e, content.MessageID(sum.start), to)
	if err != nil {
		return &failure{kind: kindState, err: err}
	}
	if times > comesMost && before == "" {
		return r.putAside(ctx, e, false, fmt.Errorf("its Message-ID has come %d times in a day for the same recipients: it is in a loop", times))
	}
	d := &delivery{run: r, entry: e, table: table, body: body, sum: sum, env: env, retry: retry, fellBack: fellBack}
	passes, why := d.deliver(ctx, to)
	switch {
	case why != nil && given(ctx):
		return ctx.Err() // it is handed over again under its key
	case why != nil:
		return r.notTaken(ctx, e, why, passes)
	}
	return r.taken(ctx, i, e, d)
}

// notTaken sets a message aside that somebody has not got. Where no store takes mail, the rest need not be read.
func (r *run) notTaken(ctx context.Context, e *entry, why error, passes bool) error {
	if err := r.putAside(ctx, e, passes, why); err != nil {
		return err
	}
	if !passes {
		r.later = 0
		return nil
	}
	if backends.KindOf(why) == backends.OverQuota {
		return nil // the others' mailboxes are not full
	}
	if r.later++; r.later >= refusalsMost {
		return &enough{&failure{kind: kindStore, err: fmt.Errorf("%d messages in a row were not taken: %w", r.later, why)}}
	}
	return nil
}

// enough ends a session in good order.
type enough struct{ failure *failure }

func (e *enough) Error() string        { return e.failure.Error() }
func (e *enough) Unwrap() error        { return e.failure }
func (e *enough) Is(target error) bool { return target == errEnough }

// taken writes down that all recipients have a message, and has it removed if it does not stay.
func (r *run) taken(ctx context.Context, i item, e *entry, d *delivery) error {
	r.later = 0
	e.state, e.taken, e.reason = taken, r.now(), ""
	// It is written though the gateway ends: the recipients have it.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishMost)
	defer cancel()
	if err := r.ledger.put(within, r.account.Name, e); err != nil {
		return &failure{kind: kindState, err: err}
	}
	if d.fellBack {
		r.count.Fallback++
	} else {
		r.count.Delivered++
	}
	r.log.Info().Str(events.Event, events.Fetched).Str("source", r.account.Address).Str("id", backends.SafeText(e.id)).Str("key", d.entry.key).
		Str(events.MessageID, content.MessageID(d.sum.start)).Str("from", d.env.from).Int("recipients", len(e.delivered)).Str("by", d.env.by).
		Bool("fallback", d.fellBack).Int64(events.Octets, d.body.Size()).Msg("message collected")
	if r.removable(e, r.now()) {
		return r.discard(ctx, i)
	}
	return nil
}

// mark is what this account writes into a message.
func (r *run) mark() string { return r.account.Name + " at " + r.Hostname() }

const (
	// hopsMost is how often a message may have been taken in by this host, as of mail that comes by SMTP.
	hopsMost = 10
	// comesMost is how often a Message-ID may come in a day for the same recipients.
	comesMost = 10
)

// loops says why a message is in a loop; nil: it is in none, so far as can be seen (RFC 5321 §6.3).
func (r *run) loops(env envelope, start []byte) error {
	hostname := r.Hostname()
	switch {
	case env.trace > 0:
		return errors.New("this account has collected it before: it has come back, and is in a loop")
	case env.received > r.Hops():
		return fmt.Errorf("it has passed %d servers: it is in a loop", env.received)
	case strings.Contains(hostname, ".") && content.Hops(start[:min(len(start), content.HopsWithin)], hostname) > hopsMost:
		return errors.New("it has come to this host too often: it is in a loop")
	}
	return nil
}

// recipients are the mailboxes that a message is for, or the fall-back mailbox.
func (r *run) recipients(env envelope) (to []string, fellBack bool) {
	switch {
	case r.account.To != "":
		return []string{r.account.To}, false
	case len(env.to) > 0 && len(env.to) <= recipientsMost:
		return env.to, false
	case len(env.to) > recipientsMost:
		r.log.Warn().Int("recipients", len(env.to)).Str("by", env.by).Msg("a message names too many recipients: it goes to the fall-back mailbox")
	}
	if r.account.Fallback == "" {
		return nil, false
	}
	return []string{r.account.Fallback}, true
}

// delivery is a message on its way to its recipients.
type delivery struct {
	*run
	entry    *entry
	table    *stores.Table
	body     *buffer.Buffer
	sum      *digest
	env      envelope
	retry    bool
	fellBack bool
}

// deliver hands the message to those who have no copy, and in place of those who refuse it for good to the fall-back mailbox.
// The error is the first reason why somebody has none, and passes says that it may pass.
func (d *delivery) deliver(ctx context.Context, to []string) (passes bool, why error) {
	outcomes, err := d.to(ctx, to)
	if err != nil {
		return true, err
	}
	var refused error
	for _, o := range outcomes {
		d.tell(o)
		switch {
		case o.Err == nil:
			d.entry.delivered = append(d.entry.delivered, o.Recipient.Address)
		case o.Temporary():
			why = fmt.Errorf("%s: %w", o.Recipient.Address, o.Err)
		default:
			refused = fmt.Errorf("%s: %w", o.Recipient.Address, o.Err)
		}
	}
	fallback := d.account.Fallback
	switch {
	case why != nil:
		return true, why
	case refused == nil:
		return false, nil
	case fallback == "" || slices.Contains(to, fallback) && !slices.Contains(d.entry.delivered, fallback):
		return false, refused
	}
	d.log.Warn().Err(refused).Str("fallback", fallback).Msg("a recipient refuses a message: it goes to the fall-back mailbox")
	d.fellBack = true
	return d.deliver(ctx, []string{fallback})
}

// to hands the message to recipients by their stores. Those who have it are left out.
func (d *delivery) to(ctx context.Context, to []string) (outcomes []receivers.Outcome, err error) {
	groups := make(map[*stores.Store][]backends.Recipient)
	for _, text := range to {
		if slices.Contains(d.entry.delivered, text) {
			continue
		}
		box, err := address.Parse(text)
		if err != nil {
			return nil, err
		}
		store := d.table.StoreFor(box.Domain)
		if store == nil || store.Receiver == nil {
			outcomes = append(outcomes, receivers.Outcome{
				Recipient: backends.Recipient{Address: text}, Err: backends.Fail(backends.Permanent, "no store takes mail for %s", box.Domain),
			})
			continue
		}
		groups[store] = append(groups[store], backends.Recipient{Address: box.String(), Notify: backends.NotifyNever})
	}
	for store, recipients := range groups {
		m, err := d.message(recipients)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, m.DeliverTo(ctx, store, recipients)...)
	}
	return outcomes, nil
}

// returnPath is what the store makes of the reverse-path (RFC 5321 §4.4).
const returnPath = "Return-Path"

// message is the message as stores get it: behind this hop's trace, without the Return-Path of an earlier delivery.
func (d *delivery) message(to []backends.Recipient) (receivers.Message, error) {
	joint, err := content.Joint(d.body.Reader())
	if err != nil {
		return receivers.Message{}, err
	}
	left := int64(0)
	if joint != content.EmptyHeader {
		if left, err = content.OctetsOf(d.body.Reader(), returnPath); err != nil {
			return receivers.Message{}, err
		}
	}
	lead := d.trace() + joint
	utf8 := !address.ASCII(d.env.from) || slices.ContainsFunc(to, func(r backends.Recipient) bool { return !address.ASCII(r.Address) })
	return receivers.Message{
		Log: d.log,
		Delivery: backends.Delivery{
			Key: d.entry.key, Retry: d.retry, Received: d.entry.first, Size: int64(len(lead)) + d.body.Size() - left,
			Envelope: backends.Envelope{From: d.env.from, Body: backends.BodyOf(d.sum.eight), SMTPUTF8: utf8},
			Peer:     backends.Peer{Address: d.account.Address, Protocol: "collect", Session: d.entry.key},
		},
		Content: func() io.Reader {
			rest := io.Reader(d.body.Reader())
			if left > 0 {
				rest = content.Without(rest, returnPath)
			}
			return io.MultiReader(strings.NewReader(lead), rest)
		},
		Opening: d.Opening(),
	}, nil
}

// trace is the Received field of this hop (RFC 5321 §4.4), and what tells this account's mail when it comes back. It is the same
// at each try.
func (d *delivery) trace() string {
	host := hostOf(d.account.Address)
	protocol := map[string]string{POP3: "POP3", IMAP: "IMAP"}[d.account.Protocol]
	return "Received: from " + host + "\r\n\tby " + d.Hostname() + " with " + protocol + " id " + d.entry.key + ";\r\n\t" +
		d.entry.first.Local().Format("Mon, 2 Jan 2006 15:04:05 -0700") + "\r\n" + traceField + ": " + d.mark() + "\r\n"
}

// hostOf is the host of an address with a port, as it stands in a trace field.
func hostOf(at string) string {
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return at // the configuration was checked
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return address.Literal(ip)
	}
	return host
}

// tell logs what became of a recipient.
func (d *delivery) tell(o receivers.Outcome) {
	event, outcome, code, enhanced := d.log.Info(), "delivered", 250, "2.0.0"
	if o.Err != nil {
		event, outcome, code, enhanced = d.log.Warn(), "refused", o.Reply().Code, o.Reply().Enhanced
		if o.Unknown {
			outcome = "uncertain"
		} else if o.Temporary() {
			outcome = "deferred"
		}
	}
	event.Str(events.Event, events.Delivery).Str("key", d.entry.key).Str("from", d.env.from).Str("recipient", o.Recipient.Address).Str(events.Store, o.Store).
		Str(events.Outcome, outcome).Int("code", code).Str("enhanced", enhanced).Str(events.MessageID, content.MessageID(d.sum.start)).
		Int64(events.Octets, d.body.Size()).Bool("again", d.retry).AnErr("cause", o.Err).Msg("delivery")
}
