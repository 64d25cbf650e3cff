package stores

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// Call is one call to a store.
type Call struct {
	Store string
	// Name is the method of the contract: "Login", "Open", "Resolve", "Deliver", ….
	Name string
	// Session is the gateway's id of the session that the call is for; empty: it is for none.
	Session string

	secret []byte   // that may be in what the store says: see hide
	whole  bool     // parts of it are no secrets, as a response of SASL's has a name in it
	own    [][]byte // secrets of the store's settings, which may be there, too
}

// Middleware runs around every call to a store: metrics, tracing and the like are one function each,
// whatever the call. It calls next once, with its own context or one made from it, and returns
// next's error, or one of the same kind made from it.
//
// The calls inside an opened maildrop and the steps of a SASL exchange pass too, each by itself. What is read
// of a message that a call has given, or written of one, is no call.
//
// No middleware is needed to keep secrets out of the log: what a call fails with has the call's secret no
// more when the first middleware sees it.
type Middleware func(ctx context.Context, call Call, next func(context.Context) error) error

// observe puts middleware around the calls of a store, which does not see the secrets of its settings.
func (s *Store) observe(middleware []Middleware, secrets [][]byte) {
	around := observed{s.Name, middleware, secrets}
	s.base = observedBase{around, s.base}
	if s.Reader != nil {
		s.Reader = observedReader{&around, s.Reader}
	}
	if s.Receiver != nil {
		s.Receiver = observedReceiver{around, s.Receiver}
	}
	if s.Sender != nil {
		s.Sender = observedSender{around, s.Sender}
	}
	if s.Outbox != nil {
		s.Outbox = observedOutbox{around, s.Outbox}
	}
	if s.Authenticator != nil {
		s.Authenticator = observedAuthenticator{around, s.Authenticator}
	}
	if s.SendRights != nil {
		s.SendRights = observedSendRights{around, s.SendRights}
	}
}

// observed runs calls to a store through middleware.
type observed struct {
	store      string
	middleware []Middleware
	secrets    [][]byte
}

// of completes a call with what is the store's.
func (o observed) of(what Call) Call {
	what.Store, what.own = o.store, o.secrets
	return what
}

func (o observed) run(ctx context.Context, what Call, call func(context.Context) error) error {
	what = o.of(what)
	bare := call
	call = func(ctx context.Context) error { return what.hide(bare(ctx)) }
	for _, around := range slices.Backward(o.middleware) {
		next := call
		call = func(ctx context.Context) error { return around(ctx, what, next) }
	}
	return call(ctx)
}

// through runs a call that has a result.
func through[T any](ctx context.Context, o observed, what Call, call func(context.Context) (T, error)) (result T, err error) {
	err = o.run(ctx, what, func(ctx context.Context) (err error) {
		result, err = call(ctx)
		return err
	})
	return result, err
}

type observedBase struct {
	observed
	inner base
}

// Health implements base.
func (o observedBase) Health(ctx context.Context) error {
	return o.run(ctx, Call{Name: "Health"}, o.inner.Health)
}

// Login implements base.
func (o observedBase) Login(ctx context.Context, credential backends.Credential) (backends.Account, error) {
	return through(ctx, o.observed, Call{Name: "Login", Session: credential.Peer.Session, secret: credential.Secret}, func(ctx context.Context) (backends.Account, error) {
		return o.inner.Login(ctx, credential)
	})
}

type observedReader struct {
	*observed
	inner backends.Reader
}

// Open implements [backends.Reader].
func (o observedReader) Open(ctx context.Context, request backends.OpenRequest) (backends.Maildrop, error) {
	what := Call{Name: "Open", Session: request.Credential.Peer.Session, secret: request.Credential.Secret}
	drop, err := through(ctx, *o.observed, what, func(ctx context.Context) (backends.Maildrop, error) {
		return o.inner.Open(ctx, request)
	})
	if err != nil {
		return nil, err
	}
	return o.maildrop(drop, what.Session, request.Credential.Secret), nil
}

type observedReceiver struct {
	observed
	inner backends.Receiver
}

// Resolve implements [backends.Receiver].
func (o observedReceiver) Resolve(ctx context.Context, query backends.ResolveQuery) ([]backends.Verdict, error) {
	what := o.of(Call{Name: "Resolve", Session: query.Peer.Session})
	return through(ctx, o.observed, what, func(ctx context.Context) ([]backends.Verdict, error) {
		verdicts, err := o.inner.Resolve(ctx, query)
		return what.hideVerdicts(verdicts), err
	})
}

