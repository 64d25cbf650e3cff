package jmap

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
)

// email is what is asked of each message.
type email struct {
	ID         string          `json:"id"`
	BlobID     string          `json:"blobId"`
	Size       int64           `json:"size"`
	ReceivedAt time.Time       `json:"receivedAt"`
	Keywords   map[string]bool `json:"keywords"`
	MailboxIDs map[string]bool `json:"mailboxIds"`
}

var emailProperties = []string{"id", "blobId", "size", "receivedAt", "keywords", "mailboxIds"}

// mailbox is one mailbox (RFC 8621 §2).
type mailbox struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	ParentID string `json:"parentId"`
	Role     string `json:"role"`
}

// maildrop is one mailbox as it was when it was opened.
type maildrop struct {
	store   *Store
	session *session
	account backends.Account
	box     mailbox
	trash   string // id of the mailbox with that role; empty: none

	ctx    context.Context //nolint:containedctx // the session's: it ends what is under way at Close
	cancel context.CancelFunc

	mu     sync.Mutex
	emails map[string]email
}

// Open logs in and finds the mailbox.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	session, err := s.login(ctx, request.Credential)
	if err != nil {
		return nil, err
	}
	m := &maildrop{store: s, session: session, account: s.account(request.Credential, session), emails: make(map[string]email)}
	if err := m.find(ctx, request.Folder); err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.open[m] = struct{}{}
	s.mu.Unlock()
	return m, nil
}

// find finds the folder by its path; the inbox and the trash by their roles.
func (m *maildrop) find(ctx context.Context, folder string) error {
	results, err := m.store.request(ctx, m.session, call{"Mailbox/get", map[string]any{
		"accountId": m.session.mailAccount(), "ids": nil, "properties": []string{"id", "name", "parentId", "role"},
	}})
	if err != nil {
		return err
	}
	var got struct {
		List []mailbox `json:"list"`
	}
	if err := results[0].into(&got); err != nil {
		return err
	}
	parent := ""
	parts := strings.Split(folder, "/")
	for _, box := range got.List {
		if box.Role == "trash" {
			m.trash = box.ID
		}
		if folder == "" && box.Role == "inbox" {
			m.box = box
		}
	}
	for i, name := range parts {
		if folder == "" {
			break
		}
		at := slices.IndexFunc(got.List, func(b mailbox) bool {
			return b.ParentID == parent && (b.Name == name || i == 0 && strings.EqualFold(name, "INBOX") && b.Role == "inbox")
		})
		if at < 0 {
			return backends.Fail(backends.NotFound, "there is no folder %q", folder)
		}
		m.box, parent = got.List[at], got.List[at].ID
	}
	if m.box.ID == "" {
		return backends.Fail(backends.NotFound, "the account has no inbox")
	}
	return nil
}

func (m *maildrop) Account() backends.Account { return m.account }

// List asks for ids and properties in one request for each page.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		for position := 0; ; {
			page, total, err := m.page(ctx, position)
			if err != nil {
				yield(backends.Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(m.entry(e), nil) {
					return
				}
			}
			if position += len(page); len(page) == 0 || position >= total {
				return
			}
		}
	}
}

func (m *maildrop) entry(e email) backends.Entry {
	m.mu.Lock()
	m.emails[e.ID] = e
	m.mu.Unlock()
	return backends.Entry{ID: backends.MessageID(e.ID), Size: e.Size, Exact: !m.store.liar.Load(), Received: e.ReceivedAt.UTC(), Seen: e.Keywords["$seen"]}
}

