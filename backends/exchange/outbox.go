package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

var _ backends.Outbox = (*Store)(nil)

// outbox is where mail waits that the gateway is to send: a folder of a mailbox, or the Outbox of users whose server has no transport, which the
// service account opens; or the Drop folder of a foreign connector.
type outbox struct {
	Mailbox string   `json:"mailbox"` // its address
	Folder  string   `json:"folder"`  // by its path; empty: the Outbox
	Users   []string `json:"users"`   // their addresses
	Drop    string   `json:"drop"`    // a folder of files
}

// usersMost is how many users' Outboxes are looked at: each takes a session context whenever the gateway looks.
const usersMost = 1000

// given says whether there is an outbox.
func (o *outbox) given() bool { return o.opened() || o.Drop != "" }

// opened says whether it is in mailboxes.
func (o *outbox) opened() bool { return o.Mailbox != "" || len(o.Users) > 0 }

func (o *outbox) check(wrong *backends.SettingsError, service service) {
	isNone := func(address string) bool { return !strings.Contains(address, "@") }
	switch {
	case o.Mailbox == "" && o.Folder != "":
		wrong.Add("outbox.mailbox", "whose folder is it? The address of the mailbox is missing")
	case o.Mailbox != "" && isNone(o.Mailbox):
		wrong.Add("outbox.mailbox", "expected an address: connector@sakes.example")
	case o.Mailbox != "" && len(o.Users) > 0:
		wrong.Add("outbox.users", "mailbox is set, too: choose one")
	case o.opened() && o.Drop != "":
		wrong.Add("outbox.drop", "mailbox or users are set, too: choose one, or make another store of kind exchange for it")
	case slices.ContainsFunc(o.Users, isNone):
		wrong.Add("outbox.users", "expected addresses: george@sakes.example")
	case len(o.Users) > usersMost:
		wrong.Add("outbox.users", "more than %d: let the server put what is for others into one mailbox, and set mailbox", usersMost)
	case o.opened() && !service.given():
		wrong.Add("outbox", "it is the service account that opens it: set service.user and service.password")
	}
}

// box is a folder that is collected from.
type box struct {
	mailbox, folder string
	prefix          string // of the ids of its messages, which say no mailbox
}

// boxes are the folders that are collected from.
func (o *outbox) boxes() (all []box) {
	if o.Mailbox != "" {
		return []box{{mailbox: o.Mailbox, folder: o.Folder}}
	}
	for _, user := range o.Users {
		all = append(all, box{mailbox: user, prefix: user + "/"})
	}
	return all
}

// Names of our own properties on mail that waits: until when it is the gateway's, and who of its recipients is done with.
var (
	leaseName   = mapi.Named{Set: mapi.PSPublicStrings, Name: "DipylonLease"}
	settledName = mapi.Named{Set: mapi.PSPublicStrings, Name: "DipylonSettled"}
	leaseFor    = mapi.Named{Set: mapi.PSPublicStrings, Name: "DipylonLeaseSeconds"}
)

// openOutbox is the outbox while it is open.
type openOutbox struct {
	*reading
	prefix                                  string // of ids
	submittedOnly                           bool   // what is not submitted is still being written
	lease, seconds, settled, recipientsProp mapi.Tag

	registration *rop.Object // of notifications; nil: there is none
	registered   int         // the generation of the session that it belongs to
	next         time.Time   // when a lease runs out, of those that were seen last; zero: never
}

// errNoOutbox says that there is none.
var errNoOutbox = backends.Fail(backends.Unsupported, "the store has no outbox: set outbox.mailbox, outbox.users or outbox.drop")

// enterOutbox opens a folder.
func (s *Store) enterOutbox(ctx context.Context, b box) (*openOutbox, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	m, err := s.reach(ctx, s.asService(b.mailbox), b.folder)
	if err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w := &openOutbox{reading: &reading{m, m.session}, prefix: b.prefix, submittedOnly: b.folder == ""}
	if err := w.do(ctx, w.prepare); err != nil {
		w.leave()
		return nil, err
	}
	return w, nil
}

func (w *openOutbox) leave() {
	w.cancel()
	w.session.close()
}

