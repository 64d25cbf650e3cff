package smtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestBdat(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"one chunk", `
			~ BDAT 7 LAST\r\nhello\r\n
			< 250 2.0.0 taken`, "hello\r\n"},
		{"chunks", `
			~ BDAT 3\r\nhel
			< 250 2.0.0 3 octets
			~ bdat 4\r\nlo\r\n
			< 250 2.0.0 4 octets
			> NOOP
			< 250
			~ BDAT 0 last\r\n
			< 250 2.0.0 taken`, "hello\r\n"},
		{"pipelined", `
			~ BDAT 3\r\nhelBDAT 4\r\nlo\r\nBDAT 3 LAST\r\n.\r\nNOOP\r\n
			< 250 2.0.0 3
			< 250 2.0.0 4
			< 250 2.0.0 taken
			< 250 2.0.0 OK`, "hello\r\n.\r\n"},
		{"dots are dots", `
			~ BDAT 13 LAST\r\na\r\n.\r\nQUIT\r\n.
			< 250`, "a\r\n.\r\nQUIT\r\n.\r\n"},
		{"nothing at all", `
			~ BDAT 0 LAST\r\n
			< 250`, ""},
		{"the last CRLF is added", `
			~ BDAT 5 LAST\r\nhello
			< 250`, "hello\r\n"},
		{"a CRLF in two chunks", `
			~ BDAT 6\r\nhello\r
			< 250
			~ BDAT 2 LAST\r\n\nx
			< 250`, "hello\r\nx\r\n"},
		{"no DATA, MAIL, RCPT, AUTH meanwhile", `
			~ BDAT 5\r\nhello
			< 250
			> DATA
			< 503 5.5.1
			> RCPT TO:<x@mx.example>
			< 503 5.5.1
			> MAIL FROM:<>
			< 503 5.5.1
			> AUTH PLAIN
			< 503 5.5.1
			~ BDAT 0 LAST\r\n
			< 250`, "hello\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{}
			conn := talk(t, testServer(f))
			conn.play(begin + c.script)
			taken := f.taken()
			if len(taken) != 1 {
				t.Fatalf("%d messages", len(taken))
			}
			if got := content(t, taken[0]); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			conn.play("> DATA\n< 503 5.5.1 bad sequence of commands: MAIL\n> MAIL FROM:<>\n< 250")
		})
	}
}

