package jmap

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
)

// email is what is asked of each message (RFC 8621 §4.1.1).
type email struct {
	ID         string
	BlobID     string
	Size       int64 // -1: not known
	ReceivedAt string
	Keywords   truths
	MailboxIDs truths // nil: the server does not say it

	uidl string   // what the header field of the administrator's rule holds
	keys []string // what the fields with a delivery's key hold, where they were asked for
}

// UnmarshalJSON reads a message, and the header fields that were asked for, whose names are a part
// of the properties' (RFC 8621 §4.1.3). A property that is odd is one that is not known.
func (e *email) UnmarshalJSON(raw []byte) error {
	e.Size = -1
	given := loosely(raw, into{
		"id": &e.ID, "blobId": &e.BlobID, "size": &e.Size, "receivedAt": &e.ReceivedAt, "keywords": &e.Keywords, "mailboxIds": &e.MailboxIDs,
	})
	if e.Size <= 0 { // not even a message of nothing has no line
		e.Size = -1
	}
	for name, value := range given {
		var values []string
		if !strings.HasPrefix(name, "header:") || json.Unmarshal(value, &values) != nil || len(values) == 0 {
			continue
		}
		if strings.EqualFold(name, keyProperty) {
			for _, v := range values {
				e.keys = append(e.keys, strings.TrimSpace(v))
			}
		} else {
			e.uidl = uidl.FromValue(values[0])
		}
	}
	return nil
}

var emailProperties = []string{"id", "blobId", "size", "receivedAt", "keywords", "mailboxIds"}

// emails asks for the properties of messages.
func emails(ids any, into *emailList) call {
	name := "ids"
	if _, ok := ids.(map[string]any); ok {
		name = "#ids" // a back-reference
	}
	return call{"Email/get", map[string]any{name: ids, "properties": emailProperties}, into}
}

type emailList struct {
	List     []email `json:"list"`
	State    string  `json:"state"`
	NotFound texts   `json:"notFound"` // nil: the server does not say it
}

const (
	pageMost     = 4096     // messages asked for at once
	restartsMost = 8        // of one list, because of changes meanwhile
	listMost     = 10000000 // messages of a mailbox: a server that tells of more is not believed
)

// List asks for ids and properties in one request for each page. A mailbox that changes between
// two pages may have moved messages from one to the other, so the list starts again then, and
// goes over what it has given already.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		ctx, cancel := m.bound(ctx)
		defer cancel(nil)
		more := func(e email) bool { return yield(m.entry(e), nil) }
		for range restartsMost {
			again, err := m.listOnce(ctx, more)
			switch {
			case err != nil:
				yield(backends.Entry{}, err)
				return
			case !again:
				return
			}
		}
		yield(backends.Entry{}, backends.Fail(backends.Temporary, "the mailbox has changed %d times while it was listed", restartsMost))
	}
}

// listOnce goes through all pages, and gives each message that has not been given before. again
// says that the mailbox has changed meanwhile.
func (m *maildrop) listOnce(ctx context.Context, give func(email) bool) (again bool, err error) {
	state, total := "", int64(0)
	for position := int64(0); ; {
		p, err := m.page(ctx, position)
		if err != nil {
			return false, err
		}
		if position == 0 {
			state, total = p.QueryState, p.Total
		}
		if p.QueryState != state || p.Position != position || p.Total != total {
			return true, nil
		}
		for _, e := range p.emails {
			if m.isNew(e) && !give(e) {
				return false, nil
			}
		}
		if position += int64(len(p.IDs)); len(p.IDs) == 0 && position < total || position > listMost {
			return false, backends.Fail(backends.Temporary, "the server lists %d messages and says that there are %d", position, total)
		}
		if position >= total {
			return false, nil
		}
	}
}

// isNew remembers a message, and says whether it was not known.
func (m *maildrop) isNew(e email) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.listed[e.ID]
	m.listed[e.ID] = listed{e.BlobID, e.Size}
	return !known
}

