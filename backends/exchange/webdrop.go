package exchange

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// webDrop is a folder of a mailbox, by EWS.
type webDrop struct {
	*web
	account  backends.Account
	folder   ews.Folder
	id       string // of the folder
	trash    bool   // it is Deleted Items
	receipts bool   // the server has no way to suppress those of what is deleted

	ids     *webIDs
	counted counted

	mu      sync.Mutex
	parents map[string]bool // whether a ParentFolderId is this folder's

	ctx    context.Context //nolint:containedctx // the session's: it ends what is under way at Close
	cancel context.CancelFunc
	once   sync.Once
}

var (
	_ backends.Maildrop    = (*webDrop)(nil)
	_ backends.ManyFetcher = (*webDrop)(nil)
	_ backends.Marker      = (*webDrop)(nil)
)

// openByEWS logs in and finds the folder.
func (s *Store) openByEWS(ctx context.Context, l login, folder string) (backends.Maildrop, error) {
	w, there := s.webWaiting.take(l)
	if !there {
		var err error
		if w, err = s.web(l); err != nil {
			return nil, err
		}
	}
	m, err := w.reach(ctx, folder)
	if err != nil {
		w.close()
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if !s.keep(m) {
		m.cancel()
		w.close()
		return nil, backends.Fail(backends.Temporary, "the store is closed")
	}
	return m, nil
}

// reach signs in, and finds a folder by its path: the Inbox, if that is empty.
func (w *web) reach(ctx context.Context, path string) (*webDrop, error) {
	names := strings.Split(path, "/")
	first := ews.Top
	if path == "" || fold.Equal(names[0], "INBOX") {
		first, names = ews.Inbox, names[1:]
	}
	folders, failures, err := w.folders(ctx, first, ews.DeletedItems)
	switch {
	case err != nil:
		return nil, err
	case failures[0] != nil:
		return nil, notOpen(w.login, failures[0])
	}
	m := &webDrop{web: w, folder: folders[0], ids: newWebIDs(w.store.webBounds), parents: make(map[string]bool), counted: counted{together: &w.store.counted}}
	for _, name := range names {
		if m.folder, err = w.child(ctx, m.folder, name); err != nil {
			return nil, err
		}
	}
	m.parents[m.folder.ID.ID] = true
	m.trash = failures[1] == nil && folders[1].ID.ID == m.folder.ID.ID
	m.receipts = !w.client.Has(ews.Exchange2013)
	if m.id, err = folderIdentity(m.folder); err != nil {
		return nil, err
	}
	if m.account, err = w.identify(ctx); err != nil {
		return nil, err
	}
	if w.login.foreign() && !w.login.service {
		// EWS does not tell whether this one may send as the other.
		m.account.Address, m.account.Addresses = "", nil
	}
	return m, nil
}

// child finds a folder by its name in another. Of several that differ in case the one that is equal counts.
func (w *web) child(ctx context.Context, parent ews.Folder, name string) (found ews.Folder, err error) {
	missing := backends.Fail(backends.NotFound, "there is no folder %.300q", name)
	if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
		return found, missing
	}
	there := false
	for offset, more := 0, true; more && offset < foldersMost; {
		var all []ews.Folder
		if all, more, err = w.client.FindFolder(ctx, ews.FolderID{ID: parent.ID}, offset); err != nil {
			return found, err
		}
		for _, f := range all {
			if f.Name == name {
				return f, nil
			}
			if !there && fold.Equal(f.Name, name) {
				found, there = f, true
			}
		}
		offset += len(all)
		more = more && len(all) > 0
	}
	if !there {
		return found, missing
	}
	return found, nil
}

// Opened implements [backends.Maildrop].
func (m *webDrop) Opened() backends.Opened {
	return backends.Opened{Account: m.account, FolderID: m.id}
}

// Close implements [backends.Maildrop].
func (m *webDrop) Close() error {
	m.once.Do(func() {
		m.cancel()
		m.store.forget(m)
		m.counted.close()
		m.web.close()
	})
	return nil
}

// do does something that can be done again, until the maildrop is closed.
func (m *webDrop) do(ctx context.Context, something func(context.Context) error) error {
	if m.ctx.Err() != nil {
		return errClosed
	}
	ctx, cancel := boundTo(ctx, m.ctx)
	defer cancel(nil)
	err := m.refusal(something(ctx))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return backends.Fail(backends.Temporary, "%w", cause)
	}
	return err
}

// refusal is what a failure is told as: a service account's login that is refused is an outage.
func (m *webDrop) refusal(err error) error {
	if err != nil && m.login.service && backends.KindOf(err) == backends.BadCredentials {
		return m.store.guard.note(err)
	}
	return err
}

// List implements [backends.Maildrop].
func (m *webDrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		read := func(offset int) (page webPage, err error) {
			err = m.do(ctx, func(ctx context.Context) (err error) {
				page, err = m.page(ctx, offset)
				return err
			})
			return page, err
		}
		if err := m.walk(read, func(one webEntry) bool { return yield(one.entry, nil) }); err != nil {
			yield(backends.Entry{}, err)
		}
	}
}

