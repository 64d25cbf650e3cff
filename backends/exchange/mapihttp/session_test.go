package mapihttp

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/exchange/signin"
)

// exchange is a recorded request with its reply.
type exchange struct {
	Name              string
	Request, Response struct {
		Line    string
		Headers [][2]string
		Body    string `json:"body_hex"`
	}
}

func recorded(t *testing.T, file string) []exchange {
	t.Helper()
	raw, err := os.ReadFile("../testdata/mapi/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var r struct{ Exchanges []exchange }
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	return r.Exchanges
}

func header(fields [][2]string, name string) (values []string) {
	for _, f := range fields {
		if strings.EqualFold(f[0], name) {
			values = append(values, f[1])
		}
	}
	return values
}

// answer sends a recorded response.
func (x exchange) answer(t *testing.T, w http.ResponseWriter) {
	for _, name := range []string{"Set-Cookie", "X-ResponseCode", "Content-Type", "WWW-Authenticate"} {
		for _, value := range header(x.Response.Headers, name) {
			w.Header().Add(name, value)
		}
	}
	var status int
	if _, err := fmt.Sscanf(x.Response.Line, "HTTP/1.1 %d", &status); err != nil {
		t.Error(err)
	}
	w.WriteHeader(status)
	octets, _ := hex.DecodeString(x.Response.Body)
	_, _ = w.Write(octets)
}

// serve starts a server, and returns how it is reached.
func serve(t *testing.T, handler http.HandlerFunc) Config {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig
	signIn, err := signin.New(signin.Config{URL: server.URL, TLS: trust, Method: signin.Basic})
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		URL:       server.URL + "/mapi/emsmdb/?MailboxId=george@sakes.example",
		Transport: signIn.Login(signin.Credential{User: "george@sakes.example", Password: "george-pw-1"}),
	}
}

// success is a response body behind its meta-tags.
const success = "PROCESSING\r\nDONE\r\nX-ElapsedTime: 0\r\n\r\n"

// connected is the reply to Connect.
var connected = success + strings.Repeat("\x00", 8) + strings.Repeat("\x01\x00\x00\x00", 3) + "/o=Sakes\x00" + "G\x00\x00\x00" + "\x00\x00\x00\x00"

// answering is a server that connects, and answers everything else with next.
func answering(t *testing.T, next http.HandlerFunc) Config {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-RequestType") != "Connect" {
			next(w, r)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "MapiContext", Value: "c1"})
		w.Header().Set("X-ResponseCode", "0")
		_, _ = io.WriteString(w, connected)
	})
}

func connect(t *testing.T, c Config) *Session {
	t.Helper()
	s, err := Connect(t.Context(), c, "/o=Sakes/cn=Recipients/cn=george")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func kindOf(err error) backends.Kind {
	if err == nil {
		return 0
	}
	return backends.AsFailure(err).Kind
}

// TestRecordedSession sends what was recorded, octet for octet, and reads what was answered.
func TestRecordedSession(t *testing.T) {
	all := recorded(t, "01-connect-ping-disconnect.json")[2:]
	var mu sync.Mutex
	sent := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		x := all[sent]
		sent++
		body, _ := io.ReadAll(r.Body)
		if want := x.Request.Body; hex.EncodeToString(body) != want {
			t.Errorf("%s: %x, want %s", x.Name, body, want)
		}
		for _, name := range []string{"X-RequestType", "Content-Type", "Cookie", "Authorization", "X-ClientApplication", "Accept"} {
			if got, want := strings.Join(r.Header.Values(name), ","), strings.Join(header(x.Request.Headers, name), ","); got != want {
				t.Errorf("%s: %s is %q, want %q", x.Name, name, got, want)
			}
		}
		if id := r.Header.Get("X-RequestId"); !strings.HasSuffix(id, fmt.Sprintf("}:%d", sent)) || r.Header.Get("X-ClientInfo") == "" {
			t.Errorf("X-RequestId %q, X-ClientInfo %q", id, r.Header.Get("X-ClientInfo"))
		}
		x.answer(t, w)
	})
	const dn = "/o=Gromox default/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/cn=0100000001000000-george"
	s, err := Connect(t.Context(), c, dn)
	if err != nil || s.DisplayName != "George Sakes" || s.Generation() != 1 {
		t.Fatal(s, err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	var b rop.Batch
	logon, reply := rop.Enter(&b, 0, &rop.Logon{
		LogonFlags: rop.LogonPrivate, OpenFlags: rop.OpenPerMDBReplicas | rop.OpenTakeOwnership | rop.OpenHomeLogon, Essdn: dn,
	})
	if err := (&rop.Session{Transport: s}).Do(t.Context(), &b); err != nil || b.Err() != nil || !logon.Opened() {
		t.Fatal(err, b.Err())
	}
	if id := reply.FolderIDs[rop.FolderInbox]; id.Replica != 1 || id.Counter != [6]byte{5: 0x0D} {
		t.Errorf("the Inbox is %+v", id)
	}
	if err := s.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, rop.ErrLost) {
		t.Error(err)
	}
}