// prepare finds the folder, if it is the Outbox, and the ids of our properties. It is one's turn.
func (w *openOutbox) prepare(ctx context.Context) error {
	c := w.session
	if w.submittedOnly {
		c.fid = c.folders[rop.FolderOutbox]
		if c.folder != nil {
			c.release(c.generation, c.folder)
			c.folder = nil // it was the Inbox
		}
	}
	var b rop.Batch
	ids := rop.On(&b, c.logon, &rop.GetPropertyIDsFromNames{Flags: rop.NamesCreate, PropertyNames: []mapi.Named{leaseName, leaseFor, settledName, sentName}})
	if err := errors.Join(c.ops.Do(ctx, &b), b.Err()); err != nil {
		return err
	}
	if len(ids.PropertyIDs) != 4 || slices.Contains(ids.PropertyIDs, 0) {
		return fmt.Errorf("%w: names without ids", rop.ErrProtocol)
	}
	w.lease, w.seconds = mapi.NewTag(ids.PropertyIDs[0], mapi.PtypTime), mapi.NewTag(ids.PropertyIDs[1], mapi.PtypInteger32)
	w.settled, w.recipientsProp = mapi.NewTag(ids.PropertyIDs[2], mapi.PtypBinary), mapi.NewTag(ids.PropertyIDs[3], mapi.PtypBinary)
	return nil
}

// outboxMost is how many messages one Collect looks at.
const outboxMost = 1000

// due are the messages that nobody has leased, in their order. It is one's turn.
func (w *openOutbox) due(ctx context.Context) (all []backends.MessageID, err error) {
	c := w.session
	columns := []mapi.Tag{mapi.PidTagMid, mapi.PidTagMessageFlags, w.lease}
	w.next = time.Time{}
	var b rop.Batch
	folder := c.begin(&b)
	table, opened := rop.Open(&b, folder, &rop.GetContentsTable{})
	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
	rows := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: outboxMost, Columns: columns})
	rop.Release(&b, table)
	if err := errors.Join(c.run(ctx, &b), opened.Err(), rows.Err()); err != nil {
		return nil, err
	}
	for _, row := range rows.Rows {
		mid, is := row[0].(mapi.Integer64)
		flags, _ := row[1].(mapi.Integer32)
		until, leased := row[2].(mapi.Time)
		if is && leased && until.Time().After(time.Now()) && (w.next.IsZero() || until.Time().Before(w.next)) {
			w.next = until.Time()
		}
		if !is || leased && until.Time().After(time.Now()) || flags&flagSubmitted == 0 && (w.submittedOnly || flags&flagUnsent != 0) {
			continue
		}
		id, err := c.lasting(ctx, mid.ObjectID())
		if err != nil {
			return nil, err
		}
		all = append(all, backends.MessageID(id))
	}
	return all, nil
}

// state is what our properties say of a message.
type state struct {
	until               time.Time
	seconds             mapi.Integer32
	settled, recipients mapi.Binary
}

// change opens a message, and saves what is to be set: nil leaves it. It says whether the message is there, and nobody else has changed it meanwhile.
func (w *openOutbox) change(ctx context.Context, id backends.MessageID, what func(state) []mapi.Property) (changed bool, err error) {
	err = w.do(ctx, func(ctx context.Context) error {
		c := w.session
		current, err := c.current(ctx, []backends.MessageID{id})
		mid, known := current[id]
		if err != nil || !known {
			return err
		}
		var b rop.Batch
		folder := c.begin(&b)
		message, opened := rop.Open(&b, folder, &rop.OpenMessage{CodePageID: rop.CodePageOfLogon, FolderID: c.fid, OpenModeFlags: rop.OpenReadWrite, MessageID: mid})
		values := rop.On(&b, message, &rop.GetPropertiesSpecific{PropertyTags: []mapi.Tag{w.lease, w.seconds, w.settled, w.recipientsProp}})
		if err := c.run(ctx, &b); err != nil {
			return err
		}
		if err := opened.Err(); errors.Is(err, rop.NotFound) || errors.Is(err, rop.ObjectDeleted) {
			return nil
		}
		if err := errors.Join(opened.Err(), values.Err()); err != nil {
			return err
		}
		defer c.release(c.generation, message)
		var now state
		if until, ok := values.Value(w.lease).(mapi.Time); ok {
			now.until = until.Time()
		}
		now.seconds, _ = values.Value(w.seconds).(mapi.Integer32)
		now.settled, _ = values.Value(w.settled).(mapi.Binary)
		now.recipients, _ = values.Value(w.recipientsProp).(mapi.Binary)
		set := what(now)
		if set == nil {
			return nil
		}
		b = rop.Batch{}
		rop.On(&b, message, &rop.SetProperties{PropertyValues: set})
		rop.Save(&b, message, message, &rop.SaveChangesMessage{SaveFlags: rop.SaveKeepOpenReadWrite})
		err = errors.Join(c.ops.Do(ctx, &b), b.Err())
		if errors.Is(err, rop.ObjectChanged) || errors.Is(err, rop.ObjectDeleted) {
			return nil
		}
		changed = err == nil
		return err
	})
	return changed, err
}

