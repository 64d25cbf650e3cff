package main

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

// door is a listening socket whose connections go to one server after another: a server with
// new settings takes over from the old one without the socket being closed, so that nobody is
// refused meanwhile. The old server keeps the sessions it has.
//
// Behind a load balancer, whose connection it is stands in a header in front of it. The door
// reads that: it comes before TLS, and before anybody counts connections of an address.
type door struct {
	asked     string // the address as it was configured, perhaps with port 0
	listener  net.Listener
	log       zerolog.Logger
	accepted  sync.WaitGroup // the accept loop, and what it has started
	proxy     atomic.Pointer[edge.Proxy]
	receiving chan struct{}   // a place for each connection whose header is awaited
	ctx       context.Context //nolint:containedctx // ends with close
	cancel    context.CancelFunc

	mu      sync.Mutex
	current *wicket
	changed chan struct{} // closed, and made anew, when current changes
}

// mostReceiving bounds the connections of load balancers whose header has not come yet.
const mostReceiving = 1024

// openDoor listens on an address. Nobody is served before the first wicket is opened. With a
// proxy, all connections have to come through it.
func openDoor(log zerolog.Logger, address string, proxy *edge.Proxy) (*door, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	d := &door{
		asked: address, listener: l, log: log.With().Str("address", l.Addr().String()).Logger(),
		receiving: make(chan struct{}, mostReceiving), changed: make(chan struct{}),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.proxy.Store(proxy)
	d.accepted.Go(d.accept)
	return d, nil
}

// address is where the door is.
func (d *door) address() string { return d.listener.Addr().String() }

// open makes a wicket that gets the connections from now on. Those before it get no more.
func (d *door) open() net.Listener {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &wicket{door: d, conns: make(chan net.Conn), closed: make(chan struct{})}
	old := d.current
	d.current = w
	close(d.changed)
	d.changed = make(chan struct{})
	if old != nil {
		old.shut()
	}
	return w
}

// close stops listening. What is connected stays so. It is called once.
func (d *door) close() {
	d.cancel()
	_ = d.listener.Close() // it was open
	d.accepted.Wait()
}

const (
	acceptPauseLeast = 5 * time.Millisecond
	acceptPauseMost  = time.Second
)

// accept hands out connections until the door is closed.
func (d *door) accept() {
	pause := time.Duration(0)
	for {
		conn, err := d.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			d.receive(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		// Out of files or memory, as a rule: sessions that end will give some back.
		pause = min(max(2*pause, acceptPauseLeast), acceptPauseMost)
		d.log.Error().Err(err).Dur("pause_ms", pause).Msg("cannot accept a connection")
		select {
		case <-time.After(pause):
		case <-d.ctx.Done():
		}
	}
}

// receive hands a connection on, once it is known whose it is.
func (d *door) receive(conn net.Conn) {
	proxy := d.proxy.Load()
	if proxy == nil {
		d.hand(conn)
		return
	}
	select {
	case d.receiving <- struct{}{}:
	case <-d.ctx.Done():
		_ = conn.Close() // nobody has spoken on it
		return
	}
	d.accepted.Go(func() {
		peer := conn.RemoteAddr()
		stop := context.AfterFunc(d.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		received, err := proxy.Receive(conn)
		stop()
		<-d.receiving
		if err != nil {
			d.refused(peer, err)
			return
		}
		d.hand(received)
	})
}

// refused logs why a connection was closed. Health checks that only connect are no news, and
// neither is the door's end.
func (d *door) refused(peer net.Addr, err error) {
	level := zerolog.WarnLevel
	if errors.Is(err, edge.ErrNoHeader) || errors.Is(err, os.ErrDeadlineExceeded) && d.ctx.Err() != nil {
		level = zerolog.DebugLevel
	}
	d.log.WithLevel(level).Err(err).Stringer("remote", peer).Msg("connection refused")
}

// hand gives a connection to whoever is behind the door, once somebody is.
func (d *door) hand(conn net.Conn) {
	for {
		d.mu.Lock()
		w, changed := d.current, d.changed
		d.mu.Unlock()
		if w.take(conn) {
			return
		}
		select {
		case <-changed:
		case <-d.ctx.Done():
			_ = conn.Close() // nobody has spoken on it
			return
		}
	}
}

// wicket is one server's share of a door: a [net.Listener].
type wicket struct {
	door   *door
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// take passes a connection to Accept, unless the wicket is closed.
func (w *wicket) take(conn net.Conn) bool {
	if w == nil {
		return false
	}
	select {
	case w.conns <- conn:
		return true
	case <-w.closed:
	case <-w.door.ctx.Done():
	}
	return false
}

func (w *wicket) shut() { w.once.Do(func() { close(w.closed) }) }

// Accept implements [net.Listener]. It fails with net.ErrClosed when the wicket or the door is
// closed.
func (w *wicket) Accept() (net.Conn, error) {
	select {
	case conn := <-w.conns:
		return conn, nil
	case <-w.closed:
	case <-w.door.ctx.Done():
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: w.Addr(), Err: net.ErrClosed}
}

// Close implements [net.Listener]. The door stays open for others.
func (w *wicket) Close() error {
	w.shut()
	return nil
}

// Addr implements [net.Listener].
func (w *wicket) Addr() net.Addr { return w.door.listener.Addr() }