// TestRecordedFailures has recorded replies to Connect that are no success.
func TestRecordedFailures(t *testing.T) {
	all := map[string]exchange{}
	for _, x := range append(recorded(t, "20-errors-http.json"), recorded(t, "01-connect-ping-disconnect.json")...) {
		all[x.Name] = x
	}
	for _, test := range []struct {
		name string
		kind backends.Kind
		code error
	}{
		{"bad password", backends.BadCredentials, nil},
		{"401 challenge", backends.BadCredentials, nil},
		{"wrong UserDn", backends.Temporary, rop.Code(0x80040115)},
		{"another's UserDn", backends.Permanent, rop.AccessDenied},
		{"empty UserDn", backends.Permanent, rop.AccessDenied},
		{"no MailboxId", backends.Unsupported, nil},
		{"body too short", backends.Temporary, rop.ErrLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			x, ok := all[test.name]
			if !ok {
				t.Fatal("there is no such recording")
			}
			s, err := Connect(t.Context(), serve(t, func(w http.ResponseWriter, _ *http.Request) { x.answer(t, w) }), "")
			if kindOf(err) != test.kind || test.code != nil && !errors.Is(err, test.code) {
				t.Errorf("%v, %v", s, err)
			}
			if err != nil && strings.Contains(err.Error(), "george-pw-1") {
				t.Error("the password is in the error")
			}
		})
	}
}

// TestFailures has what may become of an Execute, and whether the session context is lost by it.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		kind   backends.Kind
		lost   bool
		after  time.Duration
	}{
		{"the server is busy", status(http.StatusServiceUnavailable, "Retry-After", "7"), backends.Throttled, false, 7 * time.Second},
		{"too many requests", status(http.StatusTooManyRequests, "Retry-After", "1"), backends.Throttled, false, time.Second},
		{"a proxy's word", status(http.StatusBadGateway), backends.Uncertain, true, 0},
		{"a request that was never read", status(http.StatusRequestTimeout), backends.Temporary, true, 0},
		{"not allowed", status(http.StatusForbidden), backends.Permanent, false, 0},
		{"switched off", status(http.StatusNotFound), backends.Unsupported, false, 0},
		{"somewhere else", status(http.StatusFound, "Location", "https://elsewhere.example/"), backends.Temporary, false, 0},
		{"a bad request", status(http.StatusBadRequest), backends.Temporary, false, 0},
		{"no X-ResponseCode", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, success) }, backends.Uncertain, true, 0},
		{"context not found", answerWith("10", "gone"), backends.Temporary, true, 0},
		{"a code behind the meta-tags", answerWith("0", "PROCESSING\r\nDONE\r\nX-ResponseCode: 1\r\n\r\nsorry"), backends.Uncertain, true, 0},
		{"a code that is no number", answerWith("zero", success), backends.Uncertain, true, 0},
		{"no meta-tags", answerWith("0", "\x00\x00\x00\x00"), backends.Uncertain, true, 0},
		{"too busy", answerWith("0", success+"\xbb\x06\x00\x00\x00\x00\x00\x00"), backends.Throttled, false, 0},
		{"not understood", answerWith("0", success+strings.Repeat("\x00", 4)+"\xb6\x04\x00\x00"+strings.Repeat("\x00", 12)), backends.Temporary, false, 0},
		{"cut short", answerWith("0", success+strings.Repeat("\x00", 12)+"\x09\x00\x00\x00"), backends.Uncertain, true, 0},
		{"too many cookies", func(w http.ResponseWriter, _ *http.Request) {
			for i := range cookiesMost + 1 {
				http.SetCookie(w, &http.Cookie{Name: fmt.Sprint("c", i), Value: "x"})
			}
			w.Header().Set("X-ResponseCode", "0")
		}, backends.Uncertain, true, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := connect(t, answering(t, test.answer))
			_, err := s.Execute(t.Context(), 0, nil, 100)
			if kindOf(err) != test.kind || backends.AsFailure(err).RetryAfter != test.after || errors.Is(err, rop.ErrLost) != test.lost {
				t.Errorf("%v", err)
			}
			if _, again := s.Execute(t.Context(), 0, nil, 100); errors.Is(again, rop.ErrLost) != test.lost {
				t.Errorf("then %v", again)
			}
		})
	}
}

