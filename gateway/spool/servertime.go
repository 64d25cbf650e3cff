package spool

import (
	"context"
	"time"
)

// serverTime is what the server's clock said, and when by sinceBoot.
type serverTime struct {
	said time.Time
	at   time.Duration
}

// now is the server's time. It goes on by a clock that nobody sets until the server is asked again, with each renewal.
func (l *leases) now() time.Time {
	c := l.clock.Load()
	if c == nil {
		return time.Now()
	}
	return c.said.Add(sinceBoot() - c.at)
}

// askTime asks the server for the time, and notices that its clock was set.
func (l *leases) askTime(ctx context.Context) error {
	var micros int64
	asked := sinceBoot()
	if err := l.spool.db.Quick().QueryRowContext(ctx, "SELECT "+databaseNow).Scan(&micros); err != nil {
		return err
	}
	before := l.clock.Load()
	after := before.corrected(time.UnixMicro(micros), asked, sinceBoot())
	l.clock.Store(after)
	if before == nil {
		return nil
	}
	if set := after.said.Sub(before.said) - (after.at - before.at); set.Abs() >= l.spool.o.Lease/jumpShare {
		l.jump = &jump{}
		l.spool.o.Log.Warn().Dur("by_ms", set).Msg("the clock of the database server was set; no gateway is taken for dead by it until all that live have given a sign of life")
	}
	return nil
}

// corrected is the server's time after a further answer. The server's clock was read at some moment between question and answer, so
// what was known before is as good as the answer while it lies between the two, and otherwise is moved as far as it must be: or the
// time would step back by what an answer was late, and what was just taken in would wait for it.
func (c *serverTime) corrected(said time.Time, asked, answered time.Duration) *serverTime {
	if c == nil {
		return &serverTime{said: said, at: asked + (answered-asked)/2}
	}
	earliest, latest := said, said.Add(answered-asked) // what its clock says at the answer
	switch now := c.said.Add(answered - c.at); {
	case now.Before(earliest):
		return &serverTime{said: earliest, at: answered}
	case now.After(latest):
		return &serverTime{said: latest, at: answered}
	default:
		return c
	}
}

// jumpShare is what part of a lease the server's clock has to be set by for that to matter: a node is renewed when two parts of three
// are left.
const jumpShare = 10

// jump is that the server's clock was set. The rows of nodes say until when they live by that clock. If it was set ahead, all of them
// look dead until they are renewed; if it was set back, those that have died look alive for as long as it was set. So from then on the
// rows are watched for the time of a lease, by a clock that nobody sets.
type jump struct {
	seen   bool          // the rows were read
	at     time.Duration // when, by sinceBoot
	nodes  []string
	untils []int64 // of the nodes
}

// over says that who lives has renewed its row since.
func (j *jump) over(lease time.Duration) bool { return j != nil && j.seen && sinceBoot()-j.at >= lease }
