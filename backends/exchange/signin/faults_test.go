//go:build linux

package signin_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/test/harness"
)

// hangUp ends the connection of a request without an answer. It is called in the server.
func hangUp(t *testing.T, w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_ = conn.Close()
}

// must asks, and has to be answered.
func (s *site) must(l *signin.Login) {
	s.t.Helper()
	if got, err := ask(s.t, l, s.URL+"/mapi/x", "there"); err != nil || got != "200 hello there" {
		s.t.Fatal(got, err)
	}
}

// TestLoginEnded: where the server has forgotten the login of a connection, or has ended the connection, it is signed in again, and
// nothing is refused.
func TestLoginEnded(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*site)
		want string
	}{
		{"the login", func(s *site) { clear(s.signedIn) }, "5, NTLM 0, NTLM 5"},
		{"the connection", func(s *site) { s.CloseClientConnections() }, "NTLM 0, NTLM 5"},
		{"both", func(s *site) { clear(s.signedIn); s.CloseClientConnections() }, "NTLM 0, NTLM 5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, "NTLM")
			l := s.login(signin.Config{}, george)
			s.must(l)
			s.came()
			s.mu.Lock()
			test.end(s)
			s.mu.Unlock()
			harness.Eventually(t, time.Minute, "the end of the connection is seen, and the login begins anew", func() bool {
				_, err := ask(t, l, s.URL+"/mapi/x", "there")
				if backends.KindOf(err) == backends.BadCredentials {
					t.Fatal(err)
				}
				return err == nil
			})
			if got := s.came(); got != test.want || s.judged != 2 {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestStream: a body that cannot be read twice is sent once it is certain that the connection is signed in. Where the server forgets
// the login at that moment, the request fails as one that passes.
func TestStream(t *testing.T) {
	s := serve(t, "NTLM")
	l := s.login(signin.Config{}, george)
	send := func() error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/EWS/x", struct{ io.Reader }{strings.NewReader("there")})
		if err != nil {
			t.Fatal(err)
		}
		response, err := l.RoundTrip(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			err = response.Body.Close()
		}
		return err
	}
	for range 2 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	s.mu.Lock()
	clear(s.signedIn)
	s.mu.Unlock()
	if err := send(); backends.KindOf(err) != backends.Temporary {
		t.Error(err)
	}
	s.CloseClientConnections()
	harness.Eventually(t, time.Minute, "the end of the connection is seen, and nothing was sent on it", func() bool { return send() == nil })
}

// TestRestart: a server that goes away in the middle of a login has refused nothing.
func TestRestart(t *testing.T) {
	for _, at := range []int{1, 2} {
		s := serve(t, "NTLM")
		s.hook = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == at {
				hangUp(t, w)
			}
			return n == at
		}
		l := s.login(signin.Config{Method: signin.NTLM}, george)
		if _, err := ask(t, l, s.URL+"/mapi/x", "there"); err == nil || backends.KindOf(err) == backends.BadCredentials {
			t.Errorf("at %d: %v", at, err)
		}
		s.must(l)
		if s.judged != 1 {
			t.Errorf("at %d: judged %d times", at, s.judged)
		}
	}
}

// TestClosedAfterChallenge: a connection that ends between the steps is tried anew a few times, and the last word is no wrong password.
func TestClosedAfterChallenge(t *testing.T) {
	for _, test := range []struct {
		times int
		kind  backends.Kind
	}{{1, 0}, {100, backends.Temporary}} {
		s := serve(t, "NTLM")
		closed := 0
		s.hook = func(w http.ResponseWriter, r *http.Request, _ int) bool {
			token, negotiating := strings.CutPrefix(r.Header.Get("Authorization"), "NTLM ")
			message, _ := base64.StdEncoding.DecodeString(token)
			if !negotiating || message[8] != 1 || closed == test.times {
				return false
			}
			closed++
			w.Header().Set("Connection", "close")
			w.Header().Set("WWW-Authenticate", "NTLM "+base64.StdEncoding.EncodeToString(challenge("12345678")))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		l := s.login(signin.Config{Method: signin.NTLM}, george)
		if _, err := ask(t, l, s.URL+"/mapi/x", "there"); backends.KindOf(err) != test.kind {
			t.Errorf("%d times: %v", test.times, err)
		}
		if closed > 3 {
			t.Errorf("tried %d times", closed)
		}
	}
}

// TestHangUpAfterChallenge: the last step of a login goes on the connection that the challenge came by, and on no other where that
// was ended without a word.
func TestHangUpAfterChallenge(t *testing.T) {
	for range 20 {
		s := serve(t, "NTLM")
		hungUp := false
		s.hook = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			if hungUp {
				return false
			}
			hungUp = true
			conn, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return true
			}
			_, _ = fmt.Fprintf(out, "HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: NTLM %s\r\n\r\n",
				base64.StdEncoding.EncodeToString(challenge("12345678")))
			_ = out.Flush()
			_ = conn.Close()
			return true
		}
		l := s.login(signin.Config{Method: signin.NTLM}, george)
		if _, err := ask(t, l, s.URL+"/mapi/x", "there"); backends.KindOf(err) == backends.BadCredentials {
			t.Error(err)
		}
		s.must(l) // and no message was sent that the server does not expect
	}
}

