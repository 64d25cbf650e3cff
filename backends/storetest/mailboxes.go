package storetest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// drop is an open maildrop whose failures end the case. It is closed once, however often it
// is asked to: the contract says no more of Close.
type drop struct {
	backends.Maildrop
	t    *trial
	once func() error
}

func (t *trial) newDrop(opened backends.Maildrop) drop {
	return drop{opened, t, sync.OnceValue(opened.Close)}
}

// adopt makes a drop that the case's end closes.
func (t *trial) adopt(opened backends.Maildrop) drop {
	d := t.newDrop(opened)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (d drop) Close() error { return d.once() }

// open opens an inbox; the case's end closes it.
func (t *trial) open(box mailbox) drop {
	d, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(box)})
	if err != nil {
		t.Fatalf("opening the inbox of %s: %w", box.user, err)
	}
	return t.adopt(d)
}

func (d drop) close() {
	if err := d.Close(); err != nil {
		d.t.Errorf("closing the maildrop: %w", err)
	}
}

func (d drop) list() []backends.Entry {
	var all []backends.Entry
	for e, err := range d.List(d.t.ctx) {
		if err != nil {
			d.t.Fatalf("listing: %w", err)
		}
		all = append(all, e)
	}
	return all
}

// read fetches and reads to the end.
func (d drop) read(request backends.FetchRequest) ([]byte, error) {
	c, err := d.Fetch(d.t.ctx, request)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if size := c.Size(); size > 0 {
		b.Grow(int(min(size, 64<<20)) + bytes.MinRead)
	}
	_, err = b.ReadFrom(c)
	if closing := c.Close(); err == nil && closing != nil {
		d.t.Errorf("closing a content that was read to its end: %w", closing)
	}
	return b.Bytes(), err
}

func (d drop) fetch(id backends.MessageID) []byte {
	data, err := d.read(backends.FetchRequest{ID: id})
	if err != nil {
		d.t.Fatalf("fetching %q: %w", id, err)
	}
	return data
}

func (d drop) top(id backends.MessageID, lines int) []byte {
	data, err := d.read(backends.FetchRequest{ID: id, Top: true, Lines: lines})
	if err != nil {
		d.t.Fatalf("fetching the top of %q, %d lines: %w", id, lines, err)
	}
	return data
}

func (d drop) remove(ids ...backends.MessageID) {
	for part := range slices.Chunk(ids, cmp.Or(d.t.description.Limits.RemovalsAtATime, max(1, len(ids)))) {
		removals, err := d.Remove(d.t.ctx, part, backends.DisposalRemove)
		if err != nil {
			d.t.Fatalf("removing: %w", err)
		}
		for _, r := range removals {
			if r.Failure != nil {
				d.t.Fatalf("removing %q: %w", r.ID, r.Failure)
			}
		}
	}
}

func idsOf(entries []backends.Entry) []backends.MessageID {
	ids := make([]backends.MessageID, 0, len(entries))
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// empty removes everything from the inboxes of the accounts.
func (t *trial) empty(boxes ...mailbox) {
	for _, box := range boxes {
		for before := -1; ; {
			d := t.open(box)
			ids := idsOf(d.list())
			if len(ids) > 0 {
				d.remove(ids...)
			}
			d.close()
			if len(ids) == 0 || len(ids) == before {
				break // empty, or as full as it was: the case will see it
			}
			before = len(ids)
		}
	}
}

// emptyAll empties both accounts, or the one that there is.
func (t *trial) emptyAll() {
	t.empty(t.first())
	if t.SecondUser != "" {
		t.empty(t.second())
	}
}

// put puts messages into an inbox, one after the other.
func (t *trial) put(box mailbox, mails ...mail) {
	for _, m := range mails {
		if t.Put == nil {
			t.delivered(t.deliver(m, box.address))
		} else if err := t.Put(t.ctx, box.user, m.data); err != nil {
			t.Fatalf("putting a message into the inbox of %s: %w", box.user, err)
		}
	}
	if t.Put != nil {
		t.until("the message that was put into the inbox", func() bool { return t.holds(box, mails[len(mails)-1]) })
	}
}

// holds says whether an inbox has a message. One that is open already, in a store that lets
// one session in at a time, cannot be looked at: it is taken to have it.
func (t *trial) holds(box mailbox, m mail) bool {
	opened, err := t.store.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(box)})
	if backends.KindOf(err) == backends.InUse {
		return true
	} else if err != nil {
		t.Fatalf("opening the inbox of %s: %w", box.user, err)
	}
	d := t.newDrop(opened)
	defer d.close()
	return slices.ContainsFunc(d.list(), func(e backends.Entry) bool { return m.is(d.fetch(e.ID)) })
}

