package smtp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is what a session is by the RFCs, written down a second time and without regard for
// how the engine does it: a hello, perhaps a transaction, perhaps chunks. It says which
// reply is due, and which messages were taken.
type model struct {
	hello    string // "", "HELO", "EHLO"
	authed   bool
	mail     bool
	rcpts    []string
	chunks   *string // what BDAT has brought so far
	accepted []string
}

func (m *model) reset() { m.mail, m.rcpts, m.chunks = false, nil, nil }

// outcome of a message, by what the backend and the rules make of it.
func (m *model) finish(content string) int {
	rcpts := m.rcpts
	m.reset()
	switch {
	case strings.Contains(content, "bare\n"):
		return 550
	case len(content) > modelSize:
		return 552
	case strings.Contains(content, "refuse"):
		return 554
	case strings.Contains(content, "burn"):
		return 451
	}
	m.accepted = append(m.accepted, strings.Join(rcpts, ",")+"|"+content)
	return 250
}

const modelSize = 60

// modelBackend refuses what says so in itself.
func modelBackend() *fake {
	f := plainBackend()
	f.mail = func(from string, _ MailOptions) error { return modelError(from) }
	f.rcpt = modelError
	f.traced = func(trace string, body io.Reader) (string, error) {
		b, err := io.ReadAll(body)
		if err != nil {
			return "", err
		}
		text := string(b)
		if err := modelError(text); err != nil {
			return "", err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.messages = append(f.messages, message{trace: trace, body: text})
		return "", nil
	}
	return f
}

func modelError(s string) error {
	switch {
	case strings.Contains(s, "refuse"):
		return &Error{Code: 554, Enhanced: "5.7.1", Text: "refused"}
	case strings.Contains(s, "later"):
		return &Error{Code: 450, Enhanced: "4.2.0", Text: "later"}
	case strings.Contains(s, "burn"):
		return io.ErrClosedPipe
	}
	return nil
}

// step is one thing a client does, with all the replies that are due.
type step struct {
	raw  string
	want []int
}

// steps makes one of everything a client may do, in any order, and has the model say what
// it is answered.
func (m *model) step(t *rapid.T) step {
	one := func(raw string, code int) step { return step{raw + "\r\n", []int{code}} }
	name := rapid.SampledFrom([]string{"ok", "ok", "ok", "refuse", "later", "burn"}).Draw(t, "name")
	codes := map[string]int{"ok": 250, "refuse": 554, "later": 450, "burn": 451}
	switch verb := rapid.SampledFrom([]string{
		"EHLO", "EHLO", "HELO", "MAIL", "MAIL", "MAIL", "RCPT", "RCPT", "RCPT", "DATA", "DATA", "BDAT", "BDAT", "BDAT", "RSET", "NOOP", "VRFY", "AUTH", "X", "badhello",
	}).Draw(t, "verb"); verb {
	case "EHLO", "HELO":
		m.reset()
		m.hello = verb
		return one(verb+" c", 250)
	case "badhello":
		return one("EHLO", 501)
	case "MAIL":
		return one("MAIL FROM:<"+name+"@b.example>", m.onMail(codes[name]))
	case "RCPT":
		return one("RCPT TO:<"+name+"@mx.example>", m.onRcpt(name, codes[name]))
	case "DATA":
		return m.onData(t)
	case "BDAT":
		return m.onBdat(t)
	case "RSET":
		m.reset()
		return one("RSET", 250)
	case "AUTH":
		return one("AUTH PLAIN AHVzZXIAc2VzYW1l", m.onAuth())
	case "NOOP":
		return one("NOOP", 250)
	case "VRFY":
		return one("VRFY x", 252)
	}
	return one("X", 500)
}

func (m *model) onMail(code int) int {
	if m.hello == "" || m.mail {
		return 503
	}
	m.mail = code == 250
	return code
}

func (m *model) onRcpt(name string, code int) int {
	if !m.mail || m.chunks != nil {
		return 503
	}
	if code == 250 {
		m.rcpts = append(m.rcpts, name+"@mx.example")
	}
	return code
}

func (m *model) onAuth() int {
	if m.hello != "EHLO" || m.authed || m.mail {
		return 503
	}
	m.authed = true
	return 235
}

func drawContent(t *rapid.T) string {
	return rapid.SampledFrom([]string{
		"", "x\r\n", "x\r\n", "bare\n\r\n", "refuse\r\n", "burn\r\n", "QUIT\r\n", "RCPT TO:<smuggled@mx.example>\r\n", strings.Repeat("x", 59) + "\r\n", strings.Repeat("x", 58) + "\r\n",
	}).Draw(t, "content")
}

func (m *model) onData(t *rapid.T) step {
	switch {
	case !m.mail || m.chunks != nil:
		return step{"DATA\r\n", []int{503}}
	case len(m.rcpts) == 0:
		return step{"DATA\r\n", []int{554}}
	}
	content := drawContent(t)
	return step{"DATA\r\n" + content + ".\r\n", []int{354, m.finish(content)}}
}

func (m *model) onBdat(t *rapid.T) step {
	content, last := drawContent(t), rapid.Bool().Draw(t, "last")
	s := step{raw: fmt.Sprintf("BDAT %d\r\n%s", len(content), content)}
	if last {
		s.raw = fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content)
	}
	if !m.mail || len(m.rcpts) == 0 {
		s.want = []int{503}
		return s
	}
	if m.chunks == nil {
		m.chunks = new(string)
	}
	*m.chunks += content
	switch whole := *m.chunks; {
	case len(whole) > modelSize: // counted before the octets are looked at
		m.reset()
		s.want = []int{552}
	case strings.Contains(whole, "bare\n"):
		m.reset()
		s.want = []int{550}
	case last:
		s.want = []int{m.finish(whole)}
	default:
		s.want = []int{250}
	}
	return s
}

