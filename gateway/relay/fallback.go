package relay

import (
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// unreached says of why no connection has come about whether it is that no server could be reached. TLS that fails, a token that cannot
// be had, a login that is refused, and a server that throttles are not that: another way would not put them right.
func unreached(v verdict) bool {
	_, secure := errors.AsType[*smtpclient.TLSError](v.cause)
	_, token := errors.AsType[*oauth.Error](v.cause)
	return v.action == backends.ActionDelayed && !v.uncertain && !v.stops && !v.overDay && v.until.IsZero() &&
		v.reply/100 != 5 && v.code != codeLogin && !secure && !token
}

// fallingBack is what mail waits for instead of a destination that could not be reached.
type fallingBack struct {
	FallBack
	confidential bool // it may carry what asks for REQUIRETLS
}

// fallsBack is the other destination of mail that waits for this one; nil: there is none, or this one was reached.
func (d *destination) fallsBack(v verdict) *fallingBack {
	if !v.unreached || d.route.FallBack.Destination == "" {
		return nil
	}
	route, err := d.r.Routes.Route(d.route.FallBack.Destination)
	if err != nil {
		d.r.Log.Error().Err(err).Str("destination", d.name).Str("fall_back", d.route.FallBack.Destination).Msg("nothing leads to the fall-back: mail waits on")
		return nil
	}
	return &fallingBack{d.route.FallBack, d.r.confidential(route)}
}

// of says whether a message falls back now; nil: it waits on.
func (f *fallingBack) of(c Claimed, now time.Time) *FallBack {
	switch {
	case f == nil, now.Before(c.Received.Add(f.After)), c.Envelope.RequireTLS && !f.confidential, f.SizeMost > 0 && c.Size > f.SizeMost:
		return nil
	}
	return &f.FallBack
}
