package storetest

import (
	"context"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

var sendRightsCases = []testcase{
	{"own-addresses", []need{sendRights, password}, func(t *trial) {
		account := t.login(t.first())
		for _, address := range append([]string{account.Address}, account.Addresses...) {
			if address == "" || strings.HasPrefix(address, "@") {
				continue
			}
			for _, spelt := range []string{address, strings.TrimSuffix(address, domainOf(address)) + strings.ToUpper(domainOf(address))} {
				if right := t.maySend(account.ID, spelt); right != backends.SendAs {
					t.Errorf("the account %q has the address %q, and may send as %q: %v", account.ID, address, spelt, right)
				}
			}
		}
	}},
	{"nobody's", []need{sendRights, password}, func(t *trial) {
		account := t.login(t.first())
		for _, address := range []string{"storetest-no-such-user@storetest.invalid", "storetest-no-such-user@" + domainOf(t.Address)} {
			if right := t.maySend(account.ID, address); right != backends.SendNo {
				t.Errorf("the account %q may send as %q, which is nobody's: %v", account.ID, address, right)
			}
		}
	}},
	{"unknown-account", []need{sendRights}, func(t *trial) {
		for _, id := range []string{"storetest-no-such-account", ""} {
			if right := t.maySend(id, t.Address); right != backends.SendNo {
				t.Errorf("the account %q, which there is not, may send as %q: %v", id, t.Address, right)
			}
		}
	}},
	{"cancelled", []need{sendRights}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("MaySend whose context has ended", func() {
			_, _ = t.store.(backends.SendRights).MaySend(ctx, backends.MaySendQuery{Account: "storetest-no-such-account", Address: t.Address})
		})
	}},
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

func (t *trial) maySend(account, address string) backends.SendRight {
	right, err := t.store.(backends.SendRights).MaySend(t.ctx, backends.MaySendQuery{Account: account, Address: address})
	if err != nil {
		t.Fatalf("MaySend of the account %q as %q: %w", account, address, err)
	}
	return right
}
