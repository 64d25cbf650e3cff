package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Options are what a [Collector] is made of. All but those with a default in brackets are needed.
type Options struct {
	Log   zerolog.Logger
	DB    *state.DB
	Locks folder.Locks
	// Table is the stores as they are now.
	Table func() *stores.Table
	// Buffers is where messages are kept on their way.
	Buffers func() buffer.Options
	// Hostname is the gateway's name, and Hops how many servers a message may have passed.
	Hostname func() string
	Hops     func() int
	// Opening opens TNEF for some recipients [for none].
	Opening func() *receivers.Opening
	// OpenIMAP opens an IMAP account's folder, of the account as it is given.
	OpenIMAP func(ctx context.Context, account *Account) (Opened, error)
	// Parallel is how many accounts are collected at a time.
	Parallel func() int
	// Observe is told when a run has ended, with its counts and the kind of its failure, if any [nobody is].
	Observe func(account string, run Counts, failure string)
	Now     func() time.Time // [time.Now]
}

// Collector collects. It is made with [New].
type Collector struct {
	Options
	ledger   ledger
	verifier argon2id.Verifier

	base context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	at      map[string]*keeper
	running int
	turn    chan struct{} // closed when a run ends, for those who wait for their turn
}

// keeper has one account collected.
type keeper struct {
	*Collector
	account *Account
	end     context.CancelFunc
	done    chan struct{}
	wake    chan struct{} // somebody wants a run now
	began   time.Time
}

// New makes a collector that has nothing to do yet.
func New(o Options) *Collector {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Opening == nil {
		o.Opening = func() *receivers.Opening { return nil }
	}
	if o.Observe == nil {
		o.Observe = func(string, Counts, string) {}
	}
	c := &Collector{Options: o, ledger: ledger{db: o.DB, now: o.Now}, verifier: argon2id.NewVerifier(1), at: make(map[string]*keeper), turn: make(chan struct{})}
	c.base, c.end = context.WithCancel(context.Background())
	return c
}

func (c *Collector) now() time.Time { return c.Now() }

// Use has these accounts collected, and no others any more. One whose settings are others is begun anew. It returns at once.
func (c *Collector) Use(accounts []*Account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	wanted := make(map[string]*Account, len(accounts))
	for _, a := range accounts {
		wanted[a.Name] = a
	}
	var before []*keeper
	for name, k := range c.at {
		if a := wanted[name]; a == nil || a.Settings != k.account.Settings {
			k.end()
			delete(c.at, name)
			before = append(before, k)
		}
	}
	for name, a := range wanted {
		if c.at[name] == nil {
			i := slices.IndexFunc(before, func(k *keeper) bool { return k.account.Name == name })
			var old *keeper
			if i >= 0 {
				old = before[i]
			}
			c.start(a, old)
		}
	}
}

func (c *Collector) start(a *Account, old *keeper) {
	ctx, end := context.WithCancel(c.base)
	k := &keeper{Collector: c, account: a, end: end, done: make(chan struct{}), wake: make(chan struct{}, 1), began: c.now()}
	c.at[a.Name] = k
	c.work.Go(func() {
		defer close(k.done)
		defer end()
		if old != nil {
			<-old.done
		}
		k.keep(ctx, old != nil)
	})
}

// Close ends it: what is on its way to recipients is tried again under its key by the next one.
func (c *Collector) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.work.Wait()
}

// Tasks are what has to be cleaned up.
func (c *Collector) Tasks() []state.Task { return c.ledger.tasks() }

// ErrUnknown says that there is no such account.
var ErrUnknown = errors.New("there is no such account to collect")

// Start has accounts collected now, whatever their schedule and back-off say, with the messages that are set aside; none: all. It gives what [Status.Ended] will be
// at the least when that is done.
func (c *Collector) Start(ctx context.Context, names []string) (until map[string]int64, err error) {
	c.mu.Lock()
	var all []*keeper
	for name, k := range c.at {
		if len(names) == 0 || slices.Contains(names, name) {
			all = append(all, k)
		}
	}
	c.mu.Unlock()
	for _, name := range names {
		if !slices.ContainsFunc(all, func(k *keeper) bool { return k.account.Name == name }) {
			return nil, fmt.Errorf("%q: %w", name, ErrUnknown)
		}
	}
	until = make(map[string]int64)
	for _, k := range all {
		s, err := c.ledger.status(ctx, k.account.Name)
		if err != nil {
			return nil, err
		}
		until[k.account.Name] = s.Runs + 1
		select {
		case k.wake <- struct{}{}:
		default: // somebody has asked already
		}
	}
	return until, nil
}