// leased are the properties of a lease.
func (w *openOutbox) leased(d time.Duration) []mapi.Property {
	return []mapi.Property{
		{Tag: w.lease, Value: mapi.NewTime(time.Now().Add(d))}, {Tag: w.seconds, Value: mapi.Integer32((d + time.Second - 1) / time.Second)},
	}
}

// Collect implements [backends.Outbox]. A message is leased before it is looked into: the lease is on the message itself, and of two who want
// it one has changed it first. Each folder is looked at once, beginning with another one each time. One that cannot be opened holds up no other.
func (s *Store) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	if s.drop != nil {
		return s.drop.Collect(ctx, request, accept)
	}
	form, err := formOf(request.Rendering)
	if err != nil {
		return err
	}
	all := s.settings.Outbox.boxes()
	if len(all) == 0 {
		return errNoOutbox
	}
	c := &collection{store: s, form: form, request: request, accept: accept}
	first, failed := int(s.collections.Add(1)%uint32(len(all))), 0
	for i := range all {
		b := all[(first+i)%len(all)]
		w, err := s.enterOutbox(ctx, b)
		if ctx.Err() != nil {
			return backends.Fail(backends.Temporary, "collect: %w", context.Cause(ctx))
		}
		if err != nil {
			if failed++; failed == len(all) {
				return err
			}
			s.log.Warn().Err(err).Str("mailbox", b.mailbox).Msg("this mailbox's outbox cannot be opened now")
			continue
		}
		if len(all) == 1 {
			err = c.waiting(ctx, w)
		} else {
			err = c.from(ctx, w)
		}
		w.leave()
		if err != nil || c.full() {
			return err
		}
	}
	return nil
}

// collection is one Collect.
type collection struct {
	store   *Store
	form    mime.Form
	request backends.CollectRequest
	accept  func(context.Context, backends.Outgoing, backends.Content) error
	taken   int
}

func (c *collection) full() bool { return c.request.Most > 0 && c.taken >= c.request.Most }

// from hands over what is due in a folder.
func (c *collection) from(ctx context.Context, w *openOutbox) error {
	var due []backends.MessageID
	if err := w.do(ctx, func(ctx context.Context) (err error) { due, err = w.due(ctx); return err }); err != nil {
		return err
	}
	for _, id := range due {
		if c.full() {
			break
		}
		mine, err := w.change(ctx, id, func(now state) []mapi.Property {
			if now.until.After(time.Now()) {
				return nil // somebody was faster
			}
			return w.leased(c.request.Lease)
		})
		if err != nil {
			return err
		}
		if !mine {
			continue
		}
		c.taken++
		if err := w.hand(ctx, id, c.form, c.request, c.accept); err != nil {
			return err
		}
	}
	return nil
}

// hand hands over a message that is leased. One that cannot be made mail stays leased, and is tried again after that.
func (w *openOutbox) hand(ctx context.Context, id backends.MessageID, form mime.Form, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	o, err := w.message(ctx, &stream{id: id})
	if kind := backends.KindOf(err); kind == backends.Poison || kind == backends.NotFound {
		w.store.log.Warn().Err(err).Str("mailbox", w.account.Address).Str("message", string(id)).Msg("a message in the outbox cannot be read, and stays there")
		return nil
	}
	if err != nil {
		return err
	}
	defer o.discard()
	out := backends.Outgoing{ID: backends.MessageID(w.prefix) + id, Envelope: backends.Envelope{From: w.sender(o.message)}, Size: -1}
	if at, ok := mapi.As[mapi.Time](&o.message.Properties, mapi.PidTagClientSubmitTime); ok {
		out.Queued = at.Time()
	}
	all := w.addressees(o.message)
	there, err := w.change(ctx, id, func(now state) []mapi.Property {
		for _, r := range all {
			if !wasSentTo(now.settled, r.Address) {
				out.Recipients = append(out.Recipients, r)
			}
		}
		return append(w.leased(request.Lease), mapi.Property{Tag: w.recipientsProp, Value: sentTo(all)})
	})
	switch {
	case err != nil || !there:
		return err
	case len(all) == 0:
		w.store.log.Warn().Str("mailbox", w.account.Address).Str("message", string(id)).Msg("a message in the outbox names nobody whom it could be sent to, and stays there: address it, or delete it")
		return nil
	case len(out.Recipients) == 0: // it was settled, and whoever did so was ended before it was deleted
		return w.remove(ctx, id)
	}
	content, err := w.content(ctx, id, o, form, backends.FetchManyRequest{})
	if err != nil {
		w.store.log.Warn().Err(err).Str("mailbox", w.account.Address).Str("message", string(id)).Msg("a message in the outbox cannot be made mail, and stays there")
		return nil
	}
	defer content.Close()
	out.Size = content.Size()
	if err := accept(ctx, out, content); err != nil {
		free := context.WithoutCancel(ctx)
		_, _ = w.change(free, id, func(state) []mapi.Property { return w.leased(0) })
		return err
	}
	return nil
}

