package doctor

import (
	"context"
	"errors"

	"github.com/dipylon/dipylon/backends"
)

// meaning is what a kind of failure is called, and what to do about it.
type meaning struct{ cause, advice string }

// meanings of failures by their kind. What a store's detail says is more, and stands beside it.
var meanings = map[backends.Kind]meaning{
	backends.Temporary:       {"store-unavailable", "See what the store's server says; if it does not answer, look at its address in the settings, at the firewall between, and at whether it runs."},
	backends.Permanent:       {"refused", "The store refuses this for good: look at the rights of the account."},
	backends.BadCredentials:  {"wrong-credentials", "The name or the password is wrong, or the account is locked. Try them at the store's own server; mind that directories lock accounts after a few attempts."},
	backends.InUse:           {"in-use", "Another session has the mailbox open: wait until it has ended."},
	backends.NotFound:        {"not-found", "There is no such mailbox, folder or message: look at how it is written."},
	backends.OverQuota:       {"over-quota", "The mailbox is full."},
	backends.TooLarge:        {"too-large", "The message is larger than the store takes."},
	backends.Throttled:       {"busy", "The store has too much to do, or limits how much it is asked: see its limits, and the settings for connections."},
	backends.Unsupported:     {"unsupported", "The store, with these settings, cannot do this: see its page for what has to be set."},
	backends.Poison:          {"message-broken", "This message cannot be rendered: clients are shown a notice in its place, and dipylon quarantine lists it."},
	backends.Uncertain:       {"no-answer", "The server's answer was lost: look at the network between."},
	backends.AccountDisabled: {"account-disabled", "The account has to be enabled by its administrator."},
	backends.PasswordExpired: {"password-expired", "The password has to be changed at the store first."},
	backends.MailboxMoved:    {"mailbox-moved", "The mailbox is on another server: the settings have to lead there."},
}

// codes are the enhanced status codes that say more than the kind.
var codes = map[string]meaning{
	"4.7.5": {"tls-not-trusted", "The server's certificate is not trusted: give its authority (ca), its key (pin) or the name in it (tls_name), or renew it."},
	"4.4.1": {"no-connection", "The server cannot be reached: look at the address in the settings, at DNS, and at the firewall between."},
	"5.7.4": {"method-not-offered", "The server does not take logins this way: allow the method there, or choose another one in the settings."},
}

// Cause is what a failure is called for programs, and what to do about it.
func Cause(err error) (cause, advice string) {
	f := backends.AsFailure(err)
	m, ok := codes[f.Code]
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded):
		m = meaning{"no-answer", "The store has not answered in time: look at whether its server runs, and at the network between."}
	case errors.Is(err, errCut), errors.Is(err, errSize):
		m = meaning{"message-broken", "The backend breaks the contract: dipylon plugin test tells how."}
	default:
		m = meanings[f.Kind]
	}
	return m.cause, m.advice
}
