package mapirpc

import (
	"context"
	"fmt"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
)

// handle is a context handle, C706 §14.2.16.6 (ndr_context_handle).
type handle [20]byte

// link is a session context on a connection of its own: what [Session] and [AddressBook] have alike. All of it but turn and conn belongs
// to whoever's turn it is.
type link struct {
	config Config
	to     service
	turn   chan struct{} // has one value while nobody makes a call
	handle handle
	lost   bool
	number int
	// begin makes the call that makes a session context. It is one's turn.
	begin func(ctx context.Context) error

	mu   sync.Mutex
	conn *dcerpc.Conn
}

func (l *link) prepare(c Config, to service, begin func(context.Context) error) {
	l.config, l.to, l.begin, l.lost, l.turn = c, to, begin, true, make(chan struct{}, 1)
	l.turn <- struct{}{}
}

// Close ends the connection, and with it the session context.
func (l *link) Close() { l.replace(nil) }

func (l *link) replace(conn *dcerpc.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
	l.conn = conn
}

// Generation is how often the session context was made. What the server has opened in an earlier one it does not know any more.
func (l *link) Generation() int {
	<-l.turn
	defer l.pass()
	return l.number
}

// Revive connects anew if the session context is lost.
func (l *link) Revive(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	defer l.pass()
	if !l.lost {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.config.Most)
	defer cancel()
	if err := l.config.Guard(ctx, func() error { return l.connect(ctx) }); err != nil {
		return err
	}
	l.lost, l.number = false, l.number+1
	return nil
}

// connect makes a session context on a new connection.
func (l *link) connect(ctx context.Context) error {
	conn, err := l.config.dial(ctx, l.to)
	if err != nil {
		return err
	}
	l.replace(conn)
	if err := l.begin(ctx); err != nil {
		l.Close()
		return err
	}
	return nil
}

// take waits until it is one's turn.
func (l *link) take(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return backends.AsFailure(context.Cause(ctx))
	}
}

func (l *link) pass() { l.turn <- struct{}{} }

// live takes one's turn in a session context that is not lost.
func (l *link) live(ctx context.Context) error {
	if err := l.take(ctx); err != nil {
		return err
	}
	if l.lost {
		l.pass()
		return backends.Fail(backends.Temporary, "%w", mapihttp.ErrLost)
	}
	return nil
}

// request is a call.
type request struct {
	name  string
	opnum uint16
	stub  []byte
	// once says that what is called must not be called again where it is not known what became of it.
	once bool
	// success is the code of a success, unless it is 0.
	success rop.Code
}

// do makes a call, whose results read reads up to the return value. It must be one's turn.
func (l *link) do(ctx context.Context, r request, read func(*dcerpc.Reader)) error {
	ctx, cancel := context.WithTimeout(ctx, l.config.Most)
	defer cancel()
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		l.lost = true
		return backends.Fail(backends.Temporary, "%w: the connection is closed", mapihttp.ErrLost)
	}
	reply, err := conn.Call(ctx, r.opnum, r.stub)
	if err != nil {
		failure, lost := r.failed(ctx, err)
		l.lost = l.lost || lost
		return failure
	}
	d := dcerpc.NewReader(reply)
	read(d)
	code := rop.Code(d.Uint32())
	if err := d.Err(); err != nil {
		failure, _ := r.failed(ctx, fmt.Errorf("%w: %w", dcerpc.ErrProtocol, err))
		l.lost = true
		return failure
	}
	if code != r.success && !code.Warning() {
		return codeFailure(r.name, code)
	}
	return nil
}

// end makes the call that ends the session context, and ends the connection, whatever comes of it.
func (l *link) end(ctx context.Context, r request, stub func() []byte) error {
	defer l.Close()
	if err := l.live(ctx); err != nil {
		return err
	}
	defer l.pass()
	l.lost = true
	r.stub = stub()
	return l.do(ctx, r, func(d *dcerpc.Reader) { d.Bytes(len(handle{})) })
}