// page asks for messages, oldest first.
func (m *maildrop) page(ctx context.Context, position int) ([]email, int, error) {
	ctx, cancel := m.bound(ctx)
	defer cancel()
	account := m.session.mailAccount()
	results, err := m.store.request(ctx, m.session,
		call{"Email/query", map[string]any{
			"accountId": account, "filter": map[string]any{"inMailbox": m.box.ID}, "position": position, "calculateTotal": true,
			"sort":  m.order(),
			"limit": m.session.Capabilities.Core.MaxObjectsInGet, "collapseThreads": false,
		}},
		call{"Email/get", map[string]any{"accountId": account, "#ids": reference(0, "Email/query", "/ids"), "properties": emailProperties}},
	)
	if err != nil {
		return nil, 0, err
	}
	var query struct {
		IDs   []string `json:"ids"`
		Total int      `json:"total"`
	}
	var get struct {
		List []email `json:"list"`
	}
	if err := results[0].into(&query); err != nil {
		return nil, 0, err
	}
	if err := results[1].into(&get); err != nil {
		return nil, 0, err
	}
	byID := make(map[string]email, len(get.List))
	for _, e := range get.List {
		byID[e.ID] = e
	}
	page := make([]email, 0, len(query.IDs))
	for _, id := range query.IDs { // Email/get may answer in any order
		if e, ok := byID[id]; ok {
			page = append(page, e)
		}
	}
	if len(page) != len(query.IDs) {
		return nil, 0, backends.Fail(backends.Temporary, "%d of %d messages were described", len(page), len(query.IDs))
	}
	return page, query.Total, nil
}

// isID says whether this can be an Id (RFC 8620 §1.2).
func isID(id string) bool {
	return id != "" && len(id) <= 255 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// order is oldest first. JMAP's times are seconds; Cyrus can say which of two messages of one
// second came first.
func (m *maildrop) order() []any {
	order := []any{map[string]any{"property": "receivedAt", "isAscending": true}}
	options := m.session.Accounts[m.session.mailAccount()].Capabilities.Mail.SortOptions
	if slices.Contains(options, "emailstate") {
		order = append(order, map[string]any{"property": "emailstate", "isAscending": true})
	}
	return order
}

// bound makes a context end with the session, too.
func (m *maildrop) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.ctx, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

var errClosed = backends.Fail(backends.Temporary, "the maildrop is closed")

// Fetch downloads a message. A blob may outlive its message, so the message is asked for at the
// same time.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	m.mu.Lock()
	e, listed := m.emails[string(request.ID)]
	m.mu.Unlock()
	ctx, cancel := m.bound(ctx)
	there := make(chan error, 1)
	if listed {
		go func() {
			_, err := m.describe(ctx, e.ID)
			there <- err
		}()
	} else {
		var err error
		if e, err = m.describe(ctx, string(request.ID)); err != nil {
			cancel()
			return nil, err
		}
		there <- nil
	}
	response, err := m.store.do(ctx, m.session.credential, http.MethodGet, expand(m.session.DownloadURL, map[string]string{
		"accountId": m.session.mailAccount(), "blobId": e.BlobID, "name": "message.eml", "type": "message/rfc822",
	}), "", nil)
	if gone := <-there; gone != nil {
		err = gone
		if response != nil {
			_ = response.Body.Close()
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	blob := &blob{body: response.Body, store: m.store, want: e.Size, cancel: cancel, ctx: ctx}
	if request.Top {
		return &content{Reader: crlf.NewReader(crlf.Top(blob, request.Lines)), blob: blob, size: -1}, nil
	}
	size := e.Size
	if m.store.liar.Load() {
		size = -1
	}
	return &content{Reader: crlf.NewReader(blob), blob: blob, size: size}, nil
}

// describe asks for one message. NotFound: it is not in the mailbox, or not any more.
func (m *maildrop) describe(ctx context.Context, id string) (email, error) {
	if !isID(id) {
		return email{}, backends.Fail(backends.NotFound, "%q cannot be a message's id", id)
	}
	results, err := m.store.request(ctx, m.session, call{"Email/get", map[string]any{
		"accountId": m.session.mailAccount(), "ids": []string{id}, "properties": emailProperties,
	}})
	if err != nil {
		return email{}, err
	}
	var got struct {
		List []email `json:"list"`
	}
	if err := results[0].into(&got); err != nil {
		return email{}, err
	}
	if len(got.List) == 0 || !got.List[0].MailboxIDs[m.box.ID] {
		return email{}, backends.Fail(backends.NotFound, "message %q is not in the mailbox", id)
	}
	return got.List[0], nil
}

// Close ends the session and whatever is under way in it.
func (m *maildrop) Close() error {
	m.cancel()
	m.store.mu.Lock()
	delete(m.store.open, m)
	m.store.mu.Unlock()
	return nil
}
