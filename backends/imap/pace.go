package imap

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/pause"
)

// microsoftAppends is how many APPENDs a second to one mailbox are advised at Exchange Online (imapsync/imapsync#198, #272): it answers more
// of them with pauses of minutes.
const microsoftAppends = 4

// paces spaces the APPENDs to each mailbox, and lets a mailbox rest whose server wants that. The zero value spaces nothing.
type paces struct {
	perSecond int // 0: any number

	mu   sync.Mutex
	next map[string]time.Time // by mailbox: when the next one may begin
}

// pacesMost bounds the mailboxes that are remembered: those whose time is over are forgotten first.
const pacesMost = 4096

// appendsPerSecond is the bound that settings amount to; 0: none.
func (set *settings) appendsPerSecond() int {
	if set.Pool.Appends == 0 && set.OAuth.Provider == oauth.Microsoft {
		return microsoftAppends
	}
	return set.Pool.Appends
}

// wait waits for a mailbox's turn. Where that is too far away, the failure says when to come back.
func (p *paces) wait(ctx context.Context, mailbox string) error {
	wait := p.turn(mailbox, time.Now())
	switch {
	case wait > waitForPlace:
		return backends.Fail(backends.Throttled, "no APPEND to %s for now: the server has asked for a pause, or those of a second (connections.appends) are used up", mailbox).After(wait)
	case !pause.For(ctx, wait):
		return backends.Fail(backends.Temporary, "wait to append to %s: %w", mailbox, context.Cause(ctx))
	}
	return nil
}

// turn takes a mailbox's next turn, and says how far away it is. One that is too far away is not taken.
func (p *paces) turn(mailbox string, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room(now)
	at := now
	if next := p.next[mailbox]; next.After(now) {
		at = next
	}
	if wait = at.Sub(now); wait <= waitForPlace && p.perSecond > 0 {
		p.next[mailbox] = at.Add(time.Second / time.Duration(p.perSecond))
	}
	return wait
}

// answered notes what came of a command for a mailbox, whichever it was: a server that says when to come back gets no APPEND until then.
func (p *paces) answered(mailbox string, err error) {
	f, said := backends.AsFailure(err), (*imap.Error)(nil)
	if f == nil || f.Kind != backends.Throttled || f.RetryAfter <= 0 || !errors.As(err, &said) { // one of our own limits is no word of the server's
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room(time.Now())
	if until := time.Now().Add(f.RetryAfter); until.After(p.next[mailbox]) {
		p.next[mailbox] = until
	}
}

// room makes room for another mailbox. p.mu is held.
func (p *paces) room(now time.Time) {
	if p.next == nil {
		p.next = make(map[string]time.Time)
	}
	if len(p.next) >= pacesMost {
		p.forget(now)
	}
}

// forget makes room, for a quarter of the mailboxes, so that it is not to be done for each. p.mu is held.
func (p *paces) forget(now time.Time) {
	for mailbox, next := range p.next {
		if !next.After(now) {
			delete(p.next, mailbox)
		}
	}
	for mailbox := range p.next {
		if len(p.next) <= pacesMost*3/4 {
			return
		}
		delete(p.next, mailbox)
	}
}
