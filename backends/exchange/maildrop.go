package exchange

import (
	"context"
	"errors"
	"strings"
	"sync"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
)

// maildrop is a folder of a mailbox.
type maildrop struct {
	store   *Store
	session *session
	lanes   *lanes // its session contexts for reading
	who     parties
	account backends.Account
	id      string // of the folder
	counted counted

	ctx    context.Context //nolint:containedctx // the session's: it ends what is under way at Close
	cancel context.CancelFunc
	once   sync.Once
}

var (
	_ backends.Maildrop    = (*maildrop)(nil)
	_ backends.ManyFetcher = (*maildrop)(nil)
	_ backends.Marker      = (*maildrop)(nil)
)

func newMaildrop(s *Store, c *session, who parties) *maildrop {
	return &maildrop{
		store: s, session: c, lanes: newLanes(c, s.lanesIdle), who: who, account: who.owner.account, counted: counted{together: &s.counted},
	}
}

// Open logs in and finds the folder.
func (s *Store) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	if err := s.locate(ctx, request.Credential); err != nil {
		return nil, err
	}
	login, err := s.login(request.Credential)
	if err != nil {
		return nil, err
	}
	return byEither(s, login,
		func() (backends.Maildrop, error) { return s.openByMAPI(ctx, login, request.Folder) },
		func() (backends.Maildrop, error) { return s.openByEWS(ctx, login, request.Folder) })
}