func (m *maildrop) entry(e email) backends.Entry {
	received, err := time.Parse(time.RFC3339, e.ReceivedAt)
	if err != nil {
		received = time.Time{} // it is not known, and the message none the worse for it
	}
	entry := backends.Entry{ID: backends.MessageID(e.ID), Size: e.Size, Exact: m.store.sizes.exact(m.account.ID, e.ID), Received: received.UTC(), Seen: e.Keywords["$seen"], UIDL: e.uidl}
	if e.Size < 0 {
		entry.Size, entry.Exact = -1, false
	}
	return entry
}

// page is a part of the list.
type page struct {
	QueryState string `json:"queryState"`
	IDs        texts  `json:"ids"`
	Position   int64  `json:"position"`
	Total      int64  `json:"total"`

	emails []email // in the order of the ids; those that went meanwhile are not among them
}

// page asks for messages, oldest first.
func (m *maildrop) page(ctx context.Context, position int64) (*page, error) {
	r, err := m.session.resource(ctx)
	if err != nil {
		return nil, err
	}
	p, got := &page{}, emailList{}
	query := call{"Email/query", map[string]any{
		"filter": map[string]any{"inMailbox": m.box}, "sort": m.order(r), "collapseThreads": false,
		"position": position, "limit": min(pageMost, r.Capabilities.Core.ObjectsInGet), "calculateTotal": true,
	}, p}
	listed := m.listing(reference(0, "Email/query", "/ids"), &got)
	err = m.session.request(ctx, query, listed)
	odd := 0
	for _, id := range p.IDs {
		if !isID(id) {
			odd++
			m.store.log.Warn().Str("account", m.account.ID).Str("id", id).Msg("the JMAP server lists a message with an id that is none; it is left out")
		}
	}
	if odd > 0 && odd == len(p.IDs) {
		return nil, backends.Fail(backends.Temporary, "the server lists messages with ids that are none: %.300q", p.IDs[0])
	}
	if err != nil && (len(p.IDs) < 2 || !ofOneMessage(err)) {
		return nil, err
	}
	if err != nil {
		if got.List, err = m.inHalves(ctx, slices.DeleteFunc(slices.Clone(p.IDs), func(id string) bool { return !isID(id) })); err != nil {
			return nil, err
		}
	}
	byID := make(map[string]email, len(got.List))
	for _, e := range got.List {
		byID[e.ID] = e
	}
	for _, id := range p.IDs { // Email/get may answer in any order
		if e, ok := byID[id]; ok && isID(id) {
			p.emails = append(p.emails, e)
		}
	}
	return p, nil
}

// listing asks for what the list needs.
func (m *maildrop) listing(ids any, into *emailList) call {
	c := emails(ids, into)
	if field := m.store.uidl.Header; field != "" {
		c.arguments["properties"] = append(slices.Clone(emailProperties), "header:"+field+":all")
	}
	return c
}

// ofOneMessage says whether a request for many messages may have failed for one of them: the server
// has refused the method, and not for its own sake.
func ofOneMessage(err error) bool {
	var refused methodError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Type {
	case "serverUnavailable", "rateLimit", "accountNotFound", "forbidden", "unknownMethod", "accountNotSupportedByMethod", "requestTooLarge":
		return false
	}
	return true
}

// refusedMost is how many messages of one list, or of one question, the server may refuse to describe
// before that counts as a refusal of the whole.
const refusedMost = 16

// inHalves asks for messages, where the server has refused to describe all of them together, in ever
// smaller parts: one that it cannot describe by itself is left out, and told in the log.
func (m *maildrop) inHalves(ctx context.Context, ids []string) (found []email, err error) {
	left, refused := [][]string{ids}, 0
	for len(left) > 0 {
		part := left[len(left)-1]
		left = left[:len(left)-1]
		var got emailList
		err := m.session.request(ctx, m.listing(part, &got))
		switch {
		case err == nil:
			found = append(found, got.List...)
		case !ofOneMessage(err):
			return nil, err
		case len(part) > 1:
			left = append(left, part[len(part)/2:], part[:len(part)/2])
		default:
			m.store.log.Warn().Err(err).Str("account", m.account.ID).Str("id", part[0]).Msg("the JMAP server cannot describe a message; it is left out")
			if refused++; refused > refusedMost || len(ids) == refused {
				return nil, err
			}
		}
	}
	return found, nil
}

