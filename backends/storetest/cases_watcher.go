package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/backends"
)

var watcherCases = []testcase{
	{"ends-with-its-context", []need{watcher}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		ended := make(chan error, 1)
		go func() { ended <- t.store.(backends.Watcher).Watch(ctx, func(backends.Hint) {}) }()
		cancel()
		t.promptly("Watch, once nobody wants to hear any more", func() {
			if err := <-ended; err == nil {
				t.Errorf("Watch ends without saying why")
			}
		})
	}},
	{"whose-mail", []need{watcher, receiver, reader, password}, func(t *trial) {
		account := t.login(t.first())
		ctx, cancel := context.WithCancel(t.ctx)
		defer cancel()
		var mu sync.Mutex
		var told []string
		var watching sync.WaitGroup
		watching.Go(func() {
			_ = t.store.(backends.Watcher).Watch(ctx, func(h backends.Hint) {
				mu.Lock()
				defer mu.Unlock()
				if h.Kind == backends.HintNewMail && h.Account != "" {
					told = append(told, h.Account)
				}
			})
		})
		t.filled(t.first(), t.mails(3)...)
		cancel()
		t.promptly("Watch, once nobody wants to hear any more", watching.Wait)
		if i := slices.IndexFunc(told, func(id string) bool { return id != account.ID }); i >= 0 {
			t.Errorf("mail for the account %q is told as the account %q's", account.ID, told[i])
		}
	}},
}
