package routing_test

import (
	"context"
	"io"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// sessions is a store that counts its sending sessions.
type sessions struct {
	sender
	opened, closed int
	onOpen         func() error
	onSend         func()
}

func (s *sessions) OpenSending(_ context.Context, c backends.Credential) (backends.Sending, error) {
	if s.onOpen != nil {
		if err := s.onOpen(); err != nil {
			return nil, err
		}
	}
	s.opened++
	return &sessionOf{sessions: s, credential: c}, nil
}

type sessionOf struct {
	*sessions
	credential backends.Credential
}

func (s *sessionOf) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if s.onSend != nil {
		s.onSend()
	}
	return s.sender.Send(ctx, s.credential, d, content)
}

func (s *sessionOf) Close() error {
	s.closed++
	return nil
}

// TestOneSendingSession: the messages of one login go under one login of the store.
func TestOneSendingSession(t *testing.T) {
	const from, to, other = "alice@sakes.example", "bob@far.example", "From: Alice <alice@sakes.example>\r\nSubject: y\r\n\r\nBody\r\n"
	begin := func(t *testing.T) (*gateway, *sessions, func(message string) string, func()) {
		g := newGateway(t)
		s := &sessions{sender: sender{receiver{g.sakes}}}
		config := stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, Default: true, Sends: true}
		g.options.Router.Swap(g.table(config.In(storestest.In(s))))
		session := g.submission()
		return g, s, func(message string) string { return send(t, session, from, []string{to}, message) }, session.Close
	}
	expect := func(t *testing.T, s *sessions, opened, closed int) {
		t.Helper()
		if s.opened != opened || s.closed != closed {
			t.Errorf("%d sessions opened and %d closed, want %d and %d", s.opened, s.closed, opened, closed)
		}
	}
	t.Run("two messages", func(t *testing.T) {
		g, s, mail, end := begin(t)
		if first, second := mail(letter), mail(other); first != "250" || second != "250" || g.sakes.has(to) != 2 {
			t.Errorf("%s, %s, and %d copies", first, second, g.sakes.has(to))
		}
		expect(t, s, 1, 0)
		end()
		expect(t, s, 1, 1)
	})
	t.Run("one is refused", func(t *testing.T) {
		g, s, mail, end := begin(t)
		g.sakes.before = func(context.Context, backends.Delivery) error { return backends.Fail(backends.Permanent, "no") }
		first := mail(letter)
		g.sakes.before = nil
		if second := mail(other); first != "554 5.3.0" || second != "250" {
			t.Errorf("%s, %s", first, second)
		}
		expect(t, s, 1, 0)
		end()
		expect(t, s, 1, 1)
	})
	t.Run("it cannot be opened at first", func(t *testing.T) {
		_, s, mail, end := begin(t)
		s.onOpen = func() error { return backends.Fail(backends.Temporary, "down") }
		first := mail(letter)
		s.onOpen = nil
		if second := mail(other); first != "451 4.3.0" || second != "250" {
			t.Errorf("%s, %s", first, second)
		}
		end()
		expect(t, s, 1, 1)
	})
	t.Run("the store panics", func(t *testing.T) {
		_, s, mail, end := begin(t)
		s.onSend = func() { panic("on purpose") }
		first := mail(letter)
		s.onSend = nil
		if second := mail(other); first != "451 4.4.2" || second != "250" {
			t.Errorf("%s, %s", first, second)
		}
		expect(t, s, 2, 1)
		end()
		expect(t, s, 2, 2)
	})
}
