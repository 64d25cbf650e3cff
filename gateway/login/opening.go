package login

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// openMost bounds a login at the store for which many devices wait.
const openMost = time.Minute

// Open asks the store whose account the login opens, unless that is known: the store has said so already, or it has said so
// of another login of a device for this account a short while ago (Policy.Remember). Devices that come at the same time share
// one login at the store. The account belongs to others, too, and is not changed.
func (e Entry) Open(ctx context.Context) (backends.Account, error) {
	switch {
	case e.Account != nil:
		return *e.Account, nil
	case e.open != nil:
		return e.open(ctx)
	}
	return e.Store.Login(ctx, e.Credential)
}

// opener is how the account of an application password is opened; nil: by a login at the store.
func (a *Authenticator) opener(p *AppPassword, store *stores.Store, c backends.Credential) func(context.Context) (backends.Account, error) {
	if p.Device == "" {
		return nil
	}
	return func(ctx context.Context) (backends.Account, error) { return a.openShared(ctx, store, c) }
}

// openShared is a login with the gateway's word, of which one is under way at a time. A failure is for all who wait, and is not
// remembered. What the store says before it tells of a change is for those alone who came before that.
func (a *Authenticator) openShared(ctx context.Context, store *stores.Store, c backends.Credential) (backends.Account, error) {
	key, era := store.Name+" "+c.User+"\x00"+c.ActAs, a.memory.era(store.Name)
	if account, ok := a.memory.opens(key, era); ok {
		return account, nil
	}
	answered := a.opening.DoChan(fmt.Sprintf("%d %s", era, key), func() (opened any, err error) {
		defer func() { // nobody else recovers in the goroutine that this is
			if cause := recover(); cause != nil {
				a.log.Error().Interface("panic", cause).Bytes("stack", debug.Stack()).Msg("a store's code panicked")
				opened, err = backends.Account{}, backends.Fail(backends.Temporary, "panic: %v", cause)
			}
		}()
		if account, ok := a.memory.opens(key, era); ok { // somebody was faster
			return account, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openMost) // whoever has begun it may leave
		defer cancel()
		account, err := store.Login(ctx, c)
		if err == nil {
			account.Grant = nil // it is good once
			a.memory.rememberOpened(key, account, a.policy.Load().Remember, era)
		}
		return account, err
	})
	select {
	case r := <-answered:
		return r.Val.(backends.Account), r.Err
	case <-ctx.Done():
		return backends.Account{}, backends.AsFailure(context.Cause(ctx))
	}
}

// opened is what a store has said of the account that devices work for.
type opened struct {
	account backends.Account
	until   time.Time
	era     uint64
}

// opens gives the account that a store has opened for a device a short while ago, in this era.
func (m *memory) opens(key string, era uint64) (backends.Account, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.opened.get(key)
	return o.account, ok && o.era == era && m.now().Before(o.until)
}

// rememberOpened notes the account that a store has opened for a device, for a while, and no longer than the store says
// that this is good. It is of no use once the era is over in which the store was asked.
func (m *memory) rememberOpened(key string, account backends.Account, life time.Duration, era uint64) {
	if life <= 0 {
		return
	}
	until := m.now().Add(life)
	if !account.PasswordExpires.IsZero() && account.PasswordExpires.Before(until) {
		until = account.PasswordExpires
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opened.put(key, opened{account, until, era})
}