func status(code int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(code)
	}
}

func answerWith(code, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-ResponseCode", code)
		_, _ = io.WriteString(w, body)
	}
}

// TestCutOff has replies that end before their end, at each octet of one.
func TestCutOff(t *testing.T) {
	body := success + strings.Repeat("\x00", 12) + "\x04\x00\x00\x00" + "data" + "\x00\x00\x00\x00"
	for n := 0; n < len(body); n += 5 {
		s := connect(t, answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-ResponseCode", "0")
			_, _ = io.WriteString(w, body[:n])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}))
		if got, err := s.Execute(t.Context(), 0, nil, 100); !errors.Is(err, rop.ErrLost) || kindOf(err) != backends.Uncertain {
			t.Errorf("at %d: %q, %v", n, got, err)
		}
		s.Close()
	}
	s := connect(t, answering(t, answerWith("0", body)))
	if got, err := s.Execute(t.Context(), 0, nil, 100); err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestRevive connects anew when the server has forgotten the session context.
func TestRevive(t *testing.T) {
	var mu sync.Mutex
	forgotten := false
	s := connect(t, answering(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if cookie, err := r.Cookie("MapiContext"); err != nil || cookie.Value != "c1" {
			t.Errorf("cookie %v, %v", cookie, err)
		}
		if forgotten = !forgotten; forgotten {
			answerWith("10", "")(w, r)
			return
		}
		answerWith("0", success)(w, r)
	}))
	if err := s.Ping(t.Context()); !errors.Is(err, rop.ErrLost) {
		t.Fatal(err)
	}
	for range 2 { // once is enough
		if err := s.Revive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ping(t.Context()); err != nil || s.Generation() != 2 {
		t.Error(err, s.Generation())
	}
}

func TestWait(t *testing.T) {
	event := success + strings.Repeat("\x00", 8) + "\x01\x00\x00\x00" + "\x00\x00\x00\x00"
	t.Run("an event", func(t *testing.T) {
		release := make(chan struct{})
		s := connect(t, answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-ResponseCode", "0")
			if r.Header.Get("X-RequestType") == "PING" {
				_, _ = io.WriteString(w, success)
				close(release)
				return
			}
			_, _ = io.WriteString(w, "PROCESSING\r\nPENDING")
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, "PENDING\r\n"+event)
		}))
		waited := make(chan error, 1)
		go func() {
			pending, err := s.Wait(t.Context())
			if err == nil && !pending {
				err = errors.New("there is no event")
			}
			waited <- err
		}()
		if err := s.Ping(t.Context()); err != nil { // while the other waits
			t.Error(err)
		}
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
	t.Run("given up", func(t *testing.T) {
		s := connect(t, answering(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if pending, err := s.Wait(ctx); err == nil || pending {
			t.Error(pending, err)
		}
	})
	t.Run("never an end", func(t *testing.T) {
		c := answering(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-ResponseCode", "0")
			_, _ = io.WriteString(w, "PROCESSING\r\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		})
		s := connect(t, c)
		s.waiter.config.Most = time.Millisecond
		if pending, err := s.Wait(t.Context()); err != nil || pending {
			t.Error(pending, err)
		}
	})
}

// TestSilence gives a server up that says nothing.
func TestSilence(t *testing.T) {
	s := connect(t, answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	s.caller.config.Timeout = time.Millisecond
	if _, err := s.Execute(t.Context(), 0, nil, 100); !errors.Is(err, ErrSilent) || kindOf(err) != backends.Uncertain {
		t.Error(err)
	}
}

// TestGivenUp gives a request up: the session context is ended when the server has answered it, and another one is made. One that is
// not answered is left to the server.
func TestGivenUp(t *testing.T) {
	for _, answered := range []bool{true, false} {
		t.Run(fmt.Sprint(answered), func(t *testing.T) {
			asked, answer, ended := make(chan struct{}), make(chan struct{}), make(chan string, 1)
			s := connect(t, answering(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-RequestType") == "Disconnect" {
					c, _ := r.Cookie("MapiContext")
					ended <- c.Value
				} else {
					close(asked)
					select {
					case <-answer:
					case <-r.Context().Done():
						return
					}
					http.SetCookie(w, &http.Cookie{Name: "MapiContext", Value: "c2"})
				}
				w.Header().Set("X-ResponseCode", "0")
				_, _ = io.WriteString(w, success+strings.Repeat("\x00", 20))
			}))
			if !answered {
				s.patience = time.Millisecond
			}
			ctx, giveUp := context.WithCancelCause(t.Context())
			go func() {
				<-asked
				giveUp(backends.Fail(backends.Temporary, "the maildrop is closed"))
			}()
			// Whatever it was given up for, what the server has done is not known.
			if _, err := s.Execute(ctx, 0, nil, 100); !errors.Is(err, rop.ErrLost) || kindOf(err) != backends.Uncertain {
				t.Error(err)
			}
			if answered {
				close(answer)
			}
			if err := s.Revive(t.Context()); err != nil || s.Generation() != 2 {
				t.Error(err, s.Generation())
			}
			select {
			case cookie := <-ended:
				if !answered || cookie != "c2" {
					t.Errorf("ended with the cookie %q", cookie)
				}
			default:
				if answered {
					t.Error("the session context was not ended")
				}
			}
		})
	}
}

// TestConnectGivenUp gives a Connect up: what the server makes of it all the same is ended.
func TestConnectGivenUp(t *testing.T) {
	asked, gone, ended := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-ResponseCode", "0")
		if r.Header.Get("X-RequestType") == "Connect" {
			close(asked)
			http.SetCookie(w, &http.Cookie{Name: "MapiContext", Value: "c1"})
			_, _ = io.WriteString(w, connected[:len(success)])
			_ = http.NewResponseController(w).Flush()
			<-gone
			_, _ = io.WriteString(w, connected[len(success):])
			return
		}
		cookie, _ := r.Cookie("MapiContext")
		_, _ = io.WriteString(w, success+strings.Repeat("\x00", 12))
		ended <- cookie.Value
	})
	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		<-asked
		giveUp()
	}()
	if _, err := Connect(ctx, c, "/o=Sakes/cn=Recipients/cn=george"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(gone)
	if cookie := <-ended; cookie != "c1" {
		t.Errorf("ended with the cookie %q", cookie)
	}
}

