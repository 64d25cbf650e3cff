package smtp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

// readMessage gives raw to the reader of a message in steps, and what it leaves.
func readMessage(raw string, limits Limits, normalise bool, step func() int) (content, rest string, ended bool, err error) {
	in := newInput(newPools())
	r := strings.NewReader(raw)
	fill := func() error {
		if in.filled() {
			in.grow()
		}
		return in.fill(io.LimitReader(r, int64(step())))
	}
	src := &dotSource{in: in, fill: fill}
	b := newBody(src, canonical{limits: limits.withDefaults(), normalise: normalise}, "", func() {})
	got, err := io.ReadAll(onlyReader{b})
	allowance := int64(1 << 40)
	b.drain(true, &allowance, func() bool { return !b.ended })
	left, _ := io.ReadAll(r)
	return string(got), string(in.unread()) + string(left), b.ended, err
}

// onlyReader hides WriteTo.
type onlyReader struct{ io.Reader }

// What ends a message and what does not, octet by octet.
func TestEndOfData(t *testing.T) {
	bare, cut := error(errBareNewline), io.ErrUnexpectedEOF
	for _, c := range []struct {
		raw, content, normalised, rest string
		err                            error // when bare newlines are rejected
	}{
		{raw: ".\r\nQUIT", content: "", normalised: "", rest: "QUIT"},
		{raw: "a\r\n.\r\nQUIT", content: "a\r\n", normalised: "a\r\n", rest: "QUIT"},
		{raw: "\r\n.\r\n", content: "\r\n", normalised: "\r\n"},
		{raw: "..\r\n.\r\n", content: ".\r\n", normalised: ".\r\n"},
		{raw: "...\r\n.\r\n", content: "..\r\n", normalised: "..\r\n"},
		{raw: ".x\r\n.\r\n", content: "x\r\n", normalised: "x\r\n"},
		{raw: "a.\r\n.\r\n", content: "a.\r\n", normalised: "a.\r\n"},
		{raw: "a\r\n..\r\n.\r\n", content: "a\r\n.\r\n", normalised: "a\r\n.\r\n"},
		{raw: "a\r\n. \r\n.\r\n", content: "a\r\n \r\n", normalised: "a\r\n \r\n"},
		{raw: "\x00\xff\r\n.\r\n", content: "\x00\xff\r\n", normalised: "\x00\xff\r\n"},
		// The end that go-smtp misses, eating QUIT.
		{raw: "a\r\r\n.\r\nQUIT", err: bare, normalised: "a\r\n", rest: "QUIT"},
		{raw: "a\r\r\r\n.\r\nQUIT", err: bare, normalised: "a\r\n\r\n", rest: "QUIT"},
		// The ends that net/textproto takes for one.
		{raw: "a\n.\r\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\n.\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n.\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n\r\nMAIL\r\n", rest: "R"},
		{raw: "a\n\n.\n\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n\r\n.\r\n\r\nMAIL\r\n", rest: "R"},
		// Others that have been tried on servers.
		{raw: "a\r.\r\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r.\rMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\n.\rMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n.\rMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n.\r\rMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n\r\n\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n.\r\r\nMAIL\r\n.\r\nR", err: bare, normalised: "a\r\n\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n\x00.\r\nMAIL\r\n.\r\nR", content: "a\r\n\x00.\r\nMAIL\r\n", normalised: "a\r\n\x00.\r\nMAIL\r\n", rest: "R"},
		{raw: "a\r\n.\x00\r\nMAIL\r\n.\r\nR", content: "a\r\n\x00\r\nMAIL\r\n", normalised: "a\r\n\x00\r\nMAIL\r\n", rest: "R"},
		{raw: "\r.\r\nX\r\n.\r\nR", err: bare, normalised: "\r\n.\r\nX\r\n", rest: "R"},
		{raw: "\n.\r\nX\r\n.\r\nR", err: bare, normalised: "\r\n.\r\nX\r\n", rest: "R"},
		{raw: ".\nX\r\n.\r\nR", err: bare, normalised: "\r\nX\r\n", rest: "R"},
		// CRLF . CR X loses nothing but the dot.
		{raw: "a\r\n.\rX\r\n.\r\nR", err: bare, normalised: "a\r\n\r\nX\r\n", rest: "R"},
		// No end at all.
		{raw: "", err: cut},
		{raw: "a\r\n", err: cut},
		{raw: "a\r\n.", err: cut},
		{raw: "a\r\n.\r", err: cut},
		{raw: "a\r", err: cut},
		{raw: "a\n.\n", err: cut},
	} {
		for _, step := range []int{1, 2, 3, 5, 1 << 20} {
			t.Run(fmt.Sprintf("%q by %d", c.raw, step), func(t *testing.T) {
				steps := func() int { return step }
				ends := strings.Contains("\r\n"+c.raw, "\r\n.\r\n")
				content, rest, ended, err := readMessage(c.raw, Limits{}, false, steps)
				if ended != ends || ended && rest != c.rest {
					t.Errorf("ended: %v with %q left, want %q", ended, rest, c.rest)
				}
				if !ends {
					if !errors.Is(err, cut) && !errors.Is(err, bare) {
						t.Errorf("no end: got %v", err)
					}
				} else if !errors.Is(err, c.err) || c.err == nil && content != c.content {
					t.Errorf("got %q, %v; want %q, %v", content, err, c.content, c.err)
				}
				content, rest, ended, err = readMessage(c.raw, Limits{}, true, steps)
				if ended != ends || ended && (rest != c.rest || err != nil || content != c.normalised) {
					t.Errorf("normalised: got %q, %v, left %q; want %q", content, err, rest, c.normalised)
				}
				if !ends && !errors.Is(err, cut) {
					t.Errorf("normalised without end: %v", err)
				}
			})
		}
	}
}