// Deliver implements [backends.Receiver].
func (o observedReceiver) Deliver(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	what := o.of(Call{Name: "Deliver", Session: delivery.Peer.Session})
	return through(ctx, o.observed, what, func(ctx context.Context) ([]backends.Verdict, error) {
		verdicts, err := o.inner.Deliver(ctx, delivery, content)
		return what.hideVerdicts(verdicts), err
	})
}

type observedSender struct {
	observed
	inner backends.Sender
}

// Send implements [backends.Sender].
func (o observedSender) Send(ctx context.Context, credential backends.Credential, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	what := o.of(Call{Name: "Send", Session: delivery.Peer.Session, secret: credential.Secret})
	return through(ctx, o.observed, what, func(ctx context.Context) ([]backends.Verdict, error) {
		verdicts, err := o.inner.Send(ctx, credential, delivery, content)
		return what.hideVerdicts(verdicts), err
	})
}

// OpenSending implements [backends.SessionSender].
func (o observedSender) OpenSending(ctx context.Context, credential backends.Credential) (backends.Sending, error) {
	return through(ctx, o.observed, Call{Name: "OpenSending", Session: credential.Peer.Session, secret: credential.Secret}, func(ctx context.Context) (backends.Sending, error) {
		session, err := backends.OpenSending(ctx, o.inner, credential)
		if err != nil {
			return nil, err
		}
		return &observedSending{o.observed, session, bytes.Clone(credential.Secret)}, nil
	})
}

// observedSending has each message pass through the middleware, as a Send of its own does.
type observedSending struct {
	observed
	backends.Sending
	secret []byte // the credential's
}

// Send implements [backends.Sending].
func (o *observedSending) Send(ctx context.Context, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	what := o.of(Call{Name: "Send", Session: delivery.Peer.Session, secret: o.secret})
	return through(ctx, o.observed, what, func(ctx context.Context) ([]backends.Verdict, error) {
		verdicts, err := o.Sending.Send(ctx, delivery, content)
		return what.hideVerdicts(verdicts), err
	})
}

// Close implements [backends.Sending].
func (o *observedSending) Close() error {
	defer clear(o.secret)
	return o.of(Call{secret: o.secret}).hide(o.Sending.Close())
}

type observedOutbox struct {
	observed
	inner backends.Outbox
}

// Collect implements [backends.Outbox].
func (o observedOutbox) Collect(ctx context.Context, request backends.CollectRequest, accept func(context.Context, backends.Outgoing, backends.Content) error) error {
	return o.run(ctx, Call{Name: "Collect"}, func(ctx context.Context) error { return o.inner.Collect(ctx, request, accept) })
}

// Settle implements [backends.Outbox].
func (o observedOutbox) Settle(ctx context.Context, settlements []backends.Settlement) error {
	return o.run(ctx, Call{Name: "Settle"}, func(ctx context.Context) error { return o.inner.Settle(ctx, settlements) })
}

type observedAuthenticator struct {
	observed
	inner backends.Authenticator
}

// Authenticate implements [backends.Authenticator].
func (o observedAuthenticator) Authenticate(ctx context.Context, mechanism string, peer backends.Peer) (sasl.Exchange[backends.Account], error) {
	inner, err := through(ctx, o.observed, Call{Name: "Authenticate", Session: peer.Session}, func(ctx context.Context) (sasl.Exchange[backends.Account], error) {
		return o.inner.Authenticate(ctx, mechanism, peer)
	})
	if err != nil {
		return nil, err
	}
	return &observedExchange{Exchange: inner, observed: o.observed, session: peer.Session}, nil
}

// observedExchange has each of its steps pass by itself, as "Step".
type observedExchange struct {
	sasl.Exchange[backends.Account]
	observed
	session string
}

// Next implements [sasl.Exchange].
func (o *observedExchange) Next(ctx context.Context, response []byte) (challenge []byte, account *backends.Account, err error) {
	step := Call{Name: "Step", Session: o.session, secret: response, whole: true}
	err = o.run(ctx, step, func(ctx context.Context) (err error) {
		challenge, account, err = o.Exchange.Next(ctx, response)
		return err
	})
	return challenge, account, err
}

// Close implements [sasl.Exchange].
func (o *observedExchange) Close() error { return o.of(Call{}).hide(o.Exchange.Close()) }

type observedSendRights struct {
	observed
	inner backends.SendRights
}

// MaySend implements [backends.SendRights].
func (o observedSendRights) MaySend(ctx context.Context, query backends.MaySendQuery) (backends.SendRight, error) {
	return through(ctx, o.observed, Call{Name: "MaySend", Session: query.Peer.Session}, func(ctx context.Context) (backends.SendRight, error) {
		return o.inner.MaySend(ctx, query)
	})
}