// TestTurn waits for one's turn no longer than the context lasts.
func TestTurn(t *testing.T) {
	s := connect(t, answering(t, answerWith("0", success)))
	_ = s.turn.Take(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	s.turn.Pass()
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestURL refuses end points that would be told the password in the clear.
func TestURL(t *testing.T) {
	for _, url := range []string{"http://mail.sakes.example/mapi/emsmdb/", "mail.sakes.example", "https://user:secret@mail.sakes.example/", "https:///", ":"} {
		if s, err := Connect(t.Context(), Config{URL: url}, ""); kindOf(err) != backends.Permanent || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", url, s, err)
		}
	}
}

func TestReadMeta(t *testing.T) {
	for _, test := range []struct{ name, octets, body, want string }{
		{"at once", success + "body", "body", ""},
		{"PENDING in lines", "PROCESSING\r\nPENDING\r\nPENDING\r\nDONE\r\n\r\nbody", "body", ""},
		{"PENDING without line ends", "PROCESSING\r\nPENDINGPENDINGPROCESSING\r\nDONE\r\nX-A: b\r\n\r\n\r\n\r\n", "\r\n\r\n", ""},
		{"nothing", "", "", "no empty line"},
		{"no end", "PROCESSING\r\n", "", "no empty line"},
		{"too long", strings.Repeat("PENDING", metaMost), "", "no empty line in"},
		{"no DONE", "PROCESSING\r\n\r\n", "", "there is no DONE"},
		{"something else", "HELLO\r\nDONE\r\n\r\n", "", "HELLO"},
		{"a field too early", "X-A: b\r\nDONE\r\n\r\n", "", "X-A"},
		{"no field", "DONE\r\nhello\r\n\r\n", "", "hello"},
		{"too large", success + strings.Repeat("x", bodyMost+1), "", "more than 4194304"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readMeta(strings.NewReader(test.octets))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || string(got.body) != test.body {
				t.Errorf("%d octets, %v", len(got.body), err)
			}
		})
	}
}

// FuzzReadMeta reads anything as a reply.
func FuzzReadMeta(f *testing.F) {
	f.Add([]byte(success + "body"))
	f.Add([]byte("PROCESSING\r\nPENDINGPENDINGPROCESSING\r\nDONE\r\nX-ResponseCode: 7\r\n\r\n"))
	f.Fuzz(func(t *testing.T, octets []byte) {
		got, err := readMeta(bytes.NewReader(octets))
		if err == nil && !bytes.HasSuffix(octets, append([]byte("\r\n\r\n"), got.body...)) {
			t.Errorf("%q of %q", got.body, octets)
		}
	})
}