var newline = regexp.MustCompile(`\r?\r?\n|\r`)

// referenceMessage is what a message is, written down without any regard for streams.
func referenceMessage(raw string, normalise bool) (content, rest string, bare, ended bool) {
	content, rest, ended = strings.Cut("\r\n"+raw, "\r\n.\r\n")
	if !ended {
		return "", "", false, false
	}
	content = strings.ReplaceAll(content+"\r\n", "\r\n.", "\r\n")
	content = strings.TrimPrefix(content, "\r\n")
	if normalise {
		return newline.ReplaceAllString(content, "\r\n"), rest, false, true
	}
	bare = strings.ContainsAny(strings.ReplaceAll(content, "\r\n", ""), "\r\n")
	return content, rest, bare, true
}

func FuzzData(f *testing.F) {
	for _, seed := range []string{
		"a\r\n.\r\nQUIT\r\n", "a\r\r\n.\r\nQUIT", "a\n.\r\nMAIL\r\n.\r\n", "..\r\n..\r\n.\r\n", ".\r\n", "\r\n.\r\r\n.\r\n", "a\r\n.\rX\r\n.\r\n",
		"\r\r\r\r\n.\r\n", "a", "Received: x\r\n\r\nbody\r\n.\r\n",
	} {
		f.Add(seed, uint16(1), false)
		f.Add(seed, uint16(3), true)
	}
	f.Fuzz(func(t *testing.T, raw string, steps uint16, normalise bool) {
		step := func() int { steps = steps*25173 + 13849; return 1 + int(steps>>12) }
		content, rest, ended, err := readMessage(raw, Limits{}, normalise, step)
		want, wantRest, bare, wantEnded := referenceMessage(raw, normalise)
		switch {
		case ended != wantEnded:
			t.Fatalf("ended: %v, want %v", ended, wantEnded)
		case !ended:
			if err == nil {
				t.Fatal("a message without end is complete")
			}
		case rest != wantRest:
			t.Fatalf("left %q, want %q", rest, wantRest)
		case bare != errors.Is(err, errBareNewline):
			t.Fatalf("got %v, bare: %v", err, bare)
		case !bare && content != want:
			t.Fatalf("got %q, want %q", content, want)
		}
	})
}

const begin = "< 220\n> EHLO c\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<c@mx.example>\n< 250\n"

