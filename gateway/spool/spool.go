package spool

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
)

// Options are what a spool is made of. Log, DB and Folder are required; the others have defaults, given
// in brackets.
type Options struct {
	Log zerolog.Logger
	DB  *state.DB
	// Folder is for the files of large messages. With SQLite it belongs to the database, and is as
	// durable; with PostgreSQL it is for messages on their way in alone.
	Folder string
	// Node is this gateway's name in logs and in the database [a random one].
	Node string
	// InRow is how many octets a content has at most that is kept in its message's row [128 KiB].
	InRow int
	// FreshMessages and FreshOctets bound what is handed out from memory, without being read, because
	// it was just taken in [10,000 and 32 MiB]. A message counts once for each of its destinations.
	FreshMessages int
	FreshOctets   int64
	// Destinations is how many of those that have mail are known in memory [10,000].
	Destinations int
	// Reserve is how many octets the disk keeps free [256 MiB].
	Reserve int64
	// Lease is how long shards stay with a gateway that gives no sign of life [30 s].
	Lease time.Duration
	// Poll is how often mail is looked for that other gateways have taken in [1 s]: a tenth as often as long as they
	// can tell of it.
	Poll time.Duration
	// Partition is for how long the contents of mail that passes through PostgreSQL are written into one partition [1 min].
	// It is dropped about as long afterwards, with those of mail that has left. Negative: there are no partitions.
	Partition time.Duration
	// Leaves says which mail leaves by this gateway, for [Spool.Tell] [it does not say].
	Leaves string
	Now    func() time.Time // [the wall clock: with PostgreSQL the server's, so that all gateways have the same]

	deaf bool // for tests: what others tell is not heard
}

func (o Options) withDefaults() Options {
	defaultTo(&o.InRow, 128<<10)
	defaultTo(&o.FreshMessages, 10_000)
	defaultTo(&o.FreshOctets, 32<<20)
	defaultTo(&o.Destinations, 10_000)
	defaultTo(&o.Reserve, 256<<20)
	defaultTo(&o.Lease, 30*time.Second)
	defaultTo(&o.Poll, time.Second)
	defaultTo(&o.Partition, time.Minute)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func defaultTo[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// database is what the spool needs of a [state.DB].
type database interface {
	Write(ctx context.Context, f func(*state.Tx) error) error
	Read(ctx context.Context, f func(*state.Tx) error) error
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	Shared() bool
	Pooled() bool
	Refused(ctx context.Context) error
	Quick() *sql.DB
	Alter(ctx context.Context, patience time.Duration, statement string) error
	Notify(ctx context.Context, word string) error
	Listen(ctx context.Context, begun func() error, heard func(word string)) error
}

// Spool is mail in transit. Its methods may be called from any goroutine.
type Spool struct {
	o   Options
	db  database
	ids ids

	files      *files
	schedule   *schedule
	leases     *leases
	notifier   *notifier
	partitions *partitions

	free  func(folder string) (int64, error) // [freeSpace]
	swept chan struct{}                      // closed after the first sweep
	// sweptTo is a number from when parts of contents were swept last.
	sweptTo ID

	end     context.CancelFunc
	working sync.WaitGroup
	closing sync.Once
}

// Open makes a spool of a database. What an earlier process had in flight is uncertain now.
func Open(ctx context.Context, o Options) (*Spool, error) { return open(ctx, o, o.DB) }

// Attach makes a spool for an administrator, who reads and changes what is there while gateways work on
// it, or none does: nothing is handed out, and nothing is swept. With SQLite a gateway that runs does not
// see changes: either it makes them itself, or its folder is locked against it. With PostgreSQL those that
// run find them.
func Attach(o Options) (*Spool, error) {
	s, err := prepare(o, o.DB)
	if err != nil {
		return nil, err
	}
	working, end := context.WithCancel(context.Background())
	s.end = end
	if s.db.Shared() {
		asking, cancel := context.WithTimeout(working, answerMost)
		defer cancel()
		if err := s.leases.askTime(asking); err != nil {
			end()
			return nil, fmt.Errorf("the spool: %w", err)
		}
		s.working.Go(func() { s.notifier.run(working) })
	}
	return s, nil
}

// prepare makes a spool that does nothing yet.
func prepare(o Options, db database) (*Spool, error) {
	own := o.Now == nil
	o = o.withDefaults()
	s := &Spool{o: o, db: db, free: freeSpace, swept: make(chan struct{})}
	s.leases = newLeases(s, o.Node+"/"+rand.Text())
	if own && db.Shared() {
		s.o.Now = s.leases.now
	}
	s.ids.now = s.o.Now
	files, err := openFiles(o, &s.ids)
	if err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	s.files = files
	s.schedule = newSchedule(s)
	s.notifier = newNotifier(s)
	s.partitions = &partitions{spool: s}
	return s, nil
}

func open(ctx context.Context, o Options, db database) (*Spool, error) {
	s, err := prepare(o, db)
	if err != nil {
		return nil, err
	}
	if err := s.leases.begin(ctx); err != nil {
		return nil, fmt.Errorf("the spool: %w", err)
	}
	// Who moves a database waits for no gateway that has just opened it, and is not seen by it before this.
	if err := s.db.Refused(ctx); err != nil {
		return nil, errors.Join(err, s.leases.release())
	}
	if s.db.Shared() {
		if err := s.partitions.begin(ctx); err != nil {
			return nil, errors.Join(err, s.leases.release())
		}
	}
	s.schedule.rewind()
	working, end := context.WithCancel(context.Background())
	s.end = end
	s.working.Go(func() { s.schedule.keepRows(working) })
	s.working.Go(func() { s.sweep(working) })
	if s.db.Shared() {
		s.working.Go(func() { s.leases.keep(working) })
		s.working.Go(func() { s.schedule.poll(working) })
		s.working.Go(func() { s.notifier.run(working) })
		s.working.Go(func() { s.partitions.keep(working) })
		if !s.o.deaf && !s.db.Pooled() {
			s.working.Go(func() { s.notifier.listen(working) })
		}
	}
	return s, nil
}

// Tell says in a few words which mail leaves by this gateway from now on. Gateways that share a database share its mail out, so
// the same has to leave by all of them: the log tells of a difference.
func (s *Spool) Tell(leaves string) { s.leases.leaves.Store(&leaves) }

// Now is the time by which mail is due. What is told to the spool is in it.
func (s *Spool) Now() time.Time { return s.o.Now() }

// Close ends the spool. What is in flight is uncertain for whoever opens it next.
func (s *Spool) Close() (err error) {
	s.closing.Do(func() {
		s.schedule.close()
		s.end()
		s.working.Wait()
		err = s.leases.release()
	})
	return err
}

// idBits is how many bits of a number are not its time.
const idBits = 10

// ids gives messages their numbers.
type ids struct {
	now  func() time.Time
	mu   sync.Mutex
	last ID
}

// next is a number that no message has, or hardly ever: the time in microseconds, and 10 random bits
// that keep gateways apart.
func (i *ids) next() ID {
	var random [2]byte
	_, _ = rand.Read(random[:]) // never fails
	id := ID(i.now().UnixMicro()<<idBits | int64(random[0])<<2 | int64(random[1])&3)
	i.mu.Lock()
	defer i.mu.Unlock()
	if id <= i.last {
		id = i.last + 1
	}
	i.last = id
	return id
}