// sender is the reverse-path: who is represented, or who has sent it.
func (w *openOutbox) sender(m *mapi.Message) string {
	for _, tags := range []mapi.AddressTags{mapi.SentRepresentingAddress, mapi.SenderAddress} {
		if a, named := m.Address(tags); named && a.SMTP != "" {
			return a.SMTP
		}
	}
	return w.account.Address
}

// addressees are the recipients of a message, each once. Who has no Internet address has one of the store's domain that stands for theirs (MS-OXCMAIL
// §2.1.3.1.8). Those whom somebody else delivers to (PidTagResponsibility) get nothing from here, unless that is said of all: servers say so of what has arrived.
func (w *openOutbox) addressees(m *mapi.Message) (all []backends.Recipient) {
	domain := ""
	if len(w.store.domains) > 0 {
		domain = w.store.domains[0]
	}
	some := slices.ContainsFunc(m.Recipients, func(r *mapi.Recipient) bool { return !r.Bool(mapi.PidTagResponsibility) })
	for _, r := range m.Recipients {
		if some && r.Bool(mapi.PidTagResponsibility) {
			continue
		}
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		a, named := r.Address(mapi.RecipientAddress)
		address := a.SMTP
		if address == "" && named {
			address = mime.Encapsulate(a.Type, a.Address, domain)
		}
		if uint8(kind)&recipientSeen == 0 && sendableAddress(address) && !contains(all, address) {
			all = append(all, backends.Recipient{Address: address})
		}
	}
	return all
}

// Settle implements [backends.Outbox]. A message of which each recipient is done with is deleted; otherwise its lease starts again.
func (s *Store) Settle(ctx context.Context, settlements []backends.Settlement) error {
	if s.drop != nil {
		return s.drop.Settle(ctx, settlements)
	}
	all := s.settings.Outbox.boxes()
	if len(all) == 0 {
		return errNoOutbox
	}
	var failures []error
	for _, b := range all {
		var here []backends.Settlement
		for _, one := range settlements {
			if id, is := strings.CutPrefix(string(one.ID), b.prefix); is {
				here = append(here, backends.Settlement{ID: backends.MessageID(id), Verdicts: one.Verdicts})
			}
		}
		if len(here) > 0 {
			failures = append(failures, s.settleIn(ctx, b, here))
		}
	}
	return errors.Join(failures...)
}

// settleIn settles messages of one folder.
func (s *Store) settleIn(ctx context.Context, b box, settlements []backends.Settlement) error {
	w, err := s.enterOutbox(ctx, b)
	if err != nil {
		return err
	}
	defer w.leave()
	for _, one := range settlements {
		if err := w.settle(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (w *openOutbox) settle(ctx context.Context, one backends.Settlement) error {
	finished := false
	_, err := w.change(ctx, one.ID, func(now state) []mapi.Property {
		settled := now.settled
		for _, v := range one.Verdicts {
			if !wasSentTo(settled, v.Recipient) {
				settled = append(settled, hashOf(v.Recipient)...)
			}
		}
		finished = len(now.recipients) > 0
		for hash := range slices.Chunk(now.recipients, recipientHash) {
			finished = finished && hasHash(settled, hash)
		}
		set := w.leased(time.Duration(now.seconds) * time.Second)
		if len(settled) > 0 {
			set = append(set, mapi.Property{Tag: w.settled, Value: settled})
		}
		return set
	})
	if err != nil || !finished {
		return err
	}
	return w.remove(ctx, one.ID)
}

// remove deletes a message, if it is there.
func (w *openOutbox) remove(ctx context.Context, id backends.MessageID) error {
	return w.do(ctx, func(ctx context.Context) error {
		c := w.session
		current, err := c.current(ctx, []backends.MessageID{id})
		if err != nil || len(current) == 0 {
			return err
		}
		var b rop.Batch
		folder := c.begin(&b)
		gone := rop.On(&b, folder, &rop.HardDeleteMessages{DeleteMessages: rop.DeleteMessages{MessageIDs: objectsOf(current)}})
		return errors.Join(c.run(ctx, &b), gone.Err())
	})
}
