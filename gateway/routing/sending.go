package routing

import (
	"bytes"
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// sending is what a store sends with in the name of an account that has logged in: one sending session for
// all transactions of the SMTP session, opened with the first message.
type sending struct {
	credential backends.Credential
	session    backends.Sending // nil: there is none
}

// newSending keeps a credential until close.
func newSending(c backends.Credential) *sending {
	c.Secret = bytes.Clone(c.Secret)
	return &sending{credential: c}
}

// send sends a message. That a plugin's process is replaced meanwhile is the session's affair.
func (s *sending) send(ctx context.Context, store *stores.Store, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if s.session == nil {
		session, err := backends.OpenSending(ctx, store.Sender, s.credential)
		if err != nil {
			return nil, err
		}
		s.session = session
	}
	returned := false
	defer func() {
		if !returned { // the store's code panicked: nobody knows in what state it has left the session
			s.end()
		}
	}()
	verdicts, err := s.session.Send(ctx, delivery, content)
	returned = true
	return verdicts, err
}

// end ends the session, if there is one.
func (s *sending) end() {
	if s.session != nil {
		_ = s.session.Close()
	}
	s.session = nil
}

// close ends the session and forgets the credential.
func (s *sending) close() {
	s.end()
	clear(s.credential.Secret)
}
