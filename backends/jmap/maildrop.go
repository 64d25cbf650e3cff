package jmap

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

// mailbox is one mailbox (RFC 8621 §2).
type mailbox struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	ParentID string `json:"parentId"`
	Role     string `json:"role"`
}

// mailboxes asks for all mailboxes.
func mailboxes(into *[]mailbox) call {
	return call{"Mailbox/get", map[string]any{"ids": nil, "properties": []string{"id", "name", "parentId", "role"}}, &struct {
		List *[]mailbox `json:"list"`
	}{into}}
}

// withRole finds a mailbox by the first of these roles that there is; empty: there is none.
func withRole(boxes []mailbox, roles ...string) string {
	for _, role := range roles {
		if at := slices.IndexFunc(boxes, func(b mailbox) bool { return b.Role == role }); at >= 0 {
			return boxes[at].ID
		}
	}
	return ""
}

// maildrop is one mailbox as it was when it was opened.
type maildrop struct {
	store   *Store
	session *session
	account backends.Account
	box     string // id of the mailbox
	trash   string // id of the mailbox with that role; empty: none

	ctx    context.Context //nolint:containedctx // the session's: it ends what is under way at Close
	cancel context.CancelFunc

	mu        sync.Mutex
	listed    map[string]listed
	questions []*question
	asking    bool
}

// listed is what is remembered of a message, so that fetching it takes one round trip.
type listed struct {
	blob string
	size int64
}

// Open logs in and finds the mailbox.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	session, err := s.login(ctx, request.Credential)
	if err != nil {
		return nil, err
	}
	var boxes []mailbox
	if err := session.request(ctx, mailboxes(&boxes)); err != nil {
		return nil, err
	}
	box, err := find(boxes, request.Folder)
	if err != nil {
		return nil, err
	}
	m := &maildrop{
		store: s, session: session, account: s.account(session),
		box: box, trash: withRole(boxes, "trash"), listed: make(map[string]listed),
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		m.cancel()
		return nil, backends.Fail(backends.Temporary, "the store is closed")
	}
	s.open[m] = struct{}{}
	return m, nil
}

// find finds a folder by its path; the inbox by its role.
func find(boxes []mailbox, folder string) (string, error) {
	box, parent := withRole(boxes, "inbox"), ""
	if folder != "" {
		for i, name := range strings.Split(folder, "/") {
			at := slices.IndexFunc(boxes, func(b mailbox) bool {
				return b.ParentID == parent && (b.Name == name || i == 0 && strings.EqualFold(name, "INBOX") && b.Role == "inbox")
			})
			if at < 0 {
				return "", backends.Fail(backends.NotFound, "there is no folder %q", folder)
			}
			box, parent = boxes[at].ID, boxes[at].ID
		}
	}
	if box == "" {
		return "", backends.Fail(backends.NotFound, "the account has no inbox")
	}
	return box, nil
}

// Opened implements [backends.Maildrop]. No change of a mailbox's name changes its id (RFC 8621 §2).
func (m *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: m.account, FolderID: m.box}
}

// bound makes a context end with the session, too.
func (m *maildrop) bound(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.ctx, func() { cancel(errClosed) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

var errClosed = backends.Fail(backends.Temporary, "the maildrop is closed")

// Close ends the session and whatever is under way in it.
func (m *maildrop) Close() error {
	m.cancel()
	m.store.mu.Lock()
	delete(m.store.open, m)
	m.store.mu.Unlock()
	return nil
}
