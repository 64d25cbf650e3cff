package attention

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Options are what a [Registry] is made of.
type Options struct {
	Log zerolog.Logger
	// Now is the time [time.Now].
	Now func() time.Time
	// Looked is told after each look, in the goroutine of Run; nil: nobody is.
	Looked func(ctx context.Context)
}

// Registry is the list. Its methods may be called from any goroutine.
type Registry struct {
	o Options

	look sync.Mutex // one look at a time

	mu      sync.Mutex
	sources map[string]func(context.Context) ([]Concern, error)
	listed  map[string][]Concern // by source, at the last look
	failing map[string]bool      // sources that could not be asked
	raised  map[string]Concern   // by key
	seen    map[string]seen      // what needs attention, by key
}

// seen is what is remembered of something that needs attention.
type seen struct {
	since, told time.Time // told: in the log
	severity    Severity
	kind        Kind
	text        string
}

const (
	// sourceMost is how many concerns of a source are kept, and raisedMost how many that were raised.
	sourceMost, raisedMost = 1000, 1000
	// sourceTime is how long a source has.
	sourceTime = 10 * time.Second
	// LookEvery is how often Run looks.
	LookEvery = time.Minute
	// tellEvery is how often the log has what lasts.
	tellEvery = day
)

// New makes an empty registry.
func New(o Options) *Registry {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Registry{
		o: o, sources: make(map[string]func(context.Context) ([]Concern, error)), listed: make(map[string][]Concern),
		failing: make(map[string]bool), raised: make(map[string]Concern), seen: make(map[string]seen),
	}
}

// Source registers who lists concerns, under a name, in the place of one that had it. It is asked each minute, once at a
// time and beside the others, and has some seconds; where it fails, what it listed last stays. nil: the source is gone, with what it listed.
func (r *Registry) Source(name string, list func(context.Context) ([]Concern, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if list == nil {
		delete(r.sources, name)
		delete(r.listed, name)
		return
	}
	r.sources[name] = list
}

// Raise adds a concern, or replaces the one with its key. It is known at once, and in the log with the next look.
func (r *Registry) Raise(c Concern) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, is := r.raised[c.Key]
	switch {
	case !is && len(r.raised) >= raisedMost:
		return // those that are there are enough to look at
	case c.Since.IsZero() && is:
		c.Since = old.Since
	case c.Since.IsZero():
		c.Since = r.o.Now()
	}
	c.tidy()
	r.raised[c.Key] = c
}

// Clear takes a concern away that was raised.
func (r *Registry) Clear(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.raised, key)
}

// Run looks now and then, until the context ends.
func (r *Registry) Run(ctx context.Context) {
	tick := time.NewTicker(LookEvery)
	defer tick.Stop()
	for {
		r.Look(ctx)
		if r.o.Looked != nil && ctx.Err() == nil {
			r.o.Looked(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look asks all sources, and logs what has changed.
func (r *Registry) Look(ctx context.Context) {
	r.look.Lock()
	defer r.look.Unlock()
	r.mu.Lock()
	sources := maps.Clone(r.sources)
	r.mu.Unlock()
	var asking sync.WaitGroup
	for name, list := range sources {
		asking.Go(func() { r.ask(ctx, name, list) })
	}
	asking.Wait()
	if ctx.Err() == nil {
		r.tell()
	}
}

// ask has one source list what it has.
func (r *Registry) ask(ctx context.Context, name string, list func(context.Context) ([]Concern, error)) {
	within, cancel := context.WithTimeout(ctx, sourceTime)
	defer cancel()
	found, err := list(within)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if !r.failing[name] {
			r.o.Log.Warn().Err(err).Str("source", name).Msg("a source of what needs attention cannot be asked, and what was known of it stays")
		}
		r.failing[name] = true
		return
	}
	delete(r.failing, name)
	if r.sources[name] == nil {
		return // it has gone meanwhile
	}
	r.listed[name] = bound(found, name, r.o.Now())
}

// bound keeps the worst concerns of many.
func bound(all []Concern, source string, now time.Time) []Concern {
	all = slices.Clone(all)
	for i := range all {
		all[i].tidy()
	}
	if len(all) <= sourceMost {
		return all
	}
	judged := slices.Clone(all)
	for i := range judged {
		judged[i].judge(now)
	}
	slices.SortFunc(judged, worstFirst)
	next := judged[sourceMost-1]
	more := Concern{
		Key: source + ":more", Kind: next.Kind, Severity: max(next.Severity, Notice),
		Text: fmt.Sprintf("%d more are not listed", len(all)-sourceMost+1), Advice: "look after those that are listed",
	}
	return append(judged[:sourceMost-1], more)
}

// all gives everything that is known, judged, the worst first. The lock is held.
func (r *Registry) all(now time.Time) (all []Concern) {
	by := make(map[string]bool)
	add := func(c Concern) {
		if by[c.Key] {
			return
		}
		by[c.Key] = true
		c.judge(now)
		if was, is := r.seen[c.Key]; is && (c.Since.IsZero() || was.since.Before(c.Since)) {
			c.Since = was.since // what happens again and again has not just begun
		}
		if c.Since.IsZero() {
			c.Since = now
		}
		all = append(all, c)
	}
	for _, c := range r.raised {
		add(c)
	}
	for _, name := range slices.Sorted(maps.Keys(r.listed)) {
		for _, c := range r.listed[name] {
			add(c)
		}
	}
	slices.SortFunc(all, worstFirst)
	return all
}

// Concerns are those that need attention, the worst first, as of the last look and what was raised since.
func (r *Registry) Concerns() []Concern {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all(r.o.Now())
	return slices.DeleteFunc(all, func(c Concern) bool { return c.Severity == Later })
}

// Ends are all things that end some day, what ends first in front.
func (r *Registry) Ends() []Concern {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.DeleteFunc(r.all(r.o.Now()), func(c Concern) bool { return c.Until.IsZero() })
	slices.SortStableFunc(all, func(a, b Concern) int { return a.Until.Compare(b.Until) })
	return all
}

// tell logs what needs attention and was not told, or not lately, and what is over.
func (r *Registry) tell() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.o.Now()
	there := make(map[string]bool)
	for _, c := range r.all(now) {
		if c.Severity == Later {
			continue
		}
		there[c.Key] = true
		was, known := r.seen[c.Key]
		if !known || c.Severity > was.severity || now.Sub(was.told) >= tellEvery || now.Before(was.told) {
			r.line(c, now)
			was.told = now
		}
		r.seen[c.Key] = seen{c.Since, was.told, c.Severity, c.Kind, c.Text}
	}
	for key, was := range r.seen {
		if !there[key] {
			delete(r.seen, key)
			r.o.Log.Info().Str("concern", key).Str("kind", string(was.kind)).Str("was", was.text).Msg("this needs no attention any more")
		}
	}
}

// line logs a concern.
func (r *Registry) line(c Concern, now time.Time) {
	level := map[Severity]zerolog.Level{Critical: zerolog.ErrorLevel, Warning: zerolog.WarnLevel}[c.Severity]
	if c.Severity == Notice {
		level = zerolog.WarnLevel // it is logged once a day, and lost among what is only info
	}
	e := r.o.Log.WithLevel(level).Str("concern", c.Key).Str("kind", string(c.Kind)).Stringer("severity", c.Severity).Time("since", c.Since)
	if !c.Until.IsZero() {
		e = e.Time("until", c.Until).Int("days", DaysLeft(c.Until, now))
	}
	e.Str("advice", c.Advice).Msg("needs attention: " + c.Sentence(now))
}
