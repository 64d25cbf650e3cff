package storetest_test

import (
	"context"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// answering replaces a store's answers about senders.
func answering(f func(q backends.MaySendQuery, right backends.SendRight) backends.SendRight) func(*liar) {
	return func(l *liar) {
		l.maySend = func(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
			right, err := l.Store.MaySend(ctx, q)
			return f(q, right), err
		}
	}
}

var sendRightsLies = []lie{
	{
		name:  "an account may send as whatever it likes",
		tell:  answering(func(backends.MaySendQuery, backends.SendRight) backends.SendRight { return backends.SendAs }),
		fails: []string{"sendrights/nobody's", "sendrights/unknown-account"},
	},
	{
		name: "an account may send on behalf of its whole domain",
		tell: answering(func(q backends.MaySendQuery, right backends.SendRight) backends.SendRight {
			if right == backends.SendNo && strings.HasSuffix(q.Address, "@sakes.example") && q.Account == "anna" {
				return backends.SendOnBehalf
			}
			return right
		}),
		fails: []string{"sendrights/nobody's"},
	},
	{
		name: "the case of a domain decides who may send as it",
		tell: answering(func(q backends.MaySendQuery, right backends.SendRight) backends.SendRight {
			if q.Address != strings.ToLower(q.Address) {
				return backends.SendNo
			}
			return right
		}),
		fails: []string{"sendrights/own-addresses"},
	},
	{
		name: "whether an account may send is not told in time",
		tell: func(l *liar) {
			l.maySend = func(ctx context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
				right, err := l.Store.MaySend(context.WithoutCancel(ctx), q)
				if ctx.Err() != nil {
					_ = deafTo(ctx)
				}
				return right, err
			}
		},
		fails: []string{"sendrights/cancelled"},
	},
}