// walk goes through the folder in pages, and gives each message once, until yield has enough. Each page begins with the last message of the one
// before, as its offset is only right as long as nothing in front of it was removed: else the list is read anew from its beginning.
func (m *webDrop) walk(read func(offset int) (webPage, error), yield func(webEntry) bool) error {
	seen := make(map[backends.MessageID]struct{})
	for begun, offset := 1, 0; len(seen) < listMost; {
		page, err := read(offset)
		if err != nil {
			return err
		}
		if offset > 0 && (len(page.entries) == 0 || !has(seen, page.entries[0].entry.ID)) {
			if begun++; begun > beginningsMost {
				return backends.Fail(backends.Temporary, "the folder has changed %d times while it was listed", begun-1)
			}
			offset = 0
			continue
		}
		fresh := false
		for i, one := range page.entries {
			if has(seen, one.entry.ID) {
				continue
			}
			fresh = true
			seen[one.entry.ID] = struct{}{}
			m.ids.learn(one, offset+i)
			if !yield(one) {
				return nil
			}
		}
		last := page.next - 1
		switch {
		case !page.more:
			return nil
		case last <= offset || !fresh && page.next > len(seen): // no server that keeps to its offsets does that
			return backends.Fail(backends.Temporary, "the server says that the folder has more than %d messages, and gives no others", len(seen))
		}
		offset = last
	}
	return nil
}

func has(seen map[backends.MessageID]struct{}, id backends.MessageID) bool {
	_, is := seen[id]
	return is
}

// webEntry is a message of a list, with its Id of EWS.
type webEntry struct {
	entry backends.Entry
	id    string
}

// webPage is a part of a list. The next one begins at next, if there is more.
type webPage struct {
	entries []webEntry
	next    int
	more    bool
}

// page reads some messages of the folder.
func (m *webDrop) page(ctx context.Context, offset int) (page webPage, err error) {
	items, next, more, err := m.client.FindItem(ctx, ews.FolderID{ID: m.folder.ID}, offset, webListing)
	if err != nil {
		return webPage{}, err
	}
	page.next, page.more = next, more
	for _, i := range items {
		id, err := messageIdentity(i)
		if err != nil {
			return webPage{}, err
		}
		e := backends.Entry{ID: id, Size: -1, Received: i.Received, Seen: i.Read}
		if i.Size > 0 {
			e.Size = i.Size // of the properties: an estimate of what the mail has
		}
		page.entries = append(page.entries, webEntry{e, i.ID.ID})
	}
	return page, nil
}

// find returns the Ids of EWS of messages. Those that are not remembered are looked for where they were in the list, and then in all of the folder;
// one that is not there is not among them.
func (m *webDrop) find(ctx context.Context, ids []backends.MessageID) (map[backends.MessageID]ews.ID, error) {
	found, missing := m.recall(ids)
	for len(missing) > 0 {
		offset, known := m.ids.place(missing[0])
		if !known {
			break
		}
		page, err := m.page(ctx, offset)
		if err != nil {
			return nil, err
		}
		for i, one := range page.entries {
			m.ids.learn(one, offset+i)
			if slices.Contains(missing, one.entry.ID) {
				found[one.entry.ID] = ews.ID{ID: one.id}
			}
		}
		if found[missing[0]].ID == "" { // it has moved, or is gone
			break
		}
		missing = slices.DeleteFunc(missing, func(id backends.MessageID) bool { return found[id].ID != "" })
	}
	if len(missing) == 0 {
		return found, nil
	}
	err := m.walk(func(offset int) (webPage, error) { return m.page(ctx, offset) }, func(one webEntry) bool {
		if slices.Contains(missing, one.entry.ID) {
			found[one.entry.ID] = ews.ID{ID: one.id}
		}
		return len(found) < len(ids)
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// recall returns what is remembered, and which are missing. What cannot be an id of a message is not missing.
func (m *webDrop) recall(ids []backends.MessageID) (found map[backends.MessageID]ews.ID, missing []backends.MessageID) {
	found = make(map[backends.MessageID]ews.ID, len(ids))
	for _, id := range ids {
		if known, ok := m.ids.find(id); ok {
			found[id] = ews.ID{ID: known}
		} else if _, may := parseID(id); may {
			missing = append(missing, id)
		}
	}
	return found, missing
}

// inFolder says whether an item whose folder has this Id is in this folder. A folder may have several Ids that differ in how they are
// written.
func (m *webDrop) inFolder(ctx context.Context, parent string) (bool, error) {
	if parent == "" {
		return true, nil
	}
	m.mu.Lock()
	is, known := m.parents[parent]
	m.mu.Unlock()
	if known {
		return is, nil
	}
	folders, failures, err := m.client.GetFolder(ctx, ews.FolderID{ID: ews.ID{ID: parent}})
	if err != nil {
		return false, err
	}
	if failures[0] == nil {
		id, err := folderIdentity(folders[0])
		is = err == nil && id == m.id
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.parents) < webListing {
		m.parents[parent] = is
	}
	return is, nil
}
