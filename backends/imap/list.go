package imap

import (
	"cmp"
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

// listed is one message of the list.
type listed struct {
	uid     imap.UID
	sized   bool
	flagged bool // its flags are known
	deleted bool
	header  []byte // the field that the unique-id is in, where one is
	entry   backends.Entry
}

// uidlFieldMost is how much of the fields that may hold a unique-id is read.
const uidlFieldMost = 1 << 10

// fetchList asks for all messages at once, and then for those that are missing: an answer that
// cannot be read costs its own message a second question, and no other. See recovery.
func (m *maildrop) fetchList() ([]backends.Entry, error) {
	if m.exists == 0 {
		return nil, nil
	}
	mode := listingOnly
	if m.store.uidl.Header != "" {
		mode = listingContent
	}
	wire := m.conn.client.wire
	wire.listing.Store(mode)
	defer wire.listing.Store(notListing)
	l := &lister{maildrop: m, client: m.conn.client, field: m.store.uidl.Header, found: make(map[imap.UID]*listed, m.exists)}
	refused := l.fetch(imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}, true)
	if refused != nil && !isRefusal(refused) {
		return nil, refused
	}
	now := l.client.Mailbox()
	if refused != nil || l.incomplete > 0 || now == nil || len(l.found) < int(min(m.exists, now.NumMessages)) {
		if err := l.recover(refused); err != nil {
			return nil, err
		}
	}
	return m.entries(slices.Collect(maps.Values(l.found))), nil
}

// lister collects the list.
type lister struct {
	maildrop   *maildrop
	client     *client
	field      string
	found      map[imap.UID]*listed
	incomplete int // answers of which something is missing that was asked for
}

// fetch asks about messages: for everything that the list has, or for what it cannot be without.
func (l *lister) fetch(set imap.UIDSet, all bool) error {
	options := &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: all, Flags: all}
	if l.field != "" && all {
		options.BodySection = []*imap.FetchItemBodySection{{
			Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{l.field},
			Partial: &imap.SectionPartial{Size: uidlFieldMost},
		}}
	}
	return l.client.explain(l.client.fetchListed(set, options, func(one listed) {
		if one.uid != 0 {
			l.take(one, all)
		}
	}))
}

// take adds what an answer says to what is known of a message.
func (l *lister) take(one listed, all bool) {
	if all && !l.complete(&one) {
		l.incomplete++
	}
	known := l.found[one.uid]
	if known == nil {
		l.found[one.uid] = &one
		return
	}
	if one.sized {
		known.entry.Size, known.sized = one.entry.Size, true
	}
	if one.flagged {
		known.flagged, known.deleted, known.entry.Seen = true, one.deleted, one.entry.Seen
	}
	if !one.entry.Received.IsZero() {
		known.entry.Received = one.entry.Received
	}
	if one.header != nil {
		known.header = one.header
	}
}

func (l *lister) complete(one *listed) bool {
	return one != nil && one.sized && one.flagged && (l.field == "" || one.header != nil)
}

// fetchListed runs a FETCH that asks for no content. What comes unasked is read within bounds.
func (c *client) fetchListed(set imap.UIDSet, options *imap.FetchOptions, take func(listed)) error {
	command := c.Fetch(set, options)
	for message := command.Next(); message != nil; message = command.Next() {
		one, err := c.readListed(message)
		if err != nil {
			_ = c.Close() // see errBroken
			return err
		}
		take(one)
	}
	return command.Close()
}

func (c *client) readListed(message *imapclient.FetchMessageData) (l listed, err error) {
	l.entry.Size = -1
	for item := message.Next(); item != nil; item = message.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			l.uid = item.UID
		case imapclient.FetchItemDataRFC822Size:
			l.entry.Size, l.sized = item.Size, true
		case imapclient.FetchItemDataInternalDate:
			l.entry.Received = item.Time.UTC()
		case imapclient.FetchItemDataFlags:
			l.flagged = true
			l.deleted = slices.Contains(item.Flags, imap.FlagDeleted)
			l.entry.Seen = slices.Contains(item.Flags, imap.FlagSeen)
		case imapclient.FetchItemDataBodySection:
			l.header = []byte{}
			if item.Literal == nil {
				continue
			}
			if l.header, err = c.readLiteral(item.Literal, uidlFieldMost); err != nil {
				return l, err
			}
		}
	}
	return l, nil
}

// entries sorts the list by UID and leaves out what is marked as deleted.
func (m *maildrop) entries(found []*listed) []backends.Entry {
	slices.SortFunc(found, func(a, b *listed) int { return cmp.Compare(a.uid, b.uid) })
	entries := make([]backends.Entry, 0, len(found))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range found {
		if _, twice := m.sizes[l.uid]; twice || l.deleted {
			continue
		}
		m.sizes[l.uid] = l.entry.Size
		l.entry.ID, l.entry.UIDL = m.id(l.uid), m.uidl(*l)
		entries = append(entries, l.entry)
	}
	return entries
}

// uidl is the unique-id by the administrator's rule.
func (m *maildrop) uidl(l listed) string {
	if rule := m.store.uidl; rule.Header != "" {
		return rule.FromHeader(l.header)
	}
	return m.store.uidl.Of(uint32(l.uid), m.validity)
}