// Whatever a client sends, in whatever order and however it is cut: the engine answers as
// the model does, calls the backend in order, and takes the messages that the model takes.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := modelBackend()
		s := testServer(f)
		s.AllowInsecureAuth = true
		s.Limits = Limits{MessageSize: modelSize, Errors: -1, Refusals: -1}
		l := newPipeListener()
		var served sync.WaitGroup
		served.Go(func() { _ = s.Serve(context.Background(), l) })
		defer served.Wait()
		defer func() { _ = s.Shutdown(context.Background()) }()

		m := &model{}
		var raw strings.Builder
		want := []int{220}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			st := m.step(t)
			raw.WriteString(st.raw)
			want = append(want, st.want...)
		}
		raw.WriteString("QUIT\r\n")
		want = append(want, 221)

		got := conversation(t, l, raw.String(), rapid.IntRange(1, 200).Draw(t, "cut"))
		if !slices.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v\nfor %q", got, want, raw.String())
		}
		_ = s.Shutdown(context.Background())
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.faults) > 0 || f.closed != 1 {
			t.Fatalf("%q, closed %d times", f.faults, f.closed)
		}
		checkAccepted(t, f, m)
	})
}

// conversation sends in pieces, and reads all the while.
func conversation(t *rapid.T, l *pipeListener, raw string, cut int) []int {
	client, server := net.Pipe()
	defer client.Close()
	l.conns <- server
	_ = client.SetDeadline(time.Now().Add(2 * time.Minute))
	var sent sync.WaitGroup
	sent.Go(func() {
		for part := range slices.Chunk([]byte(raw), cut) {
			if _, err := client.Write(part); err != nil {
				return
			}
		}
	})
	defer sent.Wait()
	defer client.Close()
	var codes []int
	r := bufio.NewReader(client)
	for {
		code, _, err := readReply(r)
		if err == io.EOF {
			return codes
		} else if err != nil {
			t.Fatalf("%v after %v", err, codes)
		}
		codes = append(codes, code)
	}
}

func checkAccepted(t *rapid.T, f *fake, m *model) {
	if len(f.messages) != len(m.accepted) {
		t.Fatalf("%d messages, want %d", len(f.messages), len(m.accepted))
	}
	for i, want := range m.accepted {
		rcpts, content, _ := strings.Cut(want, "|")
		got, trace := f.messages[i].body, f.messages[i].trace
		if content != "" && !strings.HasSuffix(content, "\r\n") {
			content += "\r\n"
		}
		if got != content {
			t.Fatalf("message %d: got %q, want %q", i, got, content)
		}
		if one := !strings.Contains(rcpts, ","); one != strings.Contains(trace, "for <"+rcpts+">") {
			t.Fatalf("message %d: got %q, for %s", i, trace, rcpts)
		}
	}
}
