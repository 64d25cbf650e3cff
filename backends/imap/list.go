package imap

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/dipylon/dipylon/backends"
)

// listed is one message of the list.
type listed struct {
	uid     imap.UID
	sized   bool
	deleted bool
	header  []byte // the field that the unique-id is in, where one is
	entry   backends.Entry
}

// uidlFieldMost is how much of the fields that may hold a unique-id is read.
const uidlFieldMost = 1 << 10

// fetchList asks until the answer is complete: news of flags that come at the same time may
// be taken for the answer about a message, and that one is then missing.
func (m *maildrop) fetchList() ([]backends.Entry, error) {
	for range 5 {
		found, complete, err := m.fetchListOnce()
		if err != nil {
			return nil, err
		}
		if complete {
			return m.entries(found), nil
		}
	}
	return nil, backends.Fail(backends.Temporary, "the server's list of messages is not complete")
}

func (m *maildrop) fetchListOnce() (found []listed, complete bool, err error) {
	if m.exists == 0 {
		return nil, true, nil
	}
	all := imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}}
	options := &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true, Flags: true}
	field := m.store.uidl.Header
	if field != "" {
		options.BodySection = []*imap.FetchItemBodySection{{
			Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{field},
			Partial: &imap.SectionPartial{Size: uidlFieldMost},
		}}
	}
	command := m.conn.client.Fetch(all, options)
	found = make([]listed, 0, m.exists)
	complete = true
	for message := command.Next(); message != nil; message = command.Next() {
		l, err := m.conn.client.readListed(message)
		if err != nil {
			_ = m.conn.client.Close() // see errBroken
			return nil, false, err
		}
		if l.uid == 0 || !l.sized || field != "" && l.header == nil {
			complete = false
			continue
		}
		found = append(found, l)
	}
	if err := command.Close(); err != nil {
		return nil, false, err
	}
	now := m.conn.client.Mailbox()
	return found, complete && now != nil && len(found) >= int(min(m.exists, now.NumMessages)), nil
}

func (c *client) readListed(message *imapclient.FetchMessageData) (l listed, err error) {
	for item := message.Next(); item != nil; item = message.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			l.uid = item.UID
		case imapclient.FetchItemDataRFC822Size:
			l.entry.Size, l.sized = item.Size, true
		case imapclient.FetchItemDataInternalDate:
			l.entry.Received = item.Time.UTC()
		case imapclient.FetchItemDataFlags:
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
func (m *maildrop) entries(found []listed) []backends.Entry {
	slices.SortFunc(found, func(a, b listed) int { return cmp.Compare(a.uid, b.uid) })
	entries := make([]backends.Entry, 0, len(found))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range found {
		if _, twice := m.sizes[l.uid]; twice || l.deleted {
			continue
		}
		m.sizes[l.uid] = l.entry.Size
		l.entry.ID, l.entry.UIDL = m.id(l.uid), m.uidl(l)
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
