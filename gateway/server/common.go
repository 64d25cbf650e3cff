package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/route"
)

// commonOf is what all mail that goes by a route needs, whichever mailbox it is from ([relay.Route.Common]); empty: mailboxes
// have nothing in common there.
func commonOf(r *route.Route) string {
	switch {
	case r.Kind == route.Transport:
		return "transport:" + r.Store
	case r.AsSender:
		return "route:" + r.Name
	}
	return ""
}

// down is for what all that leaves by a provider waits now. What no route has any more, nobody waits for.
func (g *Server) down() []relay.Down {
	r := g.relay.Load()
	if r == nil {
		return nil
	}
	has := make(map[string]bool)
	for _, one := range g.routes.Load().Routes() {
		has[commonOf(one)] = true
	}
	return slices.DeleteFunc(r.Down(), func(d relay.Down) bool { return !has[d.Common] })
}

// waitsTogether says that a destination waits with others, and until when; the zero value: it does not.
func (g *Server) waitsTogether(destination string) queue.Waits {
	r, _, ok := g.routes.Load().Of(destination)
	if !ok || commonOf(r) == "" {
		return queue.Waits{}
	}
	for _, d := range g.down() {
		switch {
		case d.Common != commonOf(r):
		case d.Until.After(time.Now()):
			return queue.Waits{Why: fmt.Sprintf("all that goes by %s waits until %s: %s", whose(d.Common), d.Until.Format(time.DateTime), g.discreetly(d)), Until: d.Until}
		default:
			return queue.Waits{Why: fmt.Sprintf("all that goes by %s waits for one message that tries now whether it works again: %s", whose(d.Common), g.discreetly(d))}
		}
	}
	return queue.Waits{}
}

// whose says what a relay.Route.Common is.
func whose(common string) string {
	kind, name, _ := strings.Cut(common, ":")
	if kind == "transport" {
		return "the transport of the store " + name
	}
	return "the route " + name
}

// commonConcerns are providers and transports by which nothing leaves.
func (g *Server) commonConcerns() (all []attention.Concern) {
	for _, d := range g.down() {
		all = append(all, attention.Concern{
			Key: "relay:" + d.Common, Kind: attention.Spool, Severity: attention.Critical, Since: d.Since,
			Text:   fmt.Sprintf("no mail leaves by %s: %s", whose(d.Common), g.discreetly(d)),
			Advice: "what waits is kept, and one message tries now and then; once it is put right, reload the gateway or run dipylon queue retry, and all of it leaves at once",
			Local:  true,
		})
	}
	return all
}

// discreetly is why nothing leaves, without what a store's settings have as secrets.
func (g *Server) discreetly(d relay.Down) string {
	kind, name, _ := strings.Cut(d.Common, ":")
	for _, s := range g.Snapshot().Stores {
		if kind == "transport" && s.Name == name && d.Cause != nil {
			return s.says(d.Cause)
		}
	}
	if d.Cause == nil {
		return cmp.Or(d.Code, "its server does not say why")
	}
	return d.Cause.Error()
}

// triedAgain has the next message of a provider, or of a store's transport, that fails for all try at once, as an administrator
// may have put it right.
func (g *Server) triedAgain() {
	if r := g.relay.Load(); r != nil {
		r.Again()
	}
}

// liftCommon ends the back-off of destinations that wait together, after a reload: a secret may have been renewed.
func (g *Server) liftCommon(ctx context.Context, down []relay.Down) {
	waits := make(map[string]bool)
	for _, d := range down {
		waits[d.Common] = true
	}
	if g.triedAgain(); len(waits) == 0 {
		return
	}
	routes := g.routes.Load()
	err := g.spool.LiftIf(ctx, time.Time{}, func(destination string) bool {
		r, _, ok := routes.Of(destination)
		return ok && waits[commonOf(r)]
	})
	if err != nil && ctx.Err() == nil {
		g.log.Error().Err(err).Msg("mail that waits for a provider or a store's transport is not tried at once after the reload: run dipylon queue retry")
	}
}
