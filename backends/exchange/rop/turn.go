package rop

import (
	"context"
	"errors"
)

// ErrLost says that a session context is lost, or that it is not known what became of it: see [Turn.Revive].
var ErrLost = errors.New("the session context is lost")

// Turn is who may use a session context, and whether there is one: what transports have alike, for mailboxes and for the address book. Requests of
// a session context go one after another. Make it with [NewTurn].
type Turn struct {
	// Lost says that the session context is lost. It belongs to whoever's turn it is.
	Lost bool

	free   chan struct{} // has one value while it is nobody's turn
	number int
}

// NewTurn is nobody's turn in a session context that is still to be made.
func NewTurn() Turn {
	t := Turn{Lost: true, free: make(chan struct{}, 1)}
	t.Pass()
	return t
}

// Take waits until it is one's turn. [Turn.Pass] ends that.
func (t *Turn) Take(ctx context.Context) error {
	select {
	case <-t.free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Pass ends one's turn.
func (t *Turn) Pass() { t.free <- struct{}{} }

// Live takes one's turn in a session context that is not lost.
func (t *Turn) Live(ctx context.Context) error {
	if err := t.Take(ctx); err != nil {
		return err
	}
	if t.Lost {
		t.Pass()
		return ErrLost
	}
	return nil
}

// Generation is how often the session context was made. What the server has opened in an earlier one it does not know any more.
func (t *Turn) Generation() int {
	<-t.free
	defer t.Pass()
	return t.number
}

// Revive makes the session context again, by again, if it is lost. It takes its turn for that.
func (t *Turn) Revive(ctx context.Context, again func() error) error {
	if err := t.Take(ctx); err != nil {
		return err
	}
	defer t.Pass()
	if !t.Lost {
		return nil
	}
	if err := again(); err != nil {
		return err
	}
	t.Lost, t.number = false, t.number+1
	return nil
}
