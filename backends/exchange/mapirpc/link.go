package mapirpc

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/rop"
)

// handle is a context handle, C706 §14.2.16.6 (ndr_context_handle).
type handle [20]byte

// link is a session context on a connection of its own: what [Session] and [AddressBook] have alike. All of it but turn and conn belongs
// to whoever's turn it is.
type link struct {
	config Config
	to     service
	turn   rop.Turn
	handle handle
	// begin makes the call that makes a session context. It is one's turn.
	begin func(ctx context.Context) error

	mu   sync.Mutex
	conn *dcerpc.Conn
}

func (l *link) prepare(c Config, to service, begin func(context.Context) error) {
	l.config, l.to, l.begin, l.turn = c, to, begin, rop.NewTurn()
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

// Generation is how often the session context was made, see [rop.Turn.Generation].
func (l *link) Generation() int { return l.turn.Generation() }

// Revive connects anew if the session context is lost.
func (l *link) Revive(ctx context.Context) error {
	return l.turn.Revive(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, l.config.Most)
		defer cancel()
		return l.config.Guard(ctx, func() error { return l.connect(ctx) })
	})
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

// request is a call.
type request struct {
	name  string
	opnum uint16
	stub  []byte
	// once says that what is called must not be called again where it is not known what became of it.
	once bool
	// most is how many octets the reply may have, where that is less than with others.
	most int
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
		l.turn.Lost = true
		return backends.Fail(backends.Temporary, "%w: the connection is closed", rop.ErrLost)
	}
	reply, err := conn.CallFor(ctx, r.opnum, r.stub, cmp.Or(r.most, math.MaxInt))
	if err != nil {
		failure, lost := r.failed(ctx, err)
		l.turn.Lost = l.turn.Lost || lost
		return failure
	}
	d := dcerpc.NewReader(reply)
	read(d)
	code := rop.Code(d.Uint32())
	if err := d.Err(); err != nil {
		failure, _ := r.failed(ctx, fmt.Errorf("%w: %w", dcerpc.ErrProtocol, err))
		l.turn.Lost = true
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
	if err := l.turn.Live(ctx); err != nil {
		return err
	}
	defer l.turn.Pass()
	l.turn.Lost = true
	r.stub = stub()
	return l.do(ctx, r, func(d *dcerpc.Reader) { d.Bytes(len(handle{})) })
}
