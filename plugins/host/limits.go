package host

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// errFull is the failure of an Open when the plugin has as many maildrops open as it says that
// it takes: [SYS/TEMP] for the client.
func (g *generation) errFull() error {
	return backends.Fail(backends.Throttled, "store %q has %d maildrops open, and its plugin takes no more", g.spec.Store, g.desc.Limits.Maildrops).
		Say("too many mailboxes are open, try again later")
}

// admit counts a maildrop in, if the plugin's limit allows it. The limit is of one process.
func (g *generation) admit() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if most := g.desc.Limits.Maildrops; most > 0 && g.maildrops >= most {
		return false
	}
	g.maildrops++
	return true
}

// dismiss counts a maildrop out.
func (g *generation) dismiss() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.maildrops--
}

const (
	// pauseMost bounds how long a plugin's word keeps somebody from being asked for.
	pauseMost = time.Hour
	// pausesMost bounds how many are remembered; beyond it the store is asked again, and says so
	// again.
	pausesMost = 10_000
	// waitMost is how long a request of a maildrop waits for a pause to be over, rather than fail.
	waitMost = 10 * time.Second
)

// pauses remembers whom a store wants not to be asked about for a time ([Failure.RetryAfter]).
// What is asked meanwhile is answered with the same failure.
type pauses struct {
	mu    sync.Mutex
	all   map[string]pause
	swept time.Time
}

type pause struct {
	until   time.Time
	failure *backends.Failure
}

// pausing says whether a failure asks for a pause: it is one of the kinds that pass, and not
// about a maildrop that somebody may close this moment.
func pausing(f *backends.Failure) bool {
	if f == nil || f.RetryAfter <= 0 {
		return false
	}
	switch f.Kind {
	case backends.Temporary, backends.Throttled, backends.OverQuota:
		return true
	}
	return false
}

// note remembers the pause that an error asks for, if it does.
func (p *pauses) note(key string, err error) {
	if err == nil || key == "" {
		return
	}
	f := backends.AsFailure(err)
	if !pausing(f) {
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[string]pause)
	}
	if len(p.all) >= pausesMost && now.Sub(p.swept) >= time.Second {
		p.swept = now
		p.sweep(now)
	}
	if len(p.all) < pausesMost {
		p.all[key] = pause{until: now.Add(min(f.RetryAfter, pauseMost)), failure: f}
	}
}

// sweep forgets what is over. p.mu is held.
func (p *pauses) sweep(now time.Time) {
	for key, pause := range p.all {
		if !now.Before(pause.until) {
			delete(p.all, key)
		}
	}
}

// of is the failure to answer with; nil: the store may be asked.
func (p *pauses) of(key string) *backends.Failure {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause, is := p.all[key]
	if !is {
		return nil
	}
	left := time.Until(pause.until)
	if left <= 0 {
		delete(p.all, key)
		return nil
	}
	failure := *pause.failure
	failure.RetryAfter = left
	return &failure
}

func (p *pauses) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = nil
}

// loginKey is whose login is paused: a name at an address. What one client has spent by guessing
// is no other's. Empty: the credential alone says whose it is, and nothing is remembered of it.
func loginKey(c backends.Credential) string {
	if c.User == "" && c.ActAs == "" {
		return ""
	}
	return strings.Join([]string{"login", hostOf(c.Peer), c.User, c.ActAs}, "\x00")
}

func hostOf(p backends.Peer) string {
	host, _, err := net.SplitHostPort(p.Address)
	if err != nil {
		return p.Address
	}
	return host
}

// resolveKey is for a question about recipients: a sender, at an address. What one sender is told
// says nothing of another's mail.
func resolveKey(q backends.ResolveQuery) string {
	return strings.Join([]string{"resolve", hostOf(q.Peer), q.From, ""}, "\x00")
}

// deliveryKey is for one message.
func deliveryKey(d backends.Delivery) string { return "delivery\x00" + d.Key + "\x00" }

// sessionKey is for what a maildrop's store is not to be asked at all.
const sessionKey = "session"

// messageKey is for one message of a maildrop.
func messageKey(id backends.MessageID) string { return "message\x00" + string(id) }

// patiently asks for something in a session that the store may have paused. A short pause is
// waited for, and what failed with one is asked for once more. A store that is throttled is so for
// the whole session; any other failure says nothing of other messages (I8).
func (m *maildrop) patiently(ctx context.Context, key string, ask func() error) error {
	if err := m.awaitPauses(ctx, key); err != nil {
		return err
	}
	err := ask()
	if !m.pauses(key, err) || m.awaitPauses(ctx, key) != nil {
		return err
	}
	err = ask()
	m.pauses(key, err)
	return err
}

// pauses remembers the pause that an error asks for, and says whether it does.
func (m *maildrop) pauses(key string, err error) bool {
	f := backends.AsFailure(err)
	if !pausing(f) {
		return false
	}
	if f.Kind == backends.Throttled {
		key = sessionKey
	}
	m.paused.note(key, err)
	return true
}

// awaitPauses waits for short pauses to be over; a long one is an error.
func (m *maildrop) awaitPauses(ctx context.Context, key string) error {
	for _, key := range []string{sessionKey, key} {
		if failure := m.paused.of(key); failure != nil {
			if err := m.awaitPause(ctx, failure); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *maildrop) awaitPause(ctx context.Context, failure *backends.Failure) error {
	if failure.RetryAfter > waitMost {
		return failure
	}
	wait := time.NewTimer(failure.RetryAfter)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-m.g.life.Done():
		return m.g.death()
	case <-ctx.Done():
		return backends.AsFailure(ctx.Err())
	}
}

// splitPaused parts recipients into those that the store may be asked about and the verdicts on
// the others. The key says what for.
func (s *Store) splitPaused(key string, recipients []backends.Recipient) (ask []backends.Recipient, paused map[string]*backends.Failure) {
	for _, r := range recipients {
		failure := s.paused.of(key + r.Address)
		if failure == nil {
			ask = append(ask, r)
			continue
		}
		if paused == nil {
			paused = make(map[string]*backends.Failure)
		}
		paused[r.Address] = failure
	}
	return ask, paused
}

// joinPaused puts the verdicts on all recipients in their order, and remembers the pauses that
// the store's ask for.
func (s *Store) joinPaused(key string, recipients []backends.Recipient, verdicts []backends.Verdict, paused map[string]*backends.Failure) []backends.Verdict {
	for _, v := range verdicts {
		if v.Failure != nil {
			s.paused.note(key+v.Recipient, v.Failure)
		}
	}
	if len(paused) == 0 {
		return verdicts
	}
	all := make([]backends.Verdict, 0, len(recipients))
	for _, r := range recipients {
		if failure := paused[r.Address]; failure != nil {
			all = append(all, backends.Verdict{Recipient: r.Address, Failure: failure})
			continue
		}
		all, verdicts = append(all, verdicts[0]), verdicts[1:]
	}
	return all
}
