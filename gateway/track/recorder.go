// Package track keeps what the log says of each message, so that its life can be told later, over all
// gateways that share a database: how it came in, what each store and each next server answered, what
// administrators did with it, and which report was sent.
//
//	recorder := track.NewRecorder()
//	log := zerolog.New(zerolog.MultiLevelWriter(os.Stderr, recorder))
//	go recorder.Keep(ctx, track.Options{DB: db, Log: log, Node: "mx1"})
//	…
//	messages, err := track.Find(ctx, db, track.Query{Name: "<x@example.org>"})
//
// The recorder is a writer of the log, and takes its events on messages (package events): there is one account of
// what happened, in two places. It never holds up who logs. What has been logged is in the database a second
// later; a process that is killed takes that second with it, and none of the mail, which the spool keeps.
// When events come faster than the database takes them, or the disk is nearly full, the rest is dropped and
// counted.
package track

import (
	"bytes"
	"compress/flate"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/state"
)

const (
	lineMost    = 16 << 10 // octets of an event
	waitingMost = 8 << 20  // octets of events that wait for the database
	batch       = 256      // events of a transaction
	gatherTime  = time.Second
	quietTime   = 2 * time.Second // without events, until what is kept for the next ones is given up
	writeTime   = 30 * time.Second
	endTime     = 5 * time.Second // to write what is left at the end
	lostEvery   = time.Minute     // how often it is said that events were dropped
)

// tracked are the events of a message's life.
var tracked = map[string]bool{
	events.MessageIn: true, events.Collected: true, events.Fetched: true, events.Queued: true, events.Delivery: true, events.Relay: true, events.QueueChange: true,
}

// eventKey is what stands in front of an event's name in a line of the log. Within a value it would be quoted.
var eventKey = []byte(`"` + events.Event + `":"`)

// Recorder takes events out of the log. It is an [io.Writer] for whole lines.
type Recorder struct {
	on   atomic.Bool
	lost atomic.Uint64

	mu      sync.Mutex
	waiting []logged
	octets  int
	come    chan struct{} // there is something
	many    chan struct{} // there is enough for a transaction
}

// logged is an event, and when it was logged: the log's own time may be in seconds.
type logged struct {
	at   time.Time
	line []byte
}

// NewRecorder makes a recorder that is off.
func NewRecorder() *Recorder {
	return &Recorder{come: make(chan struct{}, 1), many: make(chan struct{}, 1)}
}

// Set turns the recorder on and off.
func (r *Recorder) Set(on bool) { r.on.Store(on) }

// On says whether events are taken.
func (r *Recorder) On() bool { return r.on.Load() }

// Lost is how many events were dropped.
func (r *Recorder) Lost() uint64 { return r.lost.Load() }

// Write implements [io.Writer]. It does not fail.
func (r *Recorder) Write(line []byte) (int, error) {
	if !r.on.Load() || !isTracked(line) {
		return len(line), nil
	}
	kept := bytes.Clone(bytes.TrimRight(line, "\n"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(kept) > lineMost || r.octets+len(kept) > waitingMost {
		r.lost.Add(1)
		return len(line), nil
	}
	r.waiting, r.octets = append(r.waiting, logged{time.Now(), kept}), r.octets+len(kept)
	signal(r.come)
	if len(r.waiting) >= batch {
		signal(r.many)
	}
	return len(line), nil
}

func isTracked(line []byte) bool {
	for found := true; found; {
		if _, line, found = bytes.Cut(line, eventKey); found {
			if name, _, ended := bytes.Cut(line, []byte(`"`)); ended && tracked[string(name)] {
				return true
			}
		}
	}
	return false
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// take gives what waits, at most a batch of it. Fewer than least go on waiting.
func (r *Recorder) take(least int) (lines []logged) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), batch)
	if n < least {
		if n > 0 {
			signal(r.come)
		}
		select {
		case <-r.many: // what it told of has been taken
		default:
		}
		return nil
	}
	lines, r.waiting = r.waiting[:n:n], r.waiting[n:]
	for _, line := range lines {
		r.octets -= len(line.line)
	}
	if len(r.waiting) == 0 {
		r.waiting = nil
	}
	return lines
}

// Options are what a recorder is given to keep events.
type Options struct {
	DB   *state.DB
	Log  zerolog.Logger
	Node string // this gateway's name
	// Room says why there is no room for more; nil: there is.
	Room func(context.Context) error
}

// Keep writes events into the database until ctx ends, and then those that are there, as far as the database takes
// them within some seconds. Nothing is done while none come.
func (r *Recorder) Keep(ctx context.Context, o Options) {
	k := &keeper{Recorder: r, o: o}
	k.run(ctx)
}

// run is Keep.
func (k *keeper) run(ctx context.Context) {
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(endTime, cancel) })()
	for {
		var quiet <-chan time.Time
		if k.deflater != nil {
			quiet = time.After(quietTime)
		}
		select {
		case <-k.come:
		case <-quiet:
			k.deflater = nil
			continue
		case <-ctx.Done():
			k.keepAll(writing, 1)
			return
		}
		gathered := time.NewTimer(gatherTime)
		select {
		case <-k.many:
		case <-gathered.C:
		case <-ctx.Done():
		}
		gathered.Stop()
		k.keepAll(writing, batch)
	}
}

type keeper struct {
	*Recorder
	o    Options
	last int64 // the time of the last event, in microseconds
	said time.Time
	told uint64 // lost, when it was said
	// deflater has more than a megabyte of tables, and is kept as long as events come. nil: there is none.
	deflater *flate.Writer
}

// keepAll writes what waits, one batch after the other. What has come while the first of them was written is
// written now only if it is least events: else each commit would be followed by one for the few events that came
// during it, for as long as mail comes.
func (k *keeper) keepAll(ctx context.Context, least int) {
	for lines := k.take(1); len(lines) > 0; lines = k.take(least) {
		once, cancel := context.WithTimeout(ctx, writeTime)
		err := k.keep(once, lines)
		cancel()
		if err != nil {
			k.lost.Add(uint64(len(lines)))
			k.complain(err)
		}
	}
	k.complain(nil)
}

// complain says, now and then, that events are lost.
func (k *keeper) complain(err error) {
	lost := k.lost.Load()
	if lost == k.told || time.Since(k.said) < lostEvery {
		return
	}
	k.o.Log.Warn().Uint64("events", lost-k.told).Err(err).
		Msg("events of messages were not kept for dipylon track: the log has them")
	k.told, k.said = lost, time.Now()
}

// keep writes lines in one transaction.
func (k *keeper) keep(ctx context.Context, lines []logged) error {
	if k.o.Room != nil {
		if err := k.o.Room(ctx); err != nil {
			return err
		}
	}
	all := make([]record, 0, len(lines))
	for _, l := range lines {
		names, err := namesOf(l.line)
		if err != nil { // the gateway has written it: it costs only itself
			k.lost.Add(1)
			k.o.Log.Warn().Err(err).Msg("an event of the log is not JSON")
			continue
		}
		k.last = max(l.at.UnixMicro(), k.last+1)
		all = append(all, record{k.last, l.line, names})
	}
	if len(all) == 0 {
		return nil
	}
	if k.deflater == nil {
		deflater, err := flate.NewWriter(nil, flate.BestSpeed)
		if err != nil {
			return err
		}
		k.deflater = deflater
	}
	return insert(ctx, k.o.DB, k.o.Node, all, k.deflater)
}
