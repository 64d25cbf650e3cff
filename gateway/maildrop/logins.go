package maildrop

import (
	"context"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/pop3"
)

// tooSoon refuses a login within the login delay with -ERR [LOGIN-DELAY] (RFC 2449 §6.5, §8.1.1). The
// credentials were right, so it does not count as a failed login. A refused login does not start the
// delay again, or a client that keeps trying would never be admitted.
func (o *Options) tooSoon(ctx context.Context, key folder.Key) error {
	if o.LoginDelay <= 0 {
		return nil
	}
	last, err := o.Openings.Last(ctx, key)
	if err != nil {
		return err
	}
	left := o.LoginDelay - o.Now().Sub(last)
	if last.IsZero() || left <= 0 {
		return nil
	}
	return &pop3.Error{
		Code: "LOGIN-DELAY", Text: "this mailbox was opened a short while ago, try again later",
		Err: backends.Fail(backends.InUse, "%s was opened %v ago", key.Account, o.LoginDelay-left).After(left),
	}
}

// opened notes a login that was admitted.
func (o *Options) opened(ctx context.Context, key folder.Key) error {
	if o.LoginDelay <= 0 {
		return nil
	}
	return o.Openings.Note(ctx, key, o.Now())
}
