package mapihttp

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// Session is a session context for a mailbox store. It is a [rop.Transport].
type Session struct {
	link
	// DisplayName is what the server calls the user, and DNPrefix what its distinguished names begin with.
	DisplayName, DNPrefix string

	dn           string
	capabilities uint32  // of the server, while it is one's turn
	waiter       *caller // for Wait
	waiting      sync.Mutex
}

// Connect makes a session context for the user of a distinguished name, such as
// /o=Sakes/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=george. MS-OXCMAPIHTTP §2.2.4.1.
func Connect(ctx context.Context, c Config, dn string) (*Session, error) {
	c, target, err := c.complete()
	if err != nil {
		return nil, err
	}
	// AuxiliaryBufferSize stands in a Disconnect alone.
	s := &Session{link: newLink(newCaller(c, target), call{kind: "Disconnect", body: make([]byte, 4)}), dn: dn, waiter: newCaller(c, target)}
	s.begin = s.connect
	if err := s.Revive(ctx); err != nil {
		s.unmade()
		return nil, err
	}
	return s, nil
}

// Close ends the connections, and leaves the session context to the server's time-out.
func (s *Session) Close() {
	s.link.Close()
	s.waiter.close()
}

func (s *Session) connect(ctx context.Context) error {
	e := mapi.NewEncoder(nil, mapi.Format{})
	e.String8(s.dn)
	e.Uint32(0) // Flags
	e.Uint32(s.caller.config.CodePage)
	e.Uint32(s.caller.config.Locale) // LcidSort
	e.Uint32(s.caller.config.Locale) // LcidString
	e.Uint32(0)                      // AuxiliaryBufferSize
	d, err := s.request(ctx, call{kind: "Connect", body: e.Octets()})
	if err != nil {
		return err
	}
	d.Bytes(3 * 4) // PollsMax, RetryCount, RetryDelay
	s.DNPrefix, s.DisplayName = d.String8().Text(), d.Unicode()
	s.capabilities = rop.Capabilities(d.Bytes(int(d.Uint32())))
	if err := d.Err(); err != nil {
		return backends.Fail(backends.Temporary, "the reply to Connect: %w", err)
	}
	return nil
}

// Packs says whether the server takes several payloads of an upload in one Execute, see [rop.Session.Packs].
func (s *Session) Packs() bool {
	_ = s.turn.Take(context.Background()) // which has no end
	defer s.turn.Pass()
	return s.capabilities&rop.PackedUploads != 0
}

// Execute implements [rop.Transport]. MS-OXCMAPIHTTP §2.2.4.2. That the server could not execute the requests is a failure with
// the [rop.Code]; one that is [backends.Uncertain] may have been executed.
func (s *Session) Execute(ctx context.Context, flags uint32, requests []byte, most uint32) ([]byte, error) {
	if err := s.turn.Live(ctx); err != nil {
		return nil, err
	}
	defer s.turn.Pass()
	e := mapi.NewEncoder(nil, mapi.Format{})
	e.Uint32(flags)
	e.Uint32(uint32(len(requests)))
	e.Bytes(requests)
	e.Uint32(most)
	e.Uint32(0) // AuxiliaryBufferSize
	d, err := s.request(ctx, call{kind: "Execute", body: e.Octets(), once: true})
	if err != nil {
		return nil, err
	}
	d.Uint32() // Flags
	replies := d.Bytes(int(d.Uint32()))
	if err := ended("Execute", d); err != nil {
		s.turn.Lost = true // what was executed is not known
		return nil, backends.Fail(backends.Uncertain, "%w: %w", rop.ErrLost, err)
	}
	return replies, nil
}

var _ rop.Transport = (*Session)(nil)

// Ping keeps the session context alive. MS-OXCMAPIHTTP §2.2.6.
func (s *Session) Ping(ctx context.Context) error {
	if err := s.turn.Live(ctx); err != nil {
		return err
	}
	defer s.turn.Pass()
	_, err := s.send(ctx, call{kind: "PING"})
	return err
}

// Disconnect ends the session context and the connections. MS-OXCMAPIHTTP §2.2.4.3.
func (s *Session) Disconnect(ctx context.Context) error {
	defer s.Close()
	return s.end(ctx)
}

// Wait waits until notifications are there to be fetched, and says whether any are: a server gives up by itself after some
// minutes. MS-OXCMAPIHTTP §2.2.4.4. One call waits at a time.
func (s *Session) Wait(ctx context.Context) (bool, error) {
	s.waiting.Lock()
	defer s.waiting.Unlock()
	if err := s.turn.Live(ctx); err != nil {
		return false, err
	}
	known := append(cookies{}, s.cookies...)
	s.turn.Pass()
	r := call{kind: "NotificationWait", body: make([]byte, 8), cookies: &known} // Flags, AuxiliaryBufferSize
	body, err := s.waiter.do(ctx, r)
	if errors.Is(err, errSlow) {
		return false, nil // QUIRK: some servers never end it
	}
	if err != nil {
		return false, err
	}
	d, err := decoded(r, body)
	if err != nil {
		return false, err
	}
	pending := d.Uint32()
	return pending != 0, ended(r.kind, d)
}

// User is what the server calls the user.
func (s *Session) User() string { return s.DisplayName }

// String says which mailbox it is, without what must not be logged.
func (s *Session) String() string {
	return fmt.Sprintf("session of %s at %s", s.dn, s.caller.target.Host)
}