func TestMessageLimits(t *testing.T) {
	hop := "Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\\r\\n"
	for _, c := range []struct {
		name   string
		limits Limits
		raw    string // as a Go string
		want   string
	}{
		{"exactly the size", Limits{MessageSize: 10}, `12345678\r\n.\r\n`, "250"},
		{"one octet more", Limits{MessageSize: 10}, `123456789\r\n.\r\n`, "552 5.3.4"},
		{"stuffed dots do not count", Limits{MessageSize: 10}, `..234567\r\n..\r\n.\r\n`, "552 5.3.4"},
		{"stuffed dots do not count, exactly", Limits{MessageSize: 10}, `..23456\r\n..\r\n.\r\n`, "552 5.3.4"},
		{"stuffed dots do not count, really", Limits{MessageSize: 10}, `..234\r\n..\r\n.\r\n`, "250"},
		{"as many hops", Limits{Hops: 2}, hop + hop + `\r\n` + hop + `.\r\n`, "250"},
		{"a hop more", Limits{Hops: 2}, hop + hop + `RECEIVED:\r\n\r\n.\r\n`, "554 5.4.6"},
		{"no hop", Limits{Hops: 2}, hop + hop + `Receiver: x\r\n received: x\r\nX-Received: x\r\n\r\n.\r\n`, "250"},
		{"header section", Limits{Header: 20}, `Subject: 890\r\nX: 1\r\n\r\nbody\r\n.\r\n`, "552 5.3.4"},
		{"header section, exactly", Limits{Header: 22}, `Subject: 890\r\nX: 1\r\n\r\nbody body body\r\n.\r\n`, "250"},
		{"long lines are fine by default", Limits{}, strings.Repeat("x", 200_000) + `\r\n.\r\n`, "250"},
		{"bare LF", Limits{}, `a\nb\r\n.\r\n`, "550 5.5.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			s := testServer(f)
			s.Limits = c.limits
			conn := talk(t, s)
			conn.play(begin + "> DATA\n< 354\n~ " + c.raw + "\n< " + c.want)
			// Whatever it was, it is over.
			conn.play("> RCPT TO:<c@mx.example>\n< 503\n> MAIL FROM:<>\n< 250\n> QUIT\n< 221\n!")
			if taken := len(f.taken()) == 1; taken != (c.want == "250") {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}

// What is refused is thrown away, but not for ever.
func TestDiscardLimit(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.Limits = Limits{MessageSize: 1000, Discard: 100_000}
	conn := talk(t, s)
	conn.play(begin + "> DATA\n< 354")
	line := strings.Repeat("x", 998) + "\r\n"
	for range 2000 {
		if _, err := io.WriteString(conn.conn, line); err != nil {
			break // the server has hung up
		}
	}
	conn.play("< 552 5.3.4\n!")
}

func TestDiscardLimitAfterARefusal(t *testing.T) {
	f := &fake{data: func(context.Context, io.Reader) (string, error) {
		return "", &Error{Code: 554, Enhanced: "5.7.1", Text: "no"}
	}}
	s := testServer(f)
	s.Limits.Discard = 100
	conn := talk(t, s)
	conn.play(begin + "> DATA\n< 354\n> " + strings.Repeat("x", 200) + "\n< 554 5.7.1 no\n!")
}

func TestCutMessage(t *testing.T) {
	for _, script := range []string{
		"> DATA\n< 354\n~ hello\\r\\n",
		"> DATA\n< 354\n~ hello\\r\\n.\\r",
		"~ BDAT 100\\r\\nhello",
		"~ BDAT 5\\r\\nhello\n< 250",
		"~ BDAT 100 LAST\\r\\nhello",
	} {
		t.Run(script, func(t *testing.T) {
			got := make(chan error, 1)
			f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
				_, err := io.Copy(io.Discard, body)
				got <- err
				return "never", nil // and yet it is not accepted
			}}
			s := testServer(f)
			conn := talk(t, s)
			conn.play(begin + script)
			conn.conn.Close()
			if err := <-got; !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("Data got %v", err)
			}
			shutdown(t, s)
			if f.check(t); f.closed != 1 {
				t.Error("the session is not closed")
			}
		})
	}
}

// What Data leaves is drained, and a broken rule in it is told: nothing the backend says
// makes such a message good.
func TestDataReturnsEarly(t *testing.T) {
	refused := &Error{Code: 554, Enhanced: "5.7.1", Text: "no"}
	for _, c := range []struct {
		name string
		err  error
		raw  string
		want string
	}{
		{"refused", refused, `x\r\n.\r\n`, "554 5.7.1 no"},
		{"taken", nil, `x\r\n.\r\n`, "250 2.0.0 early"},
		{"taken, but broken", nil, `x\ny\r\n.\r\n`, "550 5.5.2"},
		{"an error of the inside", errors.New("secret"), `x\r\n.\r\n`, "451 4.3.0 a local"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{data: func(context.Context, io.Reader) (string, error) { return "early", c.err }}
			conn := talk(t, testServer(f))
			conn.play(begin + "> DATA\n< 354\n~ " + c.raw + "\n< " + c.want + "\n> NOOP\n< 250")
		})
	}
}

// When the backend wants the connection closed, nothing is drained: then what follows must
// never be read as commands, not even when the message breaks a rule.
func TestFatalDataIsNotDrained(t *testing.T) {
	for _, script := range []string{
		"> DATA\n< 354\n~ x\\ny\\r\\nMAIL FROM:<>\\r\\n",
		"~ BDAT 100 LAST\\r\\nx\\ny\\r\\nMAIL FROM:<>\\r\\n",
	} {
		f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
			_, _ = io.Copy(io.Discard, body)
			return "", &Error{Code: 554, Enhanced: "5.7.1", Text: "go away", Fatal: true}
		}}
		talk(t, testServer(f)).play(begin + script + "\n< 550 5.5.2\n!")
	}
}