// order is oldest first. JMAP's times are seconds; Cyrus can say which of two messages of one
// second came first.
func (m *maildrop) order(r *resource) []any {
	order := []any{map[string]any{"property": "receivedAt", "isAscending": true}}
	if slices.Contains(r.Accounts[m.session.account].Capabilities.Mail.SortOptions, "emailstate") {
		order = append(order, map[string]any{"property": "emailstate", "isAscending": true})
	}
	return order
}

// isID says whether this can be an Id (RFC 8620 §1.2).
func isID(id string) bool {
	return id != "" && len(id) <= 255 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// question asks whether a message is in the mailbox.
type question struct {
	id     string
	answer chan struct{} // closed when email and err are there
	email  email
	err    error
}

// describe asks for one message. NotFound: it is not in the mailbox, or not any more. All that
// is asked for while a request is under way goes into the next one.
func (m *maildrop) describe(ctx context.Context, id string) (email, error) {
	if !isID(id) {
		return email{}, backends.Fail(backends.NotFound, "%.300q cannot be a message's id", id)
	}
	q := &question{id: id, answer: make(chan struct{})}
	m.mu.Lock()
	m.questions = append(m.questions, q)
	if !m.asking {
		m.asking = true
		go m.ask()
	}
	m.mu.Unlock()
	select {
	case <-q.answer:
		return q.email, q.err
	case <-ctx.Done():
		return email{}, backends.Fail(backends.Temporary, "look for a message: %w", context.Cause(ctx))
	}
}

// ask answers questions until there are no more.
func (m *maildrop) ask() {
	for {
		m.mu.Lock()
		if len(m.questions) == 0 {
			m.asking = false
			m.mu.Unlock()
			return
		}
		asked := m.questions[:min(len(m.questions), removalsMost)]
		m.questions = slices.Clone(m.questions[len(asked):])
		m.mu.Unlock()
		m.answerAll(asked)
	}
}

func (m *maildrop) answerAll(asked []*question) {
	var ids []string
	for _, q := range asked {
		ids = append(ids, q.id)
	}
	slices.Sort(ids)
	there, err := m.inMailbox(m.ctx, slices.Compact(ids))
	if errors.Is(err, context.Canceled) {
		err = errClosed
	}
	for _, q := range asked {
		e, ok := there.found[q.id]
		q.email, q.err = e, err
		switch {
		case err != nil || ok:
		case there.untold[q.id]:
			q.err = backends.Fail(backends.Poison, "the server says neither what the message %q is nor that it is gone", q.id)
		default:
			q.err = backends.Fail(backends.NotFound, "message %q is not in the mailbox", q.id)
		}
		close(q.answer)
	}
}

// there is what the server says of messages.
type there struct {
	found  map[string]email // those that are in the mailbox
	untold map[string]bool  // those of which it says nothing
	state  string           // of the account's mail (RFC 8620 §5.1)
}

// inMailbox asks which of these messages are in the mailbox. Gone is one that the server says is not
// found, or is elsewhere, and not one that is left out of an answer.
func (m *maildrop) inMailbox(ctx context.Context, ids []string) (there, error) {
	t := there{found: make(map[string]email, len(ids)), untold: make(map[string]bool)}
	r, err := m.session.resource(ctx)
	if err != nil {
		return t, err
	}
	for batch := range slices.Chunk(ids, r.Capabilities.Core.batch(removalsMost, r.Capabilities.Core.ObjectsInGet)) {
		var got emailList
		err := m.session.request(ctx, emails(batch, &got))
		if err != nil && len(batch) > 1 && ofOneMessage(err) {
			got.List, err = m.inHalves(ctx, batch)
			got.NotFound = texts{} // what is left out was refused, or is asked for again
		}
		if err != nil {
			return t, err
		}
		told := make(map[string]bool, len(batch))
		for _, id := range got.NotFound {
			told[id] = true
		}
		for _, e := range got.List {
			told[e.ID] = true
			if e.MailboxIDs == nil || e.MailboxIDs[m.box] { // nil: the server does not say it
				t.found[e.ID] = e
			}
		}
		for _, id := range batch {
			if !told[id] && got.NotFound != nil {
				t.untold[id] = true
			}
		}
		t.state = got.State
	}
	return t, nil
}
