package storetest_test

import (
	"context"

	"github.com/dipylon/dipylon/backends"
)

var watcherLies = []lie{
	{
		name: "watching goes on when nobody wants to hear",
		tell: func(l *liar) {
			l.watch = func(_ context.Context, tell func(backends.Hint)) error {
				return l.Store.Watch(context.Background(), tell)
			}
		},
		fails: []string{"watcher/ends-with-its-context", "watcher/whose-mail"},
	},
	{
		name: "mail is told as somebody else's",
		tell: func(l *liar) {
			l.watch = func(ctx context.Context, tell func(backends.Hint)) error {
				tell(backends.Hint{Kind: backends.HintNewMail, Account: "somebody else"})
				return l.Store.Watch(ctx, tell)
			}
		},
		fails: []string{"watcher/whose-mail"},
	},
}
