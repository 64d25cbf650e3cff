package asking

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/state"
)

// Options are what an [Asker] is made of. All but those with a default in brackets are needed.
type Options struct {
	Log   zerolog.Logger
	DB    *state.DB
	Locks folder.Locks
	// Observe is told that a server was asked, and whether that failed [nobody is].
	Observe func(server string, failed bool)
	Now     func() time.Time // [time.Now]
}

// Asker asks servers by their schedules. It is made with [New].
type Asker struct {
	o    Options
	base context.Context //nolint:containedctx // it is as long as the asker
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	closed bool
	at     map[string]*keeper
}

// keeper has one server asked.
type keeper struct {
	*Asker
	server Server
	end    context.CancelFunc
	began  time.Time
	// refused is how often in a row the login was refused to this gateway since it began.
	refused int
}

// New makes an asker that has nothing to do yet.
func New(o Options) *Asker {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observe == nil {
		o.Observe = func(string, bool) {}
	}
	a := &Asker{o: o, at: make(map[string]*keeper)}
	a.base, a.end = context.WithCancel(context.Background())
	return a
}

// Use has these servers asked, and no others any more. One whose settings are others is begun anew. It returns at once.
func (a *Asker) Use(servers []Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	before := a.at
	a.at = make(map[string]*keeper, len(servers))
	for _, s := range servers {
		if k := before[s.Name]; k != nil && k.server.Settings == s.Settings {
			a.at[s.Name] = k
			delete(before, s.Name)
			continue
		}
		ctx, end := context.WithCancel(a.base)
		k := &keeper{Asker: a, server: s, end: end, began: a.o.Now().Truncate(time.Microsecond)}
		a.at[s.Name] = k
		a.work.Go(func() { defer end(); k.keep(ctx) })
	}
	for _, k := range before {
		k.end()
	}
}

// Close ends it.
func (a *Asker) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end()
	a.work.Wait()
}

const (
	// lookEvery is how often a server is looked at again that cannot be asked now, or that another gateway asks.
	lookEvery = time.Minute
	// failedAgain is how long after a first failure a server is asked again, and failedMost how long at the most.
	failedAgain = time.Minute
	failedMost  = time.Hour
	// refusedMost is how often in a row a login may be refused before it is tried but once in refusedAgain: servers lock accounts.
	refusedMost  = 3
	refusedAgain = 24 * time.Hour
	// waitMost bounds a wait: clocks are set.
	waitMost = time.Hour
	// askMost is how long one server may take.
	askMost = 10 * time.Minute
)

// keep asks the server until the context ends.
func (k *keeper) keep(ctx context.Context) {
	for ctx.Err() == nil {
		s, err := statusOf(ctx, k.o.DB, k.server.Name)
		wait := lookEvery
		if err == nil {
			wait = k.due(s).Sub(k.o.Now())
		} else if ctx.Err() == nil {
			k.o.Log.Warn().Err(err).Str("server", k.server.Name).Msg("when a server was asked for mail cannot be read: it is not asked now")
		}
		if err != nil || wait > 0 {
			pause.For(ctx, min(max(wait, 0), waitMost))
			continue
		}
		if !k.once(ctx) {
			pause.For(ctx, lookEvery/2)
		}
	}
}

// due is when the server is asked next.
func (k *keeper) due(s Status) time.Time {
	now, after := k.o.Now(), s.Asked
	if k.server.Schedule.Cron != "" && after.Before(k.began) {
		after = k.began // what the gateway has missed is not made up for
	}
	next := k.server.Schedule.Next(after, now)
	switch {
	case s.Failures == 0 || s.Asked.After(now): // else the clock was set back
		return next
	case k.refused >= refusedMost:
		return s.Asked.Add(refusedAgain)
	case s.Asked.Before(k.began):
		return now // the settings that have failed may be others now
	}
	if again := s.Asked.Add(min(failedAgain<<min(s.Failures-1, 10), failedMost)); again.Before(next) {
		return again
	}
	return next
}

// once asks the server, unless another gateway does or has just done so; false: it was not asked.
func (k *keeper) once(ctx context.Context) bool {
	name := k.server.Name
	lock, err := k.o.Locks.Acquire(ctx, folder.Key{Account: name, Folder: "etrn"}) // no store has an empty name
	if err != nil {
		if backends.KindOf(err) != backends.InUse && ctx.Err() == nil {
			k.o.Log.Warn().Err(err).Str("server", name).Msg("a server cannot be asked for mail now")
		}
		return false
	}
	defer lock.Release()
	s, err := statusOf(ctx, k.o.DB, name)
	if err != nil {
		return false
	}
	if k.due(s).After(k.o.Now()) {
		return true // another one has asked meanwhile
	}
	asking, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	answers, err := Ask(asking, k.server)
	if ctx.Err() != nil {
		return false
	}
	k.tell(ctx, s, answers, err)
	return true
}

// tell writes down what came of a question.
func (k *keeper) tell(ctx context.Context, s Status, answers []Answer, err error) {
	s.Asked = k.o.Now()
	log := k.o.Log.Info()
	if s.Failures, s.Reason = s.Failures+1, ""; err == nil {
		s.Failures, s.Well, k.refused = 0, s.Asked, 0
	} else {
		k.refused++
		if refused, is := errors.AsType[*smtpclient.ReplyError](err); !is || refused.Command != "AUTH" || refused.Code < 500 {
			k.refused = 0
		}
		if k.refused == refusedMost {
			k.o.Log.Error().Str("server", k.server.Name).Msg("a server refuses the login: it is asked once a day from now on, as servers lock accounts, until its configuration changes")
		}
		s.Reason, log = backends.SafeText(err.Error()), k.o.Log.Error().Err(err).Int("failures", s.Failures)
	}
	for _, a := range answers {
		k.o.Log.Debug().Str("server", k.server.Name).Str("node", a.Node).Int("code", a.Code).Str("said", backends.SafeText(a.Said)).Msg("a server was asked for a node's mail")
	}
	log.Str("server", k.server.Name).Int("nodes", len(answers)).Msg("a server was asked for mail that it keeps (ETRN)")
	k.o.Observe(k.server.Name, err != nil)
	if err := s.put(ctx, k.o.DB); err != nil && ctx.Err() == nil {
		k.o.Log.Warn().Err(err).Str("server", k.server.Name).Msg("that a server was asked for mail cannot be written down: it is asked again")
		pause.For(ctx, lookEvery)
	}
}
