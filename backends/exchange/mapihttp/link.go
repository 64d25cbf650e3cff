package mapihttp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// link is a session context: what [Session] and [AddressBook] have alike.
type link struct {
	cookies cookies
	// left has the cookies of a session context that is lost as a request in it was given up, when that is over; without any, the server has
	// not answered it. nil: there is none.
	left chan cookies
	// patience is how long a request that was given up, and the end of a session context, may take.
	patience time.Duration
	last     call // that ends the session context
	turn     rop.Turn
	caller   *caller
	// begin sends the request that makes a session context. It is one's turn.
	begin func(ctx context.Context) error
}

func newLink(c *caller, last call) link {
	return link{turn: rop.NewTurn(), last: last, patience: 5 * time.Second, caller: c}
}

// unmade is called when no session context was made: one that the server has made since is ended, and the connection.
func (l *link) unmade() {
	if l.left == nil {
		l.Close()
		return
	}
	go func() {
		defer l.Close()
		_ = l.end(context.Background()) // it takes no longer than patience, three times
	}()
}

// Close ends the connection, and leaves the session context to the server's time-out.
func (l *link) Close() { l.caller.close() }

// Generation is how often the session context was made, see [rop.Turn.Generation].
func (l *link) Generation() int { return l.turn.Generation() }

// Revive connects anew if the session context is lost.
func (l *link) Revive(ctx context.Context) error {
	return l.turn.Revive(ctx, func() error {
		if l.left != nil {
			if err := l.leave(ctx); ctx.Err() != nil {
				return err
			}
		}
		l.cookies = nil
		return l.begin(ctx)
	})
}

// request sends a request and reads the codes of its reply. It must be one's turn.
func (l *link) request(ctx context.Context, r call) (*mapi.Decoder, error) {
	body, err := l.send(ctx, r)
	if err != nil {
		return nil, err
	}
	return decoded(r, body)
}

// send sends a request. It must be one's turn. One that is given up goes on by itself for a while, so that the session context can be
// ended behind it: the server would keep it for minutes, and an account has only some.
func (l *link) send(ctx context.Context, r call) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, backends.AsFailure(context.Cause(ctx))
	}
	type outcome struct {
		body []byte
		err  error
	}
	answered, known := make(chan outcome, 1), make(chan cookies, 1)
	own := slices.Clone(l.cookies)
	r.cookies = &own
	on, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer giveUp()
		body, err := l.caller.do(on, r)
		if errors.Is(err, rop.ErrLost) {
			own = nil
		}
		known <- own
		answered <- outcome{body, err}
	}()
	select {
	case o := <-answered:
		l.cookies = <-known
		l.turn.Lost = l.turn.Lost || errors.Is(o.err, rop.ErrLost)
		return o.body, o.err
	case <-ctx.Done():
		time.AfterFunc(l.patience, giveUp)
		l.turn.Lost, l.left = true, known
		return nil, l.caller.noAnswer(ctx, r, ctx.Err())
	}
}

// end sends the request that ends the session context, whatever comes of it.
func (l *link) end(ctx context.Context) error {
	if err := l.turn.Take(ctx); err != nil {
		return err
	}
	defer l.turn.Pass()
	switch {
	case l.left != nil:
		return l.leave(ctx)
	case l.turn.Lost:
		return backends.Fail(backends.Temporary, "%w", rop.ErrLost)
	}
	return l.goodbye(ctx)
}

// leave ends a session context that was given up, when the request in it is over. It must be one's turn.
func (l *link) leave(ctx context.Context) error {
	select {
	case l.cookies = <-l.left:
	case <-ctx.Done():
		return backends.AsFailure(context.Cause(ctx))
	}
	l.left = nil
	if l.cookies == nil {
		return backends.Fail(backends.Temporary, "%w", rop.ErrLost)
	}
	return l.goodbye(ctx)
}

// goodbye ends the session context. It must be one's turn.
func (l *link) goodbye(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	d, err := l.request(ctx, l.last)
	l.turn.Lost = true
	if l.left != nil { // it ends by itself within as long again
		<-l.left
		l.left = nil
	}
	if err != nil {
		return err
	}
	return ended(l.last.kind, d)
}

// decoded reads the StatusCode and the ErrorCode of a reply. Behind a StatusCode that is not 0 there is nothing else.
func decoded(r call, body []byte) (*mapi.Decoder, error) {
	d := mapi.NewDecoder(body, mapi.Format{Wide: true, CodePage: 1252})
	status, code := d.Uint32(), uint32(0)
	if status == 0 {
		code = d.Uint32()
	}
	if d.Err() != nil {
		return nil, ended(r.kind, d)
	}
	if status == 0 && (code == r.success || rop.Code(code).Warning()) {
		return d, nil
	}
	return d, codeFailure(r.kind, status, code)
}

// ended says what is wrong with a reply if it could not be read up to its auxiliary buffer.
func ended(kind string, d *mapi.Decoder) error {
	d.Bytes(int(d.Uint32())) // AuxiliaryBuffer
	if err := d.Err(); err != nil {
		return backends.Fail(backends.Temporary, "the reply to %s: %w", kind, err)
	}
	return nil
}
