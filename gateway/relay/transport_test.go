//go:build linux

package relay_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// transport is a store that sends, as its function says.
type transport struct {
	store
	send func(d backends.Delivery) ([]backends.Verdict, error)
	// bySender says why somebody cannot send.
	bySender func(as string) error

	mu   sync.Mutex
	as   []string // who has sent
	sent []backends.Delivery
}

func (s *transport) Send(_ context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	s.mu.Lock()
	s.as, s.sent = append(s.as, c.String()), append(s.sent, d)
	s.mu.Unlock()
	if s.bySender != nil {
		if err := s.bySender(c.String()); err != nil {
			return nil, err
		}
	}
	if s.send != nil {
		if verdicts, err := s.send(d); err != nil {
			return verdicts, err
		}
	}
	_, err := io.Copy(io.Discard, content)
	return taken(d), err
}

// newTransportWorld is a relay whose destinations send through a store, as ada and as the route's user.
func newTransportWorld(t *testing.T, s *transport) *world {
	t.Helper()
	w := newWorld(t, far)
	router := stores.NewRouter(storestest.Table(stores.Config{Name: "office", Domains: []string{"office.example"}}.In(storestest.In(s))))
	w.relay.Stores = relay.StoresOf(router)
	w.relay.Routes = routes{
		"route:m365:ada@office.example": {Kind: relay.Transport, Store: "office", As: "ada@office.example"},
		"route:m365":                    {Kind: relay.Transport, Store: "office", As: "postmaster@office.example"},
	}
	return w
}

func to(destination string, m spool.Message) spool.Message {
	for i := range m.Recipients {
		m.Recipients[i].Destination = destination
	}
	return m
}

// TestTransport: a store sends each message as the mailbox of its destination, for which the gateway's word stands.
func TestTransport(t *testing.T) {
	s := &transport{}
	w := newTransportWorld(t, s)
	w.add(to("route:m365:ada@office.example", letter("k1", "a@far.example", "b@far.example")), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0", "b@far.example delivered 2.0.0")
	if len(s.sent) != 1 || s.sent[0].Key != "k1" || s.as[0] != "impersonation of ada@office.example" {
		t.Errorf("sent: %v, as %q", s.sent, s.as)
	}
}

// TestTransportOfNobody: what is from none of the store's mailboxes is sent as the route's user.
func TestTransportOfNobody(t *testing.T) {
	s := &transport{}
	w := newTransportWorld(t, s)
	w.add(to("route:m365", letter("k1", "a@far.example")), text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example delivered 2.0.0")
	if len(s.as) != 1 || s.as[0] != "impersonation of postmaster@office.example" {
		t.Errorf("as %q", s.as)
	}
}

// TestTransportWaits: a login of the gateway's own that is refused, a store that cannot act for users, or a token that does
// not come, brings no mail back.
func TestTransportWaits(t *testing.T) {
	for name, c := range map[string]struct {
		failure *backends.Failure
		code    string
	}{
		"refused":            {backends.Fail(backends.BadCredentials, "no"), "4.7.8"},
		"acts for nobody":    {backends.Fail(backends.Unsupported, "no"), "4.7.8"},
		"no token":           {backends.Fail(backends.Temporary, "secret expired"), "4.3.0"},
		"too many a minute":  {backends.Fail(backends.Throttled, "slowly").After(time.Hour), "4.7.0"},
		"a password is over": {backends.Fail(backends.PasswordExpired, "no"), "4.7.8"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &transport{send: func(backends.Delivery) ([]backends.Verdict, error) { return nil, c.failure }}
			w := newTransportWorld(t, s)
			w.add(to("route:m365:ada@office.example", letter("k1", "a@far.example")), text)
			w.run(t)
			w.rest(t)
			w.is(t, "k1", "a@far.example waiting "+c.code)
			if len(w.reports) != 0 {
				t.Errorf("the sender is told %+v", w.reports)
			}
		})
	}
}

// TestTransportLimits: however much waits for a mailbox, its provider gets no more of it at once than the route says, and each
// message once.
func TestTransportLimits(t *testing.T) {
	const messages, connections = 500, 3
	var mu sync.Mutex
	now, most := 0, 0
	s := &transport{send: func(backends.Delivery) ([]backends.Verdict, error) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(time.Millisecond) // for others to come meanwhile
		mu.Lock()
		now--
		mu.Unlock()
		return nil, nil
	}}
	w := newTransportWorld(t, s)
	w.relay.Routes = routes{"route:m365:ada@office.example": {Kind: relay.Transport, Store: "office", As: "ada@office.example", Limits: relay.Limits{Connections: connections}}}
	for i := range messages {
		w.add(to("route:m365:ada@office.example", letter(fmt.Sprintf("k%d", i), "a@far.example")), text)
	}
	w.run(t)
	w.rest(t)
	sent := make(map[string]int)
	for _, d := range s.sent {
		sent[d.Key]++
	}
	if len(s.sent) != messages || len(sent) != messages {
		t.Errorf("%d messages were sent, %d times", len(sent), len(s.sent))
	}
	if most > connections || most < 2 {
		t.Errorf("%d at once", most)
	}
}

// TestTransportRequireTLS: nobody knows by which way a store's own transport sends, so what asks for REQUIRETLS (RFC 8689) is not
// given to it.
func TestTransportRequireTLS(t *testing.T) {
	s := &transport{}
	w := newTransportWorld(t, s)
	m := to("route:m365:ada@office.example", letter("k1", "a@far.example"))
	m.Envelope.RequireTLS = true
	w.add(m, text)
	w.run(t)
	w.rest(t)
	w.is(t, "k1", "a@far.example failed 5.7.30")
	if len(s.sent) != 0 {
		t.Errorf("sent: %v", s.sent)
	}
}
