package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/admin"
)

// started serves until the test ends, and asks with a request line's method, path and Host.
func started(t *testing.T, s *admin.Server) (ask func(method, path, host, accept string) (int, string, http.Header)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(context.Background(), l) }()
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := errors.Join(s.Shutdown(context.Background()), <-ended); err != nil {
			t.Error(err)
		}
	})
	return func(method, path, host, accept string) (int, string, http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = host
		request.Header.Set("Accept", accept)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Error(err)
		}
		return response.StatusCode, string(body), response.Header
	}
}

func TestAnswers(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "tests_total", Help: "Tests."})
	registry.MustRegister(counter)
	counter.Add(3)
	var why atomic.Pointer[string]
	ask := started(t, &admin.Server{Metrics: registry, Log: zerolog.Nop(), Ready: func() error {
		if text := why.Load(); text != nil {
			return errors.New(*text)
		}
		return nil
	}})
	for _, c := range []struct {
		method, path, host, accept string
		code                       int
		body                       string
	}{
		{"GET", "/livez", "", "", 200, "ok\n"},
		{"HEAD", "/livez", "", "", 200, ""},
		{"GET", "/readyz", "localhost:1080", "", 200, "ok\n"},
		{"GET", "/metrics", "[::1]:1080", "", 200, "\ntests_total 3"},
		{"GET", "/metrics", "127.0.0.1", "application/openmetrics-text;version=1.0.0", 200, "\n# EOF\n"},
		{"GET", "/metrics", "evil.example:1080", "", 421, ""},
		{"GET", "/livez", "192.0.2.1", "", 421, ""},
		{"GET", "/livez", "[::1]", "", 200, "ok\n"},
		{"GET", "/livez", "LocalHost", "", 200, "ok\n"},
		{"GET", "/livez", "localhost.evil.example", "", 421, ""},
		{"POST", "/livez", "", "", 405, ""},
		{"GET", "/", "", "", 404, ""},
		{"GET", "/metrics/../../etc/passwd", "", "", 404, ""},
	} {
		code, body, _ := ask(c.method, c.path, c.host, c.accept)
		if code != c.code || !strings.Contains(body, c.body) {
			t.Errorf("%s %s of %q: %d %q", c.method, c.path, c.host, code, body)
		}
	}
	text := "starting"
	why.Store(&text)
	if code, body, header := ask("GET", "/readyz", "", ""); code != 503 || body != "starting\n" || header.Get("Cache-Control") != "no-store" {
		t.Errorf("while it starts: %d %q %v", code, body, header)
	}
	if code, _, _ := ask("GET", "/livez", "", ""); code != 200 {
		t.Errorf("it does not live while it starts: %d", code)
	}
}

// TestWithoutAName: health checks that speak HTTP/1.0 name no host (RFC 9112 §3.2), as no browser does.
func TestWithoutAName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	s := &admin.Server{Metrics: prometheus.NewRegistry(), Log: zerolog.Nop(), Ready: func() error { return nil }}
	go func() { ended <- s.Serve(context.Background(), l) }()
	for request, want := range map[string]string{
		"GET /livez HTTP/1.0\r\n\r\n":                                       "200",
		"GET /livez HTTP/1.1\r\n\r\n":                                       "400",
		"GET /livez HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n":         "421",
		"GET http://evil.example/livez HTTP/1.0\r\nHost: localhost\r\n\r\n": "421",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, request)
		answer, err := io.ReadAll(conn)
		if _, rest, _ := strings.Cut(string(answer), " "); err != nil || !strings.HasPrefix(rest, want) {
			t.Errorf("%q: %q %v", request, answer, err)
		}
		_ = conn.Close()
	}
	if err := errors.Join(s.Shutdown(context.Background()), <-ended); err != nil {
		t.Error(err)
	}
}

// TestPanic: what goes wrong in an answer stands in the gateway's log, and the next one comes.
func TestPanic(t *testing.T) {
	var log safe
	ready := func() error { panic("on purpose") }
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	s := &admin.Server{Metrics: prometheus.NewRegistry(), Log: zerolog.New(&log), Ready: ready}
	go func() { ended <- s.Serve(context.Background(), l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{"/readyz": "EOF", "/livez": "<nil>"} {
		response, err := client.Get("http://" + l.Addr().String() + path)
		if err == nil {
			_ = response.Body.Close()
		}
		if !strings.HasSuffix(fmt.Sprint(err), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := errors.Join(s.Shutdown(context.Background()), <-ended); err != nil {
		t.Error(err)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "on purpose") {
		t.Errorf("the log is %q", got)
	}
}

// safe is a log for several goroutines.
type safe struct {
	mu sync.Mutex
	strings.Builder
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Builder.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Builder.String()
}

// TestServeEndsWithItsContext: the end of the context cuts off who does not go.
func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	s := &admin.Server{Metrics: prometheus.NewRegistry(), Log: zerolog.Nop(), Ready: func() error { return nil }}
	go func() { ended <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: localhost\r\n"); err != nil { // and no end
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// TestConnectionsAreBounded: whoever holds connections open costs no more than some, and keeps nobody out: the
// one that has been opened, or has asked, longest ago makes room.
func TestConnectionsAreBounded(t *testing.T) {
	const whole = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for name, request := range map[string]string{
		"idle": whole,
		"slow": "GET /livez HTTP/1.1\r\nHost: local",
		"mute": "",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			s := &admin.Server{Metrics: prometheus.NewRegistry(), Log: zerolog.Nop(), Ready: func() error { return nil }}
			go func() { ended <- s.Serve(context.Background(), l) }()
			ask := func(request string) net.Conn {
				t.Helper()
				conn, err := net.Dial("tcp", l.Addr().String())
				if err == nil {
					t.Cleanup(func() { _ = conn.Close() })
					_, err = io.WriteString(conn, request)
				}
				if err != nil {
					t.Fatal(err)
				}
				return conn
			}
			answered := func(conn net.Conn) {
				t.Helper()
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			good := ask(whole)
			answered(good)
			var held []net.Conn
			closed := make(chan int, 64)
			for i := range cap(closed) {
				conn := ask(request)
				if request == whole {
					answered(conn)
				}
				held = append(held, conn)
				go func() {
					_, _ = conn.Read(make([]byte, 1))
					closed <- i
				}()
				if i == 1 && request == whole { // it is later than the first two of them from now on
					_, _ = io.WriteString(good, whole)
					answered(good)
				}
			}
			late := ask(whole)
			answered(late)
			first := <-closed
			if request == whole { // of the others nobody knows in which order they came
				if second := <-closed; first+second != 1 {
					t.Errorf("connections %d and %d are closed", first, second)
				}
				_, _ = io.WriteString(good, whole)
				answered(good)
			}
			for _, conn := range append(held, good, late) {
				_ = conn.Close()
			}
			if err := errors.Join(s.Shutdown(context.Background()), <-ended); err != nil {
				t.Error(err)
			}
		})
	}
}