// All are the accounts' states, by name.
func (c *Collector) All(ctx context.Context) (all []Status, err error) {
	c.mu.Lock()
	var names []string
	for name := range c.at {
		names = append(names, name)
	}
	c.mu.Unlock()
	slices.Sort(names)
	return Statuses(ctx, c.DB, names)
}

// Statuses are what a state knows of accounts.
func Statuses(ctx context.Context, db *state.DB, names []string) (all []Status, err error) {
	l := ledger{db: db, now: time.Now}
	for _, name := range names {
		s, err := l.status(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// SetAside is a message that waits at its source.
type SetAside struct {
	ID     string    `json:"id"`
	Size   int64     `json:"size"`
	First  time.Time `json:"first"`
	Tries  int64     `json:"tries"`
	Again  time.Time `json:"again"`
	Reason string    `json:"reason"`
}

// AsideMost bounds what [Aside] gives.
const AsideMost = 100

// Aside are the messages of an account that are set aside, at the most [AsideMost].
func Aside(ctx context.Context, db *state.DB, account string) (all []SetAside, err error) {
	l := ledger{db: db, now: time.Now}
	found, err := l.aside(ctx, account, AsideMost)
	for _, e := range found {
		all = append(all, SetAside{ID: backends.SafeText(e.id), Size: e.size, First: e.first, Tries: e.tries, Again: e.due, Reason: e.reason})
	}
	return all, err
}

// lookEvery is how often a keeper whose database does not answer, or whose account another gateway has, looks again.
const lookEvery = time.Minute

// keep collects the account by its schedule until the context ends.
func (k *keeper) keep(ctx context.Context, changed bool) {
	log := k.Log.With().Str(events.Account, k.account.Name).Logger()
	first := true
	for ctx.Err() == nil {
		s, err := k.ledger.status(ctx, k.account.Name)
		wait := lookEvery
		if err != nil {
			log.Warn().Err(err).Msg("what is known of an account cannot be read: it is not collected now")
		} else {
			if first && s.Blocked {
				k.lift(ctx, &s, changed)
			}
			first = false
			wait = k.due(s).Sub(k.now())
		}
		asked := false
		if err != nil || wait > 0 {
			if asked = k.pause(ctx, wait); !asked {
				if ctx.Err() != nil {
					return
				}
				continue // another gateway may have collected it meanwhile
			}
		}
		k.once(ctx, log, asked)
	}
}

// pause waits, and says whether somebody wants a run before that.
func (k *keeper) pause(ctx context.Context, wait time.Duration) (asked bool) {
	timer := time.NewTimer(min(max(wait, 0), time.Hour)) // a clock may be set
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-k.wake:
		return true
	case <-timer.C:
		return false
	}
}

// due is when an account is collected next.
func (k *keeper) due(s Status) time.Time {
	if !s.Next.IsZero() && !s.Stopped.After(k.now()) { // otherwise the clock was set back
		return s.Next
	}
	after := s.Stopped
	if k.account.Schedule.Cron != "" && after.Before(k.began) {
		after = k.began // what the gateway has missed is not made up for
	}
	return k.account.Schedule.Next(after, k.now())
}

// lift ends a block where the settings are others than those that were refused.
func (k *keeper) lift(ctx context.Context, s *Status, changed bool) {
	if !changed {
		hash, err := argon2id.Parse(s.Secret)
		if err != nil {
			return
		}
		if same, err := k.verifier.Verify(ctx, hash, []byte(k.account.Settings)); same || err != nil {
			return
		}
	}
	s.Blocked, s.Next, s.Failures = false, time.Time{}, 0
	if err := k.ledger.tell(ctx, *s); err != nil {
		k.Log.Warn().Err(err).Str(events.Account, k.account.Name).Msg("that an account may be collected again cannot be written down")
	}
	s.Next = k.now()
}

// await waits for this account's turn among those that are collected at a time.
func (c *Collector) await(ctx context.Context) bool {
	for {
		c.mu.Lock()
		if c.running < max(c.Parallel(), 1) {
			c.running++
			c.mu.Unlock()
			return true
		}
		turn := c.turn
		c.mu.Unlock()
		select {
		case <-turn:
		case <-ctx.Done():
			return false
		}
	}
}

func (c *Collector) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	close(c.turn)
	c.turn = make(chan struct{})
}

// leaseOf is what an account is locked by. No store has an empty name.
func leaseOf(account string) folder.Key { return folder.Key{Account: account, Folder: "collect"} }

// once is one run.
func (k *keeper) once(ctx context.Context, log zerolog.Logger, asked bool) {
	if !k.await(ctx) {
		return
	}
	defer k.leave()
	name := k.account.Name
	lock, err := k.Locks.Acquire(ctx, leaseOf(name))
	if err != nil {
		if backends.KindOf(err) != backends.InUse && ctx.Err() == nil {
			log.Warn().Err(err).Msg("an account cannot be collected now")
		}
		k.pause(ctx, lookEvery/2) // another gateway collects it
		return
	}
	defer lock.Release()
	s, err := k.ledger.status(ctx, name)
	if err != nil {
		log.Warn().Err(err).Msg("what is known of an account cannot be read: it is not collected now")
		k.pause(ctx, lookEvery/2)
		return
	}
	if mailbox := k.account.mailbox(); s.Mailbox != mailbox {
		if s.Mailbox != "" {
			log.Info().Str("before", s.Mailbox).Str("mailbox", mailbox).Msg("the account is another mailbox now: what is in it is known by contents alone")
			err = k.ledger.leave(ctx, name)
		}
		s.Mailbox = mailbox
	}
	if err != nil {
		log.Warn().Err(err).Msg("an account is not collected, as nothing can be written down")
		k.pause(ctx, lookEvery/2)
		return
	}
	s.Running, s.Begun, s.Seen, s.Last = true, k.now(), k.now(), Counts{}
	s.Ended = s.Runs // one that was killed has ended
	s.Runs++
	if err := k.ledger.tell(ctx, s); err != nil {
		log.Warn().Err(err).Msg("an account is not collected, as nothing can be written down")
		k.pause(ctx, lookEvery/2)
		return
	}
	r := &run{Collector: k.Collector, account: k.account, log: log, lock: lock, status: &s, told: k.now(), logged: k.now(), asked: asked, tried: make(map[string]bool)}
	err = r.all(ctx)
	k.conclude(ctx, log, r, err)
}

// conclude writes down what came of a run.
func (k *keeper) conclude(ctx context.Context, log zerolog.Logger, r *run, err error) {
	s := r.status
	stopped := ctx.Err() != nil && errors.Is(err, context.Canceled)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopMost)
	defer cancel()
	s.Running, s.Stopped, s.Ended, s.Last = false, k.now(), s.Runs, r.count
	s.Total.add(r.count)
	kind := ""
	switch {
	case stopped:
		s.Stopped = time.Time{} // it goes on when the gateway does
	case err == nil:
		s.Failures, s.Kind, s.Reason, s.Next, s.Blocked, s.Secret, s.Well = 0, "", "", time.Time{}, false, "", k.now()
	default:
		s.Failures++
		kind = kindOf(err)
		var pause time.Duration
		pause, s.Blocked = backOff(err, s.Failures)
		s.Kind, s.Reason, s.Next, s.Secret = kind, backends.SafeText(err.Error()), k.now().Add(pause), ""
		if s.Blocked {
			s.Secret = argon2id.New([]byte(k.account.Settings)).String()
		}
		log.Error().Err(err).Str("kind", kind).Int("failures", s.Failures).Time("again", s.Next).Bool("blocked", s.Blocked).
			Msg(said(s.Blocked))
	}
	if e := k.ledger.tell(ctx, *s); e != nil {
		log.Warn().Err(e).Msg("what came of a run cannot be written down")
	}
	if err == nil {
		log.Info().Int64("read", r.count.Read).Int64("delivered", r.count.Delivered).Int64("fallback", r.count.Fallback).Int64("known", r.count.Known).
			Int64("aside", r.count.Aside).Int64("removed", r.count.Removed).Int64(events.Octets, r.count.Octets).Msg("the account was collected")
	}
	if !stopped {
		k.Observe(s.Account, r.count, kind)
	}
}

func said(blocked bool) string {
	if blocked {
		return "the account cannot be collected: it is left alone until its configuration changes, or for a day"
	}
	return "the account cannot be collected now"
}

// open begins a session with an account's server.
func (c *Collector) open(ctx context.Context, a *Account) (source, error) {
	if a.Protocol == POP3 {
		return openPOP3(ctx, a)
	}
	opened, err := c.OpenIMAP(ctx, a)
	if err != nil {
		return nil, ofStore(err)
	}
	return &dropSource{opened: opened}, nil
}
