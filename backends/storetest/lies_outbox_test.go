package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
)

var outboxLies = []lie{
	{
		name:  "outgoing mail has no end",
		tell:  outgoing(func(_ *backends.Outgoing, data []byte) []byte { return data[:len(data)-5] }),
		fails: []string{"outbox/collect", "outbox/waits"},
	},
	{
		name:  "outgoing mail says another size",
		tell:  outgoing(func(e *backends.Outgoing, data []byte) []byte { e.Size--; return data }),
		fails: []string{"outbox/collect"},
	},
	{
		name:  "outgoing mail comes from nobody",
		tell:  outgoing(func(e *backends.Outgoing, data []byte) []byte { e.From = ""; return data }),
		fails: []string{"outbox/collect"},
	},
	{
		name: "an empty outbox waits for mail",
		tell: func(l *liar) {
			var empty atomic.Int64 // in a row
			l.collect = func(ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
				empty.Add(1)
				err := l.Store.Collect(ctx, r, func(ctx context.Context, e backends.Outgoing, c backends.Content) error {
					empty.Store(0)
					return accept(ctx, e, c)
				})
				if empty.Load() >= 2 {
					select {
					case <-ctx.Done():
					case <-time.After(8 * time.Second):
					}
				}
				return err
			}
		},
		fails: []string{"outbox/empty", "outbox/waits-no-longer"},
	},
	{
		name: "waiting does not end with what comes",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			if err := once(l, ctx, r, accept); err != nil || r.Wait == 0 {
				return err
			}
			return l.Store.Collect(ctx, r, accept) // waits for more
		}),
		fails: []string{"outbox/waits"},
	},
	{
		name: "waiting has no end",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			if r.Wait > 0 {
				r.Wait = backends.CollectWaitMost
			}
			return once(l, ctx, r, accept)
		}),
		fails: []string{"outbox/waits-no-longer"},
	},
	{
		name: "a lease is forgotten",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			r.Lease = 1
			defer time.Sleep(time.Microsecond)
			return once(l, ctx, r, accept)
		}),
		fails: []string{"outbox/leased", "outbox/most"},
		wide:  true,
	},
	{
		name: "a lease lasts for ever",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			r.Lease = time.Hour
			return l.Store.Collect(ctx, r, accept)
		}),
		fails: []string{"outbox/lease-runs-out", "outbox/settled-in-part"},
	},
	{
		name: "more than was asked for",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			r.Most = 0
			return l.Store.Collect(ctx, r, accept)
		}),
		fails: []string{"outbox/most"},
	},
	{
		name: "a message that was not accepted is gone",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			var refused error
			err := l.Store.Collect(ctx, r, func(ctx context.Context, e backends.Outgoing, c backends.Content) error {
				refused = errors.Join(refused, accept(ctx, e, c))
				return nil
			})
			return errors.Join(err, refused)
		}),
		fails: []string{"outbox/not-accepted"},
	},
	{
		name: "what accept says is not passed on",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			_ = l.Store.Collect(ctx, r, accept)
			return nil
		}),
		fails: []string{"outbox/not-accepted"},
	},
	{
		name: "nothing is ever settled",
		tell: func(l *liar) {
			l.settle = func(context.Context, []backends.Settlement) error { return nil }
		},
		fails: []string{"outbox/settled", "outbox/settled-in-part"},
	},
	{
		name: "one verdict settles all",
		tell: func(l *liar) {
			l.settle = func(ctx context.Context, all []backends.Settlement) error {
				for i := range all {
					for _, r := range []string{"carl@elsewhere.example", "dora@elsewhere.example"} {
						all[i].Verdicts = append(all[i].Verdicts, backends.Verdict{Recipient: r})
					}
				}
				return l.Store.Settle(ctx, all)
			}
		},
		fails: []string{"outbox/settled-in-part"},
	},
	{
		name: "what was settled in part comes again for everybody",
		tell: outgoing(func(e *backends.Outgoing, data []byte) []byte {
			e.Recipients = backends.To("carl@elsewhere.example", "dora@elsewhere.example")
			return data
		}),
		fails: []string{"outbox/settled-in-part"},
	},
	{
		name: "settling once more fails",
		tell: func(l *liar) {
			var mu sync.Mutex
			seen := make(map[backends.MessageID]int)
			l.settle = func(ctx context.Context, all []backends.Settlement) error {
				mu.Lock()
				defer mu.Unlock()
				for _, s := range all {
					seen[s.ID] += len(s.Verdicts)
					if seen[s.ID] == 3 && len(s.Verdicts) == 1 {
						return backends.Fail(backends.NotFound, "no such message")
					}
				}
				return l.Store.Settle(ctx, all)
			}
		},
		fails: []string{"outbox/settled"},
	},
	{
		name: "two collectors get the same",
		tell: func(l *liar) {
			var mu sync.Mutex
			var last []func(context.Context, acceptFunc) error
			busy := 0
			l.collect = func(ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
				mu.Lock()
				busy++
				mu.Unlock()
				_ = sleep(ctx) // time for another to come
				mu.Lock()
				defer mu.Unlock()
				defer func() { busy-- }()
				if busy == 1 && len(last) > 0 {
					for _, again := range last {
						if err := again(ctx, accept); err != nil {
							return err
						}
					}
					last = nil
					return nil
				}
				last = nil
				both := busy == 2
				if !both {
					return l.Store.Collect(ctx, r, accept)
				}
				return l.Store.Collect(ctx, r, func(ctx context.Context, e backends.Outgoing, c backends.Content) error {
					data, err := io.ReadAll(c)
					if err != nil {
						return err
					}
					give := func(ctx context.Context, accept acceptFunc) error {
						return accept(ctx, e, plain{bytes.NewReader(data)})
					}
					last = append(last, give)
					return give(ctx, accept)
				})
			}
		},
		fails: []string{"outbox/two-collectors"},
	},
	{
		name: "Collect ignores its context",
		tell: collecting(func(l *liar, ctx context.Context, r backends.CollectRequest, accept acceptFunc) error {
			err := l.Store.Collect(ctx, r, accept)
			_ = deafTo(ctx)
			return err
		}),
		fails: []string{"outbox/cancelled"},
	},
	{
		name: "a SASL exchange gives somebody else",
		tell: authenticating(func(_ context.Context, _, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
			if a != nil {
				a.ID = "somebody"
			}
			return challenge, a, err
		}),
		fails: []string{"authenticator/right", "authenticator/grant-opens-once"},
	},
	{
		name: "a wrong SASL proof is an outage",
		tell: authenticating(func(_ context.Context, _, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
			if err != nil {
				err = backends.Fail(backends.Temporary, "no")
			}
			return challenge, a, err
		}),
		fails: []string{"authenticator/wrong-password"},
	},
	{
		name: "an unknown mechanism is a wrong password",
		tell: func(l *liar) {
			l.authenticate = func(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
				e, err := l.Store.Authenticate(ctx, mechanism, p)
				if err != nil && ctx.Err() == nil {
					err = backends.Fail(backends.BadCredentials, "no")
				}
				return e, err
			}
		},
		fails: []string{"authenticator/unknown-mechanism"},
	},
	{
		name: "garbage is let in",
		tell: authenticating(func(_ context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
			if string(response) == "a" {
				return nil, &backends.Account{ID: "anna"}, nil
			}
			return challenge, a, err
		}),
		fails: []string{"authenticator/garbage"},
	},
	{
		name: "an exchange has no end",
		tell: authenticating(func(_ context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
			if a != nil {
				return []byte("more"), nil, nil
			}
			return challenge, a, err
		}),
		fails: []string{"authenticator/right", "authenticator/two-at-once"},
	},
	{
		name: "exchanges that are given up are not given back",
		tell: func(l *liar) {
			free := make(chan struct{}, 15)
			l.authenticate = func(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
				select {
				case free <- struct{}{}:
				default:
					return nil, backends.Fail(backends.Temporary, "too many exchanges")
				}
				e, err := l.Store.Authenticate(ctx, mechanism, p)
				if err != nil {
					<-free
					return nil, err
				}
				var once sync.Once
				return &liarExchange{Exchange: e, change: func(_ context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
					if a != nil || err != nil {
						once.Do(func() { <-free })
					}
					return challenge, a, err
				}}, nil
			}
		},
		fails: []string{"authenticator/given-up", "authenticator/two-at-once"},
	},
	{
		name: "exchanges at once are mixed up",
		tell: func(l *liar) {
			var mu sync.Mutex
			busy := 0
			l.authenticate = func(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
				e, err := l.Store.Authenticate(ctx, mechanism, p)
				if err != nil {
					return nil, err
				}
				return &liarExchange{Exchange: e, change: func(ctx context.Context, response, challenge []byte, a *backends.Account, err error) ([]byte, *backends.Account, error) {
					mu.Lock()
					busy++
					mu.Unlock()
					if ctx.Err() == nil {
						_ = sleep(ctx)
					}
					mu.Lock()
					defer mu.Unlock()
					defer func() { busy-- }()
					if busy > 1 {
						return nil, nil, backends.Fail(backends.BadCredentials, "mixed up")
					}
					return challenge, a, err
				}}, nil
			}
		},
		fails: []string{"authenticator/two-at-once"},
	},
	{
		name: "a grant opens for ever",
		tell: func(l *liar) {
			l.openFirst = func(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
				if r.Credential.Kind == backends.CredentialGrant {
					r.Credential.Kind = backends.CredentialImpersonation
				}
				return l.Store.Open(ctx, r)
			}
		},
		fails: []string{"authenticator/grant-opens-once"},
	},
	{
		name: "a cancelled exchange is a wrong password",
		tell: func(l *liar) {
			l.authenticate = func(ctx context.Context, mechanism string, p backends.Peer) (sasl.Exchange[backends.Account], error) {
				e, err := l.Store.Authenticate(ctx, mechanism, p)
				if ctx.Err() != nil {
					err = backends.Fail(backends.BadCredentials, "no")
				}
				return e, err
			}
		},
		fails: []string{"authenticator/cancelled"},
	},
}