// A reader that a backend keeps beyond Data gets nothing of the next message.
func TestReaderOutlivesData(t *testing.T) {
	var kept io.Reader
	f := &fake{data: func(_ context.Context, body io.Reader) (string, error) { kept = body; return "", nil }}
	conn := talk(t, testServer(f))
	conn.play(begin + "> DATA\n< 354\n~ x\\r\\n.\\r\\n\n< 250")
	if n, err := kept.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errReturned) {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestTextOfTheBackend(t *testing.T) {
	f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
		_, err := io.Copy(io.Discard, body)
		return "Ok: 42\r\n221 bye", err
	}}
	conn := talk(t, testServer(f))
	conn.play(begin + "> DATA\n< 354\n~ .\\r\\n")
	if _, got := conn.reply(); len(got) != 2 || got[0] != "2.0.0 Ok: 42 " || got[1] != "2.0.0 221 bye" {
		t.Errorf("got %q", got)
	}
}

// Large messages come through whole, by Read and by WriteTo.
func TestLargeMessage(t *testing.T) {
	var want bytes.Buffer
	for i := range 60_000 {
		fmt.Fprintf(&want, "%s%d\r\n", strings.Repeat(".", i%3), i)
	}
	raw := strings.ReplaceAll("\r\n"+want.String(), "\r\n.", "\r\n..")[2:] + ".\r\n"
	for _, readAll := range []bool{true, false} {
		f := &fake{}
		var copied bytes.Buffer
		if !readAll {
			f.data = func(_ context.Context, body io.Reader) (string, error) {
				_, err := io.Copy(&copied, body)
				return "", err
			}
		}
		conn := talk(t, testServer(f))
		conn.play(begin + "> DATA\n< 354")
		conn.send(raw + "QUIT\r\n")
		conn.play("< 250\n< 221\n!")
		got := copied.String()
		if readAll {
			got = content(t, f.taken()[0])
		}
		if got != want.String() {
			t.Errorf("got %d octets, want %d", len(got), want.Len())
		}
	}
}

func BenchmarkData(b *testing.B) {
	for _, bench := range []struct {
		name      string
		line      int
		normalise bool
	}{{"mail", 76, false}, {"long lines", 10_000, false}, {"normalised", 76, true}} {
		b.Run(bench.name, func(b *testing.B) {
			raw := []byte(strings.Repeat(strings.Repeat("x", bench.line)+"\r\n", (10<<20)/(bench.line+2)) + ".\r\n")
			pool := newPools()
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				in := newInput(pool)
				in.grow()
				r := bytes.NewReader(raw)
				src := &dotSource{in: in, fill: func() error {
					if in.filled() {
						in.grow()
					}
					return in.fill(r)
				}}
				body := newBody(src, canonical{limits: Limits{MessageSize: -1, Header: -1}.withDefaults(), normalise: bench.normalise}, "", func() {})
				if _, err := io.Copy(io.Discard, onlyReader{body}); err != nil {
					b.Fatal(err)
				}
				in.release()
			}
		})
	}
}

func BenchmarkDataTCP(b *testing.B) {
	f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
		_, err := io.Copy(io.Discard, body)
		return "", err
	}}
	s := testServer(f)
	s.Limits = Limits{Messages: -1, Header: -1}
	conn := talk(b, s)
	conn.play("< 220\n> EHLO c\n< 250")
	raw := strings.Repeat(strings.Repeat("x", 76)+"\r\n", (10<<20)/78) + ".\r\n"
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		conn.play("> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<c@mx.example>\n< 250\n> DATA\n< 354")
		conn.send(raw)
		conn.play("< 250")
	}
}

// A transaction as small as can be, over one connection.
func BenchmarkTransaction(b *testing.B) {
	s := testServer(&fake{data: func(_ context.Context, body io.Reader) (string, error) {
		_, err := io.Copy(io.Discard, body)
		return "", err
	}})
	s.Limits = Limits{Messages: -1}
	conn := talk(b, s)
	conn.play("< 220\n> EHLO c\n< 250")
	b.ReportAllocs()
	for b.Loop() {
		conn.send("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@mx.example>\r\nDATA\r\n")
		conn.play("< 250\n< 250\n< 354")
		conn.send("Subject: x\r\n\r\nhello\r\n.\r\n")
		conn.play("< 250")
	}
}
