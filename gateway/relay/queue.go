package relay

import (
	"context"
	"io"
	"time"

	"github.com/dipylon/dipylon/gateway/spool"
)

// Queue is where mail in transit waits: a [spool.Spool], by [FromSpool].
type Queue interface {
	// Ready waits until a destination has mail that is due, and gives it out: to nobody else until Done.
	Ready(ctx context.Context) (destination string, err error)
	// Claim hands out mail of a destination that is due, and marks it as in flight, on the disk.
	Claim(ctx context.Context, destination string, most int) ([]Claimed, error)
	// Done gives a destination back. Again is before when it is not to be given out, whatever comes; zero: when it
	// has something that is due.
	Done(destination string, again time.Time)
	// Settle writes down what became of deliveries, with the reports that are made of it: all or nothing.
	Settle(ctx context.Context, results ...spool.Result) error
}

// Claimed is a message that was handed out, with those of its recipients that are at one destination.
type Claimed struct {
	*spool.Delivery
	Content Content
}

// Content is the content of a message that was handed out.
type Content interface {
	Open(ctx context.Context) (io.ReadSeekCloser, error)
	// Held says that the message is still this gateway's to deliver: the lease has not run out.
	Held() bool
}

// FromSpool makes a queue of a spool.
func FromSpool(s *spool.Spool) Queue { return fromSpool{s} }

type fromSpool struct{ *spool.Spool }

// Claim implements [Queue].
func (q fromSpool) Claim(ctx context.Context, destination string, most int) ([]Claimed, error) {
	deliveries, err := q.Spool.Claim(ctx, destination, most)
	claimed := make([]Claimed, len(deliveries))
	for i, d := range deliveries {
		claimed[i] = Claimed{d, d}
	}
	return claimed, err
}
