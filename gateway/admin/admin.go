// Package admin is what an administrator's programs ask a running gateway by HTTP:
//
//	/metrics  what it counts, for Prometheus (OpenMetrics 1.0, or the text format 0.0.4)
//	/livez    200 while the process answers
//	/readyz   200 while it serves; 503 before that, and while it stops
//
// It knows nothing of mail. Without a token it listens on addresses of the machine alone, and changes nothing. A
// page that a browser has open cannot read it under a name of its own: what is asked under another name than
// the machine's is refused (DNS rebinding).
//
// What commands ask is there for whoever has the token: /queue/ handles mail in transit (package queue), /track
// tells what became of messages (package track), and /status what the gateway is at this moment (package status). With TLS a listener may be asked from elsewhere, and then all but
// /livez and /readyz takes the token. The socket in the state folder, which the gateway's user alone can open, is
// served by it, too, and takes none.
package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
)

// Server answers. Its fields are set before Serve.
type Server struct {
	Metrics prometheus.Gatherer
	// Ready says why the gateway does not serve; nil: it does.
	Ready func() error
	// Queue, Track, Status and Collect answer what is asked under /queue/, /track, /status and /collect/; nil: nothing is there. They change and tell
	// things: they are for a socket that only an administrator can open, or for whoever has the token.
	Queue, Track, Status, Collect http.Handler
	// Token is what whoever asks for those has to show (RFC 6750); empty: they need none.
	Token string
	// TLS has the listener speak it: then anybody may reach it, and metrics take the token, too. Nil: it is plain.
	TLS *tls.Config
	Log zerolog.Logger

	prepare sync.Once
	ready   shared
	http    *http.Server
}

const (
	requestTime = 10 * time.Second // for a request to come, and for its answer to be made
	writeTime   = 30 * time.Second // for the answer to be taken, too
	idleTime    = 2 * time.Minute  // between two requests of a connection
	headerMost  = 16 << 10         // octets of a request
	atOnce      = 4                // requests for metrics
	connections = 64               // at once; for another one the oldest makes room
)

func (s *Server) init() {
	s.prepare.Do(func() {
		mux := http.NewServeMux()
		metrics := promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{
			ErrorLog: errorLog{s.Log}, ErrorHandling: promhttp.ContinueOnError, EnableOpenMetrics: true,
			MaxRequestsInFlight: atOnce, Timeout: requestTime,
		})
		if s.TLS != nil {
			metrics = s.withToken(metrics)
		}
		mux.Handle("GET /metrics", metrics)
		mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.ready.ask(s.Ready)) })
		if s.Queue != nil {
			mux.Handle("/queue/", s.withToken(s.Queue))
		}
		if s.Track != nil {
			mux.Handle("/track", s.withToken(s.Track))
		}
		if s.Collect != nil {
			mux.Handle("/collect/", s.withToken(s.Collect))
		}
		if s.Status != nil {
			mux.Handle("GET /status", s.withToken(s.Status))
		}
		var handler http.Handler = mux
		if s.TLS == nil {
			handler = ownName(mux)
		}
		s.http = &http.Server{
			Handler: handler, ReadTimeout: requestTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
			MaxHeaderBytes: headerMost, ErrorLog: log.New(errorLog{s.Log}, "", 0),
		}
		(&crowd{}).on(s.http)
	})
}

// withToken lets those through who have the token, where there is one.
func (s *Server) withToken(next http.Handler) http.Handler {
	if s.Token == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			s.Log.Warn().Str(events.Remote, r.RemoteAddr).Str("path", r.URL.Path).Msg("an administrator's question without the right token is refused")
			w.Header().Set("WWW-Authenticate", `Bearer realm="dipylon"`)
			_ = Answer(w, http.StatusUnauthorized, nil, errToken) // who does not read it has gone
			return
		}
		next.ServeHTTP(w, r)
	})
}

var errToken = errors.New("this takes the token of the admin listener: Authorization: Bearer …")

// crowd bounds the connections. Whoever holds many open keeps nobody out: the one that has been opened, or
// has begun its last request, longest ago is closed for a new one.
type crowd struct {
	mu    sync.Mutex
	conns []net.Conn // the oldest first
}

// connKey is a request's connection in its context.
type connKey struct{}

// on has a server's connections bounded.
func (c *crowd) on(s *http.Server) {
	s.ConnState = c.changed
	s.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, conn)
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if conn, ok := r.Context().Value(connKey{}).(net.Conn); ok {
			c.asks(conn)
		}
		next.ServeHTTP(w, r)
	})
}

// changed is [http.Server.ConnState].
func (c *crowd) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.conns = append(c.conns, conn)
	case http.StateClosed:
		c.conns = slices.DeleteFunc(c.conns, func(other net.Conn) bool { return other == conn })
	}
	if len(c.conns) > connections {
		_ = c.conns[0].Close()
		c.conns = slices.Delete(c.conns, 0, 1)
	}
}

// asks makes a connection the latest one.
func (c *crowd) asks(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.conns, conn); i >= 0 {
		c.conns = append(slices.Delete(c.conns, i, i+1), conn)
	}
}

func answer(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, err.Error()+"\n")
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// ownName refuses requests for another name than this machine's. Health checks that speak HTTP/1.0 may name
// none (RFC 9112 §3.2); a browser always does.
func ownName(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isOwn(r.Host) && (r.Host != "" || r.ProtoAtLeast(1, 1)) {
			http.Error(w, "ask for an address of this machine", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOwn says whether a Host field names this machine (RFC 9110 §7.2, RFC 3986 §3.2.2).
func isOwn(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if name, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(name, "]")
	}
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

type errorLog struct{ log zerolog.Logger }

// Write implements [io.Writer] for what package http has to say.
func (e errorLog) Write(p []byte) (int, error) {
	e.log.Warn().Str("cause", string(bytes.TrimSpace(p))).Msg("a program's question could not be answered")
	return len(p), nil
}

// Println implements [promhttp.Logger].
func (e errorLog) Println(v ...any) { e.log.Warn().Any("cause", v).Msg("a metric cannot be told") }

// Serve answers until ctx ends, which cuts off what is under way, or Shutdown is called. It closes the
// listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.init()
	if s.TLS != nil {
		l = tls.NewListener(l, s.TLS)
	}
	defer context.AfterFunc(ctx, func() { _ = s.http.Close() })()
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown waits until what is under way has been answered, or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// Sessions are none: nobody logs in.
func (s *Server) Sessions() []events.Connection { return nil }