// openByMAPI opens a maildrop by MAPI over HTTP.
func (s *Store) openByMAPI(ctx context.Context, login login, folder string) (backends.Maildrop, error) {
	m, err := s.reach(ctx, login, folder)
	if err != nil {
		return nil, err
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if !s.keep(m) {
		m.cancel()
		m.session.close()
		return nil, backends.Fail(backends.Temporary, "the store is closed")
	}
	return m, nil
}

// reach finds the folder of a login's mailbox, in a session that waits for that or in a new one.
func (s *Store) reach(ctx context.Context, login login, folder string) (*maildrop, error) {
	c, who, err := s.enter(ctx, login)
	if err != nil {
		return nil, err
	}
	return s.reachIn(ctx, c, who, folder)
}

// reachIn finds the folder of a mailbox in a session, which ends where that fails. Of another's mailbox, the rights decide: whoever may not send as it
// has none of its addresses, and whoever cannot open the folder has no mailbox there.
func (s *Store) reachIn(ctx context.Context, c *session, who parties, folder string) (*maildrop, error) {
	m, login := newMaildrop(s, c, who), c.login
	if login.foreign() && !login.service && c.rights&rop.SendAsRight == 0 {
		m.account.Address, m.account.Addresses = "", nil
	}
	if err := c.do(ctx, func(ctx context.Context) error { return m.choose(ctx, login, folder) }); err != nil {
		c.close()
		return nil, err
	}
	return m, nil
}

// choose finds the folder, and opens it where that is a question of rights. It is one's turn.
func (m *maildrop) choose(ctx context.Context, login login, folder string) error {
	err := failure(m.find(ctx, folder))
	switch {
	case backends.KindOf(err) == backends.Permanent:
		return notOpen(login, err)
	case err != nil || !login.foreign():
		return err
	}
	return notOpen(login, failure(m.see(ctx)))
}

// see opens the folder. It is one's turn.
func (m *maildrop) see(ctx context.Context) error {
	var b rop.Batch
	m.session.begin(&b)
	return m.session.run(ctx, &b)
}

// entered is a session, and who is in whose mailbox with it.
type entered struct {
	*session
	who parties
}

func (e *entered) whose() login { return e.session.login }

// enter returns the session that waits since the login, or connects to the mailbox.
func (s *Store) enter(ctx context.Context, login login) (*session, parties, error) {
	if e, there := s.waiting.take(login); there {
		return e.session, e.who, nil
	}
	return s.signIn(ctx, login)
}

// signIn connects to the mailbox of a login, which the server verifies. Who is known already may be known by a name of before: then the address book
// is asked again.
func (s *Store) signIn(ctx context.Context, login login) (*session, parties, error) {
	user, known := s.people.find(login.own)
	owner, also := s.people.find(login.address)
	if who := (parties{user, owner}); known && also {
		c, err := s.connect(ctx, login, who)
		if kind := backends.KindOf(err); kind != backends.Permanent && kind != backends.NotFound {
			return c, who, err
		}
		s.people.forget(login.own)
		s.people.forget(login.address)
	}
	who, unbind, err := s.ask(ctx, login)
	var unbinding sync.WaitGroup
	unbinding.Go(unbind) // nobody waits for it longer than for the connection
	defer unbinding.Wait()
	if err != nil {
		return nil, who, err
	}
	c, err := s.connect(ctx, login, who)
	return c, who, err
}

// find finds the folder by its path: the Inbox, if that is empty. It is one's turn.
func (m *maildrop) find(ctx context.Context, path string) error {
	at := m.session.folders[rop.FolderInbox]
	if path != "" {
		at = m.session.folders[rop.FolderIPMSubtree]
		for i, name := range strings.Split(path, "/") {
			var err error
			if i == 0 && fold.Equal(name, "INBOX") {
				at = m.session.folders[rop.FolderInbox]
			} else if at, err = m.session.child(ctx, at, name); err != nil {
				return err
			}
		}
	}
	id, err := m.session.lasting(ctx, at)
	m.session.fid, m.id = at, id
	return err
}

// foldersMost is how many folders one folder may have: a server that tells of more is not believed.
const foldersMost = 100_000

// child finds a folder by its name in another, MS-OXCFOLD §2.2.1.13. Of several that differ in case the one that is equal counts.
func (c *session) child(ctx context.Context, parent mapi.ObjectID, name string) (mapi.ObjectID, error) {
	missing := backends.Fail(backends.NotFound, "there is no folder %.300q", name)
	if name == "" || strings.ContainsFunc(name, unicode.IsControl) {
		return mapi.ObjectID{}, missing
	}
	columns := []mapi.Tag{mapi.PidTagFolderId, mapi.PidTagDisplayName}
	var found *mapi.ObjectID
	var b rop.Batch
	folder, opened := rop.Open(&b, c.logon, &rop.OpenFolder{FolderID: parent})
	table, counted := rop.Open(&b, folder, &rop.GetHierarchyTable{})
	rop.On(&b, table, &rop.SetColumns{PropertyTags: columns})
	defer func() {
		if opened.Err() == nil && counted.Err() == nil {
			c.release(c.generation, table, folder)
		}
	}()
	for seen := 0; ; {
		rows := rop.On(&b, table, &rop.QueryRows{ForwardRead: true, RowCount: pageMost, Columns: columns})
		if err := errors.Join(c.ops.Do(ctx, &b), b.Err()); err != nil {
			return mapi.ObjectID{}, err
		}
		for _, row := range rows.Rows {
			id, is := row[0].(mapi.Integer64)
			text, also := row[1].(mapi.String)
			if at := id.ObjectID(); is && also && (string(text) == name || found == nil && fold.Equal(string(text), name)) {
				found = &at
			}
		}
		if seen += len(rows.Rows); rows.Origin == rop.OriginEnd || len(rows.Rows) == 0 || seen > foldersMost {
			break
		}
		b = rop.Batch{}
	}
	if found == nil {
		return mapi.ObjectID{}, missing
	}
	return *found, nil
}

// Opened implements [backends.Maildrop].
func (m *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: m.account, FolderID: m.id}
}

var errClosed = backends.Fail(backends.Temporary, "the maildrop is closed")

// boundTo makes a context end with a maildrop, too, whose context is open.
func boundTo(ctx, open context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(open, func() { cancel(errClosed) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// do does something that can be done again in the first session, until the maildrop is closed.
func (m *maildrop) do(ctx context.Context, something func(context.Context) error) error {
	return (&reading{m, m.session}).do(ctx, something)
}

// do does something that can be done again in the session, until the maildrop is closed.
func (r *reading) do(ctx context.Context, something func(context.Context) error) error {
	if r.ctx.Err() != nil {
		return errClosed
	}
	ctx, cancel := boundTo(ctx, r.ctx)
	defer cancel(nil)
	return r.session.do(ctx, something)
}

// Close ends the session and whatever is under way in it.
func (m *maildrop) Close() error {
	m.once.Do(func() {
		m.cancel()
		m.store.forget(m)
		m.counted.close()
		m.lanes.close()
		m.session.close()
	})
	return nil
}
