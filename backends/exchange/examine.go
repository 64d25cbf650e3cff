package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/probe"
)

var _ backends.Examiner = (*Store)(nil)

// examination is one way from the server's name to the first message.
type examination struct {
	store *Store
	tell  func(backends.Step)
	login login
	// bound says that the login is by a method that is bound to the TLS connection.
	bound bool
	// byEWS says that it is EWS that is spoken.
	byEWS bool

	who     parties
	session *session
	web     *web
	drop    backends.Maildrop
	cancel  context.CancelFunc // of the drop
	first   *backends.Entry
}

// finding is what a step has come to, besides its failure.
type finding struct {
	detail string
	// warning is something that works and should be seen to.
	warning diagnosis
}

// Examine implements [backends.Examiner]. A password that is refused by NTLM is presented once more, to Autodiscover, which wants no
// channel binding: so the two can be told apart.
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	if err := s.ready(); err != nil && !errors.Is(err, errNotLocated) {
		return err
	}
	if s.drop != nil {
		s.drop.Examine(probe.New(ctx, tell))
	}
	x := &examination{store: s, tell: tell}
	defer x.close()
	if x.locate(ctx, request.Credential) && x.server(ctx) && x.enters(ctx, request) && x.mailbox(ctx, request.Folder) {
		x.messages(ctx)
	}
	if err := context.Cause(ctx); err != nil {
		return backends.Fail(backends.Temporary, "examine: %w", err)
	}
	return nil
}

// close ends what the steps have opened.
func (x *examination) close() {
	if x.cancel != nil {
		x.cancel()
	}
	if x.web != nil {
		x.web.close()
	}
	if x.session != nil {
		x.session.close()
	}
}

// step does one step and tells it, and says whether the way goes on.
func (x *examination) step(ctx context.Context, name string, something func(context.Context) (finding, error)) bool {
	began := time.Now()
	found, err := something(ctx)
	told := backends.Step{Name: name, Outcome: backends.StepGood, Took: time.Since(began), Detail: found.detail}
	switch {
	case err != nil:
		d := diagnose(err)
		told.Outcome, told.Detail, told.Cause, told.Advice = backends.StepFailed, err.Error(), d.cause, d.advice
	case found.warning != (diagnosis{}):
		told.Outcome, told.Cause, told.Advice = backends.StepWarning, found.warning.cause, found.warning.advice
	}
	if ctx.Err() == nil {
		x.tell(told)
	}
	return err == nil
}

// locate finds the server where the settings do not name it.
func (x *examination) locate(ctx context.Context, c backends.Credential) bool {
	if !errors.Is(x.store.ready(), errNotLocated) {
		return true
	}
	if c.Kind == 0 {
		return x.step(ctx, "Autodiscover", func(ctx context.Context) (finding, error) {
			return finding{detail: "a server for it is there; it is asked with a login"}, x.store.discoverable(ctx)
		}) && false
	}
	return x.step(ctx, "Autodiscover", func(ctx context.Context) (finding, error) {
		err := x.store.locate(ctx, c)
		if backends.KindOf(err) == backends.Temporary && !errors.Is(err, errService) {
			err = because(noServer, err)
		}
		return finding{detail: "the server is " + x.store.settings.URL}, err
	})
}

// enters says whether somebody logs in. The form of the credential is looked at.
func (x *examination) enters(ctx context.Context, request backends.ExamineRequest) bool {
	if request.Credential.Kind == 0 {
		x.tell(backends.Step{Name: "login", Outcome: backends.StepSkipped, Detail: "nobody logs in"})
		return false
	}
	var err error
	x.login, err = x.store.login(request.Credential)
	return err == nil || x.step(ctx, "login", func(context.Context) (finding, error) { return finding{}, err })
}