// TestHostileServer: a challenge with lengths that lie, or that is none, costs the request.
func TestHostileServer(t *testing.T) {
	for _, message := range []string{"", "NTLMSSP\x00\x02\x00\x00\x00", string(challenge("12345678")[:60]), strings.Repeat("x", 10_000)} {
		s := serve(t, "NTLM")
		s.hook = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("WWW-Authenticate", "NTLM "+base64.StdEncoding.EncodeToString([]byte(message)))
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if _, err := ask(t, s.login(signin.Config{Method: signin.NTLM}, george), s.URL+"/mapi/x", "there"); backends.KindOf(err) != backends.Temporary {
			t.Errorf("%.20q: %v", message, err)
		}
	}
}

// TestConnections: a connection belongs to its login, there are no more than were allowed, and what has answered 5xx is not used again.
func TestConnections(t *testing.T) {
	s := serve(t, "NTLM")
	seen := map[string]bool{}
	s.hook = func(w http.ResponseWriter, r *http.Request, _ int) bool {
		seen[r.RemoteAddr] = true
		if r.URL.Path == "/mapi/broken" && s.signedIn[r.RemoteAddr] {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	}
	one := s.login(signin.Config{Connections: 2}, george)
	s.must(one)
	s.must(one.Again())
	if len(seen) != 2 {
		t.Errorf("two logins have %d connections", len(seen))
	}
	var running, most atomic.Int32
	done := make(chan error)
	for range 10 {
		go func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/mapi/x", nil)
			response, err := one.RoundTrip(r)
			if err == nil {
				most.Store(max(most.Load(), running.Add(1)))
				_, _ = io.Copy(io.Discard, response.Body)
				running.Add(-1)
				err = response.Body.Close()
			}
			done <- err
		}()
	}
	for range 10 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > 2 || len(seen) > 3 {
		t.Errorf("%d at once, %d connections", most.Load(), len(seen))
	}
	l := one.Again()
	s.must(l)
	before := len(seen)
	if got, err := ask(t, l, s.URL+"/mapi/broken", ""); err != nil || !strings.HasPrefix(got, "502") {
		t.Error(got, err)
	}
	s.must(l)
	if len(seen) != before+1 {
		t.Errorf("a connection that has answered 502 was used again")
	}
}

// TestWaits: who waits for a connection waits no longer than its context.
func TestWaits(t *testing.T) {
	s := serve(t, `Basic realm="x"`)
	l := s.login(signin.Config{Connections: 1}, george)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/mapi/x", nil)
	response, err := l.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.RoundTrip(r.WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = response.Body.Close()
	s.must(l)
}

// TestNowhereElse: a credential goes to its server, over TLS that somebody has verified.
func TestNowhereElse(t *testing.T) {
	s := serve(t, `Basic realm="x"`)
	l := s.login(signin.Config{}, george)
	for _, url := range []string{"https://elsewhere.example/mapi/", strings.Replace(s.URL, "https", "http", 1) + "/mapi/"} {
		if _, err := ask(t, l, url, "there"); backends.KindOf(err) != backends.Permanent {
			t.Errorf("%s: %v", url, err)
		}
	}
	blind := s.login(signin.Config{TLS: &tls.Config{InsecureSkipVerify: true}}, george)
	if _, err := ask(t, blind, s.URL+"/mapi/x", "there"); backends.KindOf(err) != backends.Permanent || s.judged != 0 {
		t.Error(err)
	}
	for _, url := range []string{"http://mail.sakes.example", "https://u:p@mail.sakes.example", "mail.sakes.example", "https://"} {
		if _, err := signin.New(signin.Config{URL: url}); err == nil {
			t.Errorf("%s is taken", url)
		}
	}
}

// TestWhatWindowsTells: a status in a refusal is told, where there is one.
func TestWhatWindowsTells(t *testing.T) {
	for _, test := range []struct {
		says string
		kind backends.Kind
		log  string
	}{
		{"Error 0x80070532", backends.PasswordExpired, "expired"},
		{"STATUS 0xC0000234", backends.BadCredentials, "locked"},
		{"0x80090346", backends.Permanent, "channel binding"},
		{"no", backends.BadCredentials, "Extended Protection"},
	} {
		s := serve(t, "NTLM")
		s.hook = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n == 2 {
				w.Header().Set("WWW-Authenticate", "NTLM")
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, test.says)
			}
			return n == 2
		}
		_, err := ask(t, s.login(signin.Config{Method: signin.NTLM}, george), s.URL+"/mapi/x", "there")
		if backends.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.log) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", test.says, err)
		}
	}
}

// TestOfferChanges: a server that takes other methods from now on is signed in to by one of those.
func TestOfferChanges(t *testing.T) {
	s := serve(t, "NTLM")
	one := s.login(signin.Config{}, george)
	s.must(one)
	s.mu.Lock()
	s.offers = []string{`Basic realm="x"`}
	clear(s.signedIn)
	s.mu.Unlock()
	s.must(one)
	s.must(one.Again())
}
