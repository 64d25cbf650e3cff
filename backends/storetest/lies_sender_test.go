package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

type sendFunc = func(context.Context, backends.Credential, backends.Delivery, io.Reader) ([]backends.Verdict, error)

func sending(change func(sendFunc) sendFunc) func(*liar) {
	return func(l *liar) { l.send = change(l.Store.Send) }
}

// collecting changes Collect.
func collecting(change func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error) func(*liar) {
	return func(l *liar) {
		l.collect = func(ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			return change(l, ctx, r, accept)
		}
	}
}

// outgoing changes what is handed over.
func outgoing(change func(*backends.Outgoing, []byte) []byte) func(*liar) {
	return collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
		return l.Store.Collect(ctx, r, func(ctx context.Context, e backends.Outgoing, c backends.Content) error {
			data, err := io.ReadAll(c)
			if err != nil {
				return err
			}
			data = change(&e, data)
			return accept(ctx, e, &liarContent{Content: c, data: bytes.NewReader(data)})
		})
	})
}

// authenticating changes what an exchange answers.
func authenticating(change func(ctx context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error)) func(*liar) {
	return func(l *liar) {
		l.authenticate = func(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
			e, err := l.Store.Authenticate(ctx, mechanism, p)
			if err != nil {
				return nil, err
			}
			return &liarExchange{Exchange: e, change: change}, nil
		}
	}
}

type liarExchange struct {
	sasl.Exchange[backends.Account]
	change func(ctx context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error)
}

func (e *liarExchange) Next(ctx context.Context, response []byte) ([]byte, *backends.Account, error) {
	challenge, a, err := e.Exchange.Next(ctx, response)
	return e.change(ctx, response, challenge, a, err)
}

var senderLies = []lie{
	{
		name: "a diagnostic has no type",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				verdicts, err := send(ctx, c, d, content)
				for i := range verdicts {
					verdicts[i].RemoteDiagnostic = "250 2.0.0 ok"
				}
				return verdicts, err
			}
		}),
		fails: []string{"sender/where-it-went"},
	},
	{
		name: "the verdicts of Send come in reverse",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				verdicts, err := send(ctx, c, d, content)
				if slices.Contains(backends.Addresses(d.Recipients), "anna@sakes.example") {
					slices.Reverse(verdicts)
				}
				return verdicts, err
			}
		}),
		fails: []string{
			"sender/retry-for-both", "sender/retry-for-both-over-batches", "sender/retry-for-the-deferred", "sender/retry-over-batches",
			"sender/to-both",
		},
	},
	{
		name: "anybody may send",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				c.Kind = backends.CredentialImpersonation
				return send(ctx, c, d, content)
			}
		}),
		fails: []string{"sender/wrong-password"},
	},
	{
		name: "half a message is sent",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, _ := io.ReadAll(content)
				return send(ctx, c, d, bytes.NewReader(data))
			}
		}),
		fails: []string{"sender/content-fails"},
	},
	{
		name: "a message is sent again",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				d.Key = unique()
				return send(ctx, c, d, content)
			}
		}),
		fails: []string{"sender/retry", "sender/retry-for-both", "sender/retry-for-both-over-batches"},
	},
	{
		name: "what was sent to one was sent to all",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if !d.Retry {
					return send(ctx, c, d, content)
				}
				verdicts := make([]backends.Verdict, len(d.Recipients))
				for i, r := range backends.Addresses(d.Recipients) {
					verdicts[i].Recipient = r
				}
				return verdicts, nil
			}
		}),
		fails: []string{"sender/retry-for-both", "sender/retry-for-both-over-batches", "sender/retry-for-the-deferred", "sender/retry-over-batches"},
	},
	{
		name: "a retry is sent to all of its recipients",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				if d.Retry && slices.Contains(backends.Addresses(d.Recipients), "bert@sakes.example") {
					d.Key = unique()
				}
				return send(ctx, c, d, content)
			}
		}),
		fails: []string{"sender/retry", "sender/retry-for-both"},
	},
	{
		name: "a cancelled message is sent",
		tell: sending(func(send sendFunc) sendFunc {
			return func(ctx context.Context, c backends.Credential, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
				data, err := io.ReadAll(content)
				if err != nil && ctx.Err() == nil {
					return nil, err
				}
				return send(context.WithoutCancel(ctx), c, d, bytes.NewReader(data))
			}
		}),
		fails: []string{"sender/cancelled"},
	},
}

// plain is a content that is always readable.
type plain struct{ *bytes.Reader }

func (plain) Close() error  { return nil }
func (p plain) Size() int64 { return p.Reader.Size() }

// once collects each message that is there once, however short its lease.
func once(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
	seen := make(map[backends.MessageID]bool)
	stop := errors.New("seen it")
	err := l.Store.Collect(ctx, r, func(ctx context.Context, e backends.Outgoing, c backends.Content) error {
		if seen[e.ID] {
			return stop
		}
		seen[e.ID] = true
		return accept(ctx, e, c)
	})
	if errors.Is(err, stop) {
		return nil
	}
	return err
}