// mailbox goes from the login to the folder.
func (x *examination) mailbox(ctx context.Context, folder string) bool {
	if x.byEWS {
		return x.webMailbox(ctx, folder)
	}
	var book book
	ok := x.step(ctx, "login", func(ctx context.Context) (found finding, err error) {
		if book, err = x.store.bind(ctx, x.login); err != nil {
			return found, x.whyRefused(ctx, err)
		}
		return finding{detail: fmt.Sprintf("%s is signed in at the address book", x.login.own)}, nil
	})
	if !ok {
		return false
	}
	defer book.Unbind(ctx) //nolint:errcheck // it ends the connection whatever comes of it
	return x.step(ctx, "mailbox", func(ctx context.Context) (finding, error) { return x.identify(ctx, book) }) &&
		x.step(ctx, "session", x.connect) &&
		x.step(ctx, "folder", func(ctx context.Context) (finding, error) { return x.open(ctx, folder) })
}

// webMailbox is mailbox by EWS, which has no sessions.
func (x *examination) webMailbox(ctx context.Context, folder string) bool {
	var err error
	if x.web, err = x.store.web(x.login); err != nil {
		return x.step(ctx, "login", func(context.Context) (finding, error) { return finding{}, err })
	}
	return x.step(ctx, "login", func(ctx context.Context) (found finding, err error) {
		_, failures, err := x.web.folders(ctx, ews.Inbox)
		if err == nil && failures[0] != nil {
			err = notOpen(x.login, failures[0])
		}
		return finding{detail: fmt.Sprintf("%s is signed in at EWS", x.login.own)}, x.whyRefused(ctx, err)
	}) && x.step(ctx, "mailbox", func(ctx context.Context) (found finding, err error) {
		a, err := x.web.identify(ctx)
		return finding{detail: fmt.Sprintf("%s is %s, with %d addresses", x.login.address, a.ID, len(a.Addresses))}, err
	}) && x.step(ctx, "folder", func(ctx context.Context) (found finding, err error) {
		m, err := x.web.reach(ctx, folder)
		if err != nil {
			return found, err
		}
		m.ctx, m.cancel = context.WithCancel(ctx)
		x.drop, x.cancel = m, m.cancel
		return finding{detail: "the folder has the id " + m.id}, nil
	})
}

// messages lists the folder, and reads its first message.
func (x *examination) messages(ctx context.Context) {
	if !x.step(ctx, "list", x.list) {
		return
	}
	if x.first == nil {
		x.tell(backends.Step{Name: "message", Outcome: backends.StepSkipped, Detail: "the folder is empty"})
		return
	}
	x.step(ctx, "message", x.message)
}

// identify finds the mailbox in the address book.
func (x *examination) identify(ctx context.Context, book book) (found finding, err error) {
	if x.who, err = x.store.identify(ctx, book, x.login); err != nil {
		return found, err
	}
	owner := x.who.owner
	return finding{detail: fmt.Sprintf("%s is %s, with %d addresses", x.login.address, owner.dn, len(owner.account.Addresses))}, nil
}

// connect makes a session context and logs on to the mailbox.
func (x *examination) connect(ctx context.Context) (found finding, err error) {
	if x.session, err = x.store.connect(ctx, x.login, x.who); err != nil {
		return found, err
	}
	return finding{detail: fmt.Sprintf("%s is logged on", x.session.http.User())}, nil
}

func (x *examination) open(ctx context.Context, folder string) (finding, error) {
	m := newMaildrop(x.store, x.session, x.who)
	m.ctx, m.cancel = context.WithCancel(ctx)
	x.drop, x.cancel = m, m.cancel
	err := x.session.do(ctx, func(ctx context.Context) error { return m.choose(ctx, x.login, folder) })
	return finding{detail: "the folder has the id " + m.id}, err
}

func (x *examination) list(ctx context.Context) (finding, error) {
	n, octets := 0, int64(0)
	for e, err := range x.drop.List(ctx) {
		if err != nil {
			return finding{}, err
		}
		if n == 0 {
			x.first = &e
		}
		n++
		octets += max(0, e.Size)
	}
	return finding{detail: fmt.Sprintf("%d messages, about %d octets", n, octets)}, nil
}

// message renders the first message.
func (x *examination) message(ctx context.Context) (finding, error) {
	c, err := x.drop.Fetch(ctx, backends.FetchRequest{ID: x.first.ID})
	if err != nil {
		return finding{}, err
	}
	defer c.Close() //nolint:errcheck // it was read to its end, or is of no use
	n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
	return finding{detail: fmt.Sprintf("the first message is mail of %d octets", n)}, err
}