// After a chunk that failed, whatever of the message comes is taken off the line and refused
// (RFC 3030 §2), and no command in it runs.
func TestBdatFailures(t *testing.T) {
	refused := &Error{Code: 554, Enhanced: "5.7.1", Text: "no"}
	early := func(context.Context, io.Reader) (string, error) { return "", refused }
	late := func(_ context.Context, body io.Reader) (string, error) {
		_, err := io.Copy(io.Discard, body)
		if err == nil {
			err = refused
		}
		return "", err
	}
	for _, c := range []struct {
		name   string
		data   func(context.Context, io.Reader) (string, error)
		script string
	}{
		{"refused early", early, `
			~ BDAT 6\r\nQUIT\r\nBDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n
			< 554 5.7.1
			< 503 5.5.1
			< 503 5.5.1`},
		{"refused at the end", late, `
			~ BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n
			< 250
			< 554 5.7.1`},
		{"bare LF", nil, `
			~ BDAT 5\r\nQUIT\nBDAT 6 LAST\r\nQUIT\r\n
			< 550 5.5.2
			< 503 5.5.1`},
		{"a CR at the end", nil, `
			~ BDAT 5 LAST\r\nQUIT\r
			< 550 5.5.2`},
		{"too large", nil, `
			~ BDAT 4\r\n1234
			< 250
			~ BDAT 103 LAST\r\n1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n\r
			< 552 5.3.4`},
		{"no transaction", nil, `
			> RSET
			< 250
			~ BDAT 6 LAST\r\nQUIT\r\n
			< 503 5.5.1`},
		{"no recipients", nil, `
			> RSET
			< 250
			> MAIL FROM:<>
			< 250
			~ BDAT 6\r\nQUIT\r\nBDAT 0 LAST\r\n
			< 503 5.5.1 no valid
			< 503 5.5.1 no valid
			> RSET
			< 250`},
		{"RSET within", nil, `
			~ BDAT 6\r\nQUIT\r\n
			< 250
			> RSET
			< 250
			~ BDAT 6 LAST\r\nQUIT\r\n
			< 503 5.5.1`},
		{"EHLO within", nil, `
			~ BDAT 6\r\nQUIT\r\n
			< 250
			> EHLO c
			< 250
			~ BDAT 6 LAST\r\nQUIT\r\n
			< 503 5.5.1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{data: c.data}
			s := testServer(f)
			s.Limits.MessageSize = 100
			conn := talk(t, s)
			conn.play(begin + c.script)
			conn.play("> RCPT TO:<c@mx.example>\n< 503 5.5.1\n> MAIL FROM:<>\n< 250\n> QUIT\n< 221\n!")
			if n := len(f.taken()); n != 0 {
				t.Errorf("%d messages", n)
			}
		})
	}
}

// Chunks are repaired as DATA is, whatever octets stand at their edges.
func TestBdatNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"a|\nb": "a\r\nb\r\n", "a\r|\nb": "a\r\nb\r\n", "a\r|\r|\nb": "a\r\nb\r\n", "a\r|\r|\r|\nb": "a\r\n\r\nb\r\n",
		"a\r": "a\r\n", "a\r|": "a\r\n", "a|\r\r": "a\r\n\r\n", "\n": "\r\n", "a\n|.\r|\n": "a\r\n.\r\n",
	} {
		f := &fake{}
		s := testServer(f)
		s.BareNewlines = NormaliseBareNewlines
		conn := talk(t, s)
		conn.play(begin)
		for chunk := range strings.SplitSeq(in, "|") {
			conn.send(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
			conn.expect("250")
		}
		conn.play("> BDAT 0 LAST\n< 250")
		if got := content(t, f.taken()[0]); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// A size that is none leaves nothing to go on with.
func TestBdatSyntax(t *testing.T) {
	for _, args := range []string{"", " ", " x", " -1", " +1", " 1 FIRST", " 1 LAST x", " 99999999999999999999", " 0x10", " 1,000"} {
		t.Run(args, func(t *testing.T) {
			conn := talk(t, testServer(&fake{}))
			conn.play(begin + "> BDAT" + args + "\n< 501 5.5.4\n!")
		})
	}
	talk(t, testServer(&fake{})).play(begin + "~ BDAT 6\\x01\\r\\nQUIT\\r\\n\n< 500 5.5.2\n!")
}

// Chunks that nobody wants are not read for ever.
func TestBdatDiscardLimit(t *testing.T) {
	s := testServer(&fake{})
	s.Limits.Discard = 10
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n~ BDAT 8\\r\\n12345678\n< 503\n> BDAT 3\n< 503\n!")
}

func TestBdatSmallChunks(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.Limits.SmallChunks = 3
	conn := talk(t, s)
	conn.play(begin)
	big := strings.Repeat("x", smallChunk)
	for range 5 {
		conn.send("BDAT 256\r\n" + big)
		conn.expect("250")
	}
	for range 3 {
		conn.play("~ BDAT 0\\r\\n\n< 250")
	}
	conn.play("~ BDAT 1\\r\\nx\n< 421 4.7.0\n!")
	if len(f.taken()) != 0 {
		t.Error("taken")
	}
}

// A transaction that is given up ends Data before Reset is called, with an error.
func TestBdatGivenUp(t *testing.T) {
	for _, end := range []string{"> RSET\n< 250", "> QUIT\n< 221", "> EHLO x\n< 250"} {
		got := make(chan error, 1)
		f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
			_, err := io.ReadAll(body)
			got <- err
			return "", err
		}}
		conn := talk(t, testServer(f))
		conn.play(begin + "~ BDAT 5\\r\\nhello\n< 250\n" + end)
		select {
		case err := <-got:
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: got %v", end, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: Data goes on", end)
		}
	}
}

// A backend that leaves a Read behind, in a goroutine of its own, harms nobody: the engine
// waits for that Read before it reads itself. The race detector sees when it does not.
func TestBdatReadLeftBehind(t *testing.T) {
	left, returned := make(chan struct{}), make(chan struct{})
	f := &fake{data: func(_ context.Context, body io.Reader) (string, error) {
		defer close(returned)
		begun := make(chan struct{})
		go func() {
			defer close(left)
			b := make([]byte, 1000)
			_, err := body.Read(b) // the trace line
			close(begun)
			for err == nil {
				_, err = body.Read(b)
			}
		}()
		<-begun
		return "", &Error{Code: 451, Enhanced: "4.3.0", Text: "no"}
	}}
	conn := talk(t, testServer(f))
	conn.play(begin + "~ BDAT 5\\r\\nhe")
	<-returned
	conn.send("llo")
	if code, _ := conn.reply(); code == 250 { // the reader was faster than Data
		conn.play("> BDAT 0 LAST\n< 451")
	} else if code != 451 {
		t.Errorf("got %d", code)
	}
	conn.play("> MAIL FROM:<>\n< 250")
	<-left
}
