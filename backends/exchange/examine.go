package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/probe"
)

var _ backends.Examiner = (*Store)(nil)

// examination is one way from the server's name to the first message.
type examination struct {
	store *Store
	way   *probe.Way
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

// Examine implements [backends.Examiner]. A password that is refused by NTLM is presented once more, to Autodiscover, which wants no
// channel binding: so the two can be told apart.
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	if err := s.ready(); err != nil && !errors.Is(err, errNotLocated) {
		return err
	}
	x := &examination{store: s, way: probe.New(ctx, tell)}
	if s.drop != nil {
		s.drop.Examine(x.way)
	}
	defer x.close()
	if x.locate(ctx, request.Credential) && x.server(ctx) && x.enters(ctx, request) && x.mailbox(ctx, request.Folder) {
		x.messages(ctx)
	}
	return x.way.Err()
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

// step does one step and tells it, with what Exchange's failures are called. It says whether the way goes on.
func (x *examination) step(name string, something func(context.Context) (probe.Found, error)) bool {
	return x.way.Step(name, func(ctx context.Context) (probe.Found, error) {
		found, err := something(ctx)
		found.Warning = our(found.Warning)
		if err != nil {
			err = probe.Because(diagnose(err), err)
		}
		return found, err
	})
}

// locate finds the server where the settings do not name it.
func (x *examination) locate(ctx context.Context, c backends.Credential) bool {
	if !errors.Is(x.store.ready(), errNotLocated) {
		return true
	}
	if c.Kind == 0 {
		return x.step("Autodiscover", func(ctx context.Context) (probe.Found, error) {
			return probe.Found{Detail: "a server for it is there; it is asked with a login"}, x.store.discoverable(ctx)
		}) && false
	}
	return x.step("Autodiscover", func(ctx context.Context) (probe.Found, error) {
		err := x.store.locate(ctx, c)
		if backends.KindOf(err) == backends.Temporary && !errors.Is(err, errService) {
			err = probe.Because(noServer, err)
		}
		return probe.Found{Detail: "the server is " + x.store.settings.URL}, err
	})
}

// enters says whether somebody logs in. The form of the credential is looked at.
func (x *examination) enters(ctx context.Context, request backends.ExamineRequest) bool {
	if request.Credential.Kind == 0 {
		x.way.Skip("login", "nobody logs in")
		return false
	}
	var err error
	x.login, err = x.store.login(request.Credential)
	return err == nil || x.step("login", func(context.Context) (probe.Found, error) { return probe.Found{}, err })
}

// mailbox goes from the login to the folder.
func (x *examination) mailbox(ctx context.Context, folder string) bool {
	if x.byEWS {
		return x.webMailbox(ctx, folder)
	}
	var book book
	ok := x.step("login", func(ctx context.Context) (found probe.Found, err error) {
		if book, err = x.store.bind(ctx, x.login); err != nil {
			return found, x.whyRefused(ctx, err)
		}
		return probe.Found{Detail: fmt.Sprintf("%s is signed in at the address book", x.login.own)}, nil
	})
	if !ok {
		return false
	}
	defer book.Unbind(ctx) //nolint:errcheck // it ends the connection whatever comes of it
	return x.step("mailbox", func(ctx context.Context) (probe.Found, error) { return x.identify(ctx, book) }) &&
		x.step("session", x.connect) &&
		x.step("folder", func(ctx context.Context) (probe.Found, error) { return x.open(ctx, folder) })
}

// webMailbox is mailbox by EWS, which has no sessions.
func (x *examination) webMailbox(ctx context.Context, folder string) bool {
	var err error
	if x.web, err = x.store.web(x.login); err != nil {
		return x.step("login", func(context.Context) (probe.Found, error) { return probe.Found{}, err })
	}
	return x.step("login", func(ctx context.Context) (found probe.Found, err error) {
		_, failures, err := x.web.folders(ctx, ews.Inbox)
		if err == nil && failures[0] != nil {
			err = notOpen(x.login, failures[0])
		}
		return probe.Found{Detail: fmt.Sprintf("%s is signed in at EWS", x.login.own)}, x.whyRefused(ctx, err)
	}) && x.step("mailbox", func(ctx context.Context) (found probe.Found, err error) {
		a, err := x.web.identify(ctx)
		return probe.Found{Detail: fmt.Sprintf("%s is %s, with %d addresses", x.login.address, a.ID, len(a.Addresses))}, err
	}) && x.step("folder", func(ctx context.Context) (found probe.Found, err error) {
		m, err := x.web.reach(ctx, folder)
		if err != nil {
			return found, err
		}
		m.ctx, m.cancel = context.WithCancel(ctx)
		x.drop, x.cancel = m, m.cancel
		return probe.Found{Detail: "the folder has the id " + m.id}, nil
	})
}

// messages lists the folder, and reads its first message.
func (x *examination) messages(ctx context.Context) {
	if !x.step("list", x.list) {
		return
	}
	if x.first == nil {
		x.way.Skip("message", "the folder is empty")
		return
	}
	x.step("message", x.message)
}

// identify finds the mailbox in the address book.
func (x *examination) identify(ctx context.Context, book book) (found probe.Found, err error) {
	if x.who, err = x.store.identify(ctx, book, x.login); err != nil {
		return found, err
	}
	owner := x.who.owner
	return probe.Found{Detail: fmt.Sprintf("%s is %s, with %d addresses", x.login.address, owner.dn, len(owner.account.Addresses))}, nil
}

// connect makes a session context and logs on to the mailbox.
func (x *examination) connect(ctx context.Context) (found probe.Found, err error) {
	if x.session, err = x.store.connect(ctx, x.login, x.who); err != nil {
		return found, err
	}
	return probe.Found{Detail: fmt.Sprintf("%s is logged on", x.session.http.User())}, nil
}

func (x *examination) open(ctx context.Context, folder string) (probe.Found, error) {
	m := newMaildrop(x.store, x.session, x.who)
	m.ctx, m.cancel = context.WithCancel(ctx)
	x.drop, x.cancel = m, m.cancel
	err := x.session.do(ctx, func(ctx context.Context) error { return m.choose(ctx, x.login, folder) })
	return probe.Found{Detail: "the folder has the id " + m.id}, err
}

func (x *examination) list(ctx context.Context) (probe.Found, error) {
	n, octets := 0, int64(0)
	for e, err := range x.drop.List(ctx) {
		if err != nil {
			return probe.Found{}, err
		}
		if n == 0 {
			x.first = &e
		}
		n++
		octets += max(0, e.Size)
	}
	return probe.Found{Detail: fmt.Sprintf("%d messages, about %d octets", n, octets)}, nil
}

// message renders the first message.
func (x *examination) message(ctx context.Context) (probe.Found, error) {
	c, err := x.drop.Fetch(ctx, backends.FetchRequest{ID: x.first.ID})
	if err != nil {
		return probe.Found{}, err
	}
	defer c.Close() //nolint:errcheck // it was read to its end, or is of no use
	n, err := io.Copy(io.Discard, struct{ io.Reader }{c})
	return probe.Found{Detail: fmt.Sprintf("the first message is mail of %d octets", n)}, err
}
