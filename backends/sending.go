package backends

import (
	"context"
	"io"
)

// Sender is a store through whose own transport an account can send.
type Sender interface {
	// Send submits a message as the credential's account: one verdict for each recipient, in
	// their order. It fails as Login does. An outcome that is not known is [Uncertain], and is
	// not sent again blindly.
	Send(ctx context.Context, credential Credential, delivery Delivery, content io.Reader) ([]Verdict, error)
}

// SessionSender is a [Sender] that sends several messages under one login. [OpenSending] makes up for one
// that is none.
type SessionSender interface {
	Sender
	// OpenSending begins a sending session for a credential. It fails as Login does, or leaves that to
	// the first Send. The context bounds the opening alone.
	OpenSending(ctx context.Context, credential Credential) (Sending, error)
}

// Sending is a sending session: messages that are sent one after the other, under one login. Unlike a
// store it is used by one goroutine at a time.
type Sending interface {
	// Send submits a message, as [Sender.Send] does. One that fails, or whose context ends, costs the
	// others nothing but, at worst, another login: a connection that is gone is followed by another one
	// with the next message. The key holds over sessions, see [Delivery.Key].
	Send(ctx context.Context, delivery Delivery, content io.Reader) ([]Verdict, error)
	// Close ends the session. It may be called again.
	Close() error
}

// OpenSending begins a sending session with any sender. One that takes a message at a time is given each
// with the credential.
func OpenSending(ctx context.Context, sender Sender, credential Credential) (Sending, error) {
	if s, ok := sender.(SessionSender); ok {
		return s.OpenSending(ctx, credential)
	}
	return &eachAlone{sender: sender, credential: credential}, nil
}

// eachAlone is the session of a sender that has none.
type eachAlone struct {
	sender     Sender
	credential Credential
	closed     bool
}

// Send implements [Sending].
func (e *eachAlone) Send(ctx context.Context, delivery Delivery, content io.Reader) ([]Verdict, error) {
	if e.closed {
		return nil, SendingClosed()
	}
	return e.sender.Send(ctx, e.credential, delivery, content)
}

// Close implements [Sending].
func (e *eachAlone) Close() error {
	e.closed = true
	return nil
}

// SendingClosed is the failure of a message for a session that was closed.
func SendingClosed() error { return Fail(Temporary, "the sending session is closed") }