// filled is a maildrop on an inbox that holds these messages and nothing else, and its list.
func (t *trial) filled(box mailbox, mails ...mail) (drop, []backends.Entry) {
	t.empty(box)
	t.put(box, mails...)
	d := t.open(box)
	entries := d.list()
	if len(entries) != len(mails) {
		t.Fatalf("the inbox lists %d messages, and %d were put there", len(entries), len(mails))
	}
	return d, entries
}

// expect looks into an inbox: exactly these messages, whatever their order, unharmed.
func (t *trial) expect(box mailbox, mails ...mail) {
	d := t.open(box)
	defer d.close()
	left := slices.Clone(mails)
	for _, e := range d.list() {
		data := d.fetch(e.ID)
		i := slices.IndexFunc(left, func(m mail) bool { return m.is(data) })
		if i < 0 {
			t.Errorf("the inbox of %s holds a message that should not be there, or twice: %s", box.user, excerpt(data))
			continue
		}
		t.same(left[i], data)
		left = slices.Delete(left, i, i+1)
	}
	for _, m := range left {
		t.Errorf("the inbox of %s lacks the message %q", box.user, m.tag)
	}
}

func (t *trial) deliver(m mail, recipients ...string) ([]backends.Verdict, error) {
	return t.deliverAs(t.delivery(m, recipients...), m.reader())
}

func (t *trial) delivery(m mail, recipients ...string) backends.Delivery {
	return backends.Delivery{
		Key: m.tag, Envelope: backends.Envelope{From: t.Address, Body: backends.Body8BitMIME},
		Recipients: backends.To(recipients...), Size: int64(len(m.data)), Received: time.Now().UTC(),
		Peer: backends.Peer{Address: "192.0.2.1:50123", Protocol: "smtp", Session: t.id},
	}
}

// deliverAs delivers, and makes sure of the form of the verdicts.
func (t *trial) deliverAs(d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts, err := t.store.(backends.Receiver).Deliver(t.ctx, d, content)
	if err == nil {
		t.judge(d.Recipients, verdicts)
	}
	return verdicts, err
}

// judge ends the case unless the verdicts are on each recipient, in their order, and hold together.
func (t *trial) judge(asked []backends.Recipient, verdicts []backends.Verdict) {
	if err := backends.CheckVerdicts(asked, verdicts); err != nil {
		t.Fatalf("the verdicts: %w", err)
	}
}

// tracked makes sure of the form of what verdicts tell of where a message went, which is optional.
func (t *trial) tracked(verdicts []backends.Verdict, err error) {
	if err != nil {
		t.Fatalf("delivering: %w", err)
	}
	told := false
	for _, v := range verdicts {
		told = told || v.Destination != "" || v.RemoteDiagnostic != ""
		if err := v.CheckTrack(); err != nil {
			t.Errorf("the verdict on %s: %w", v.Recipient, err)
		}
	}
	if !told {
		t.notOffered("it does not tell where messages go")
	}
}

// delivered ends the case unless everybody got the message.
func (t *trial) delivered(verdicts []backends.Verdict, err error) {
	if err := failureOf(verdicts, err); err != nil {
		t.Fatalf("delivering: %w", err)
	}
}

// failureOf is the call's error, or the first verdict's failure.
func failureOf(verdicts []backends.Verdict, err error) error {
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		if v.Failure != nil {
			return fmt.Errorf("recipient %s: %w", v.Recipient, v.Failure)
		}
	}
	return nil
}

// allFailed says whether nobody got the message.
func allFailed(verdicts []backends.Verdict, err error) bool {
	return err != nil || !slices.ContainsFunc(verdicts, func(v backends.Verdict) bool { return v.Failure == nil })
}
