package server

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/edge"
)

// listener is a listening socket whose connections go to one server after another: a server with
// new settings takes over from the old one without the socket being closed, so that nobody is
// refused meanwhile. The old server keeps the sessions it has.
//
// Behind a load balancer, whose connection it is stands in a header in front of it. The listener
// reads that: it comes before TLS, and before anybody counts connections of an address.
type listener struct {
	asked     string // the address as it was configured, perhaps with port 0
	socket    net.Listener
	log       zerolog.Logger
	accepted  sync.WaitGroup // the accept loop, and what it has started
	proxy     atomic.Pointer[edge.Proxy]
	receiving chan struct{}   // a place for each connection whose header is awaited
	ctx       context.Context //nolint:containedctx // ends with close
	cancel    context.CancelFunc

	mu      sync.Mutex
	current *handoff
	changed chan struct{} // closed, and made anew, when current changes
}

// mostReceiving bounds the connections of load balancers whose header has not come yet.
const mostReceiving = 1024

// openListener listens on an address. Nobody is served before the first handoff is opened. With a
// proxy, all connections have to come through it.
func openListener(log zerolog.Logger, address string, proxy *edge.Proxy) (*listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	d := &listener{
		asked: address, socket: l, log: log.With().Str("address", l.Addr().String()).Logger(),
		receiving: make(chan struct{}, mostReceiving), changed: make(chan struct{}),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.proxy.Store(proxy)
	d.accepted.Go(d.accept)
	return d, nil
}

// address is where the listener is.
func (l *listener) address() string { return l.socket.Addr().String() }

// open makes a handoff that gets the connections from now on. Those before it get no more.
func (l *listener) open() net.Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &handoff{listener: l, conns: make(chan net.Conn), closed: make(chan struct{})}
	old := l.current
	l.current = w
	close(l.changed)
	l.changed = make(chan struct{})
	if old != nil {
		old.shut()
	}
	return w
}

// close stops listening. What is connected stays so. It is called once.
func (l *listener) close() {
	l.cancel()
	_ = l.socket.Close() // it was open
	l.accepted.Wait()
}

const (
	acceptPauseLeast = 5 * time.Millisecond
	acceptPauseMost  = time.Second
)

// accept hands out connections until the listener is closed.
func (l *listener) accept() {
	pause := time.Duration(0)
	for {
		conn, err := l.socket.Accept()
		switch {
		case err == nil:
			pause = 0
			l.receive(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Out of files or memory, as a rule: sessions that end will give some back.
		pause = min(max(2*pause, acceptPauseLeast), acceptPauseMost)
		l.log.Error().Err(err).Dur("pause_ms", pause).Msg("cannot accept a connection")
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
		}
	}
}

// receive hands a connection on, once it is known whose it is.
func (l *listener) receive(conn net.Conn) {
	proxy := l.proxy.Load()
	if proxy == nil {
		l.hand(conn)
		return
	}
	select {
	case l.receiving <- struct{}{}:
	case <-l.ctx.Done():
		_ = conn.Close() // nobody has spoken on it
		return
	}
	l.accepted.Go(func() {
		peer := conn.RemoteAddr()
		stop := context.AfterFunc(l.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		received, err := proxy.Receive(conn)
		stop()
		<-l.receiving
		if err != nil {
			l.refused(peer, err)
			return
		}
		l.hand(received)
	})
}

// refused logs why a connection was closed. Health checks that only connect are no news, and
// neither is the listener's end.
func (l *listener) refused(peer net.Addr, err error) {
	level := zerolog.WarnLevel
	if errors.Is(err, edge.ErrNoHeader) || errors.Is(err, os.ErrDeadlineExceeded) && l.ctx.Err() != nil {
		level = zerolog.DebugLevel
	}
	l.log.WithLevel(level).Err(err).Stringer("remote", peer).Msg("connection refused")
}

// hand gives a connection to whoever is behind the listener, once somebody is.
func (l *listener) hand(conn net.Conn) {
	for {
		l.mu.Lock()
		w, changed := l.current, l.changed
		l.mu.Unlock()
		if w.take(conn) {
			return
		}
		select {
		case <-changed:
		case <-l.ctx.Done():
			_ = conn.Close() // nobody has spoken on it
			return
		}
	}
}

// handoff is one server's share of a listener: a [net.Listener].
type handoff struct {
	listener *listener
	conns    chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

// take passes a connection to Accept, unless the handoff is closed.
func (h *handoff) take(conn net.Conn) bool {
	if h == nil {
		return false
	}
	select {
	case h.conns <- conn:
		return true
	case <-h.closed:
	case <-h.listener.ctx.Done():
	}
	return false
}

func (h *handoff) shut() { h.once.Do(func() { close(h.closed) }) }

// Accept implements [net.Listener]. It fails with net.ErrClosed when the handoff or the listener is
// closed.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
	case <-h.listener.ctx.Done():
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: h.Addr(), Err: net.ErrClosed}
}

// Close implements [net.Listener]. The listener stays open for others.
func (h *handoff) Close() error {
	h.shut()
	return nil
}

// Addr implements [net.Listener].
func (h *handoff) Addr() net.Addr { return h.listener.socket.Addr() }
