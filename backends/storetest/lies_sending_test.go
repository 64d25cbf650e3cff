package storetest_test

import (
	"bytes"
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
)

// liarSending is a sending session that differs in one thing.
type liarSending struct {
	backends.Sending
	send  func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error)
	close func() error
}

func (s *liarSending) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if s.send != nil {
		return s.send(ctx, d, content)
	}
	return s.Sending.Send(ctx, d, content)
}

func (s *liarSending) Close() error {
	if s.close != nil {
		return s.close()
	}
	return s.Sending.Close()
}

func (l *liar) OpenSending(ctx context.Context, c backends.Credential) (backends.Sending, error) {
	if l.openSending != nil {
		return l.openSending(ctx, c)
	}
	session, err := l.Store.OpenSending(ctx, c)
	if err != nil || l.sending == nil {
		return session, err
	}
	lying := &liarSending{Sending: session}
	l.sending(lying)
	return lying, nil
}

// inSession changes each session.
func inSession(change func(*liar, *liarSending)) func(*liar) {
	return func(l *liar) { l.sending = func(s *liarSending) { change(l, s) } }
}

var sendingLies = []lie{
	{
		name: "each message of a session is a login",
		tell: inSession(func(l *liar, s *liarSending) {
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				defer l.EndSending()
				return s.Sending.Send(ctx, d, content)
			}
		}),
		fails: []string{"sender/session-one-login"},
	},
	{
		name: "half a message of a session is sent",
		tell: inSession(func(_ *liar, s *liarSending) {
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if err != nil && ctx.Err() != nil {
					return nil, err
				}
				return s.Sending.Send(ctx, d, bytes.NewReader(data))
			}
		}),
		fails: []string{"sender/session-one-fails"},
	},
	{
		name: "a message that fails ends the session",
		tell: inSession(func(_ *liar, s *liarSending) {
			var failed error
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if failed != nil {
					return nil, failed
				}
				var verdicts []backends.Verdict
				verdicts, failed = s.Sending.Send(ctx, d, content)
				return verdicts, failed
			}
		}),
		fails: []string{"sender/session-one-fails", "sender/session-cancelled"},
	},
	{
		name: "a cancelled message of a session is sent",
		tell: inSession(func(_ *liar, s *liarSending) {
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if err != nil && ctx.Err() == nil {
					return nil, err
				}
				return s.Sending.Send(context.WithoutCancel(ctx), d, bytes.NewReader(data))
			}
		}),
		fails: []string{"sender/session-cancelled"},
	},
	{
		name: "a login that the server ends is not made again",
		tell: inSession(func(l *liar, s *liarSending) {
			ends := l.sendingEnds
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if l.sendingEnds > ends {
					return nil, backends.Fail(backends.Temporary, "the connection is lost")
				}
				return s.Sending.Send(ctx, d, content)
			}
		}),
		fails: []string{"sender/session-ends-between"},
	},
	{
		name: "a key is one session's",
		tell: inSession(func(_ *liar, s *liarSending) {
			mine := unique()
			s.send = func(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				d.Key = mine + d.Key
				return s.Sending.Send(ctx, d, content)
			}
		}),
		fails: []string{"sender/session-keys"},
	},
	{
		name: "anybody may send in a session",
		tell: func(l *liar) {
			l.openSending = func(ctx context.Context, c backends.Credential) (backends.Sending, error) {
				c.Kind = backends.CredentialImpersonation
				return l.Store.OpenSending(ctx, c)
			}
		},
		fails: []string{"sender/session-wrong-password"},
	},
	{
		name:  "a session that was closed goes on",
		tell:  inSession(func(_ *liar, s *liarSending) { s.close = func() error { return nil } }),
		fails: []string{"sender/session-closed"},
	},
}
