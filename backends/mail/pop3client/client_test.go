package pop3client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// step is a command that is expected, and what the server sends upon it. An empty command is the connection's beginning.
type step struct{ command, reply string }

// script is a server that says its steps and notes what else it is told.
func script(t *testing.T, conn net.Conn, steps []step) (ended chan struct{}) {
	t.Helper()
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		defer conn.Close()
		in := bufio.NewReader(conn)
		for _, s := range steps {
			if s.command != "" {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if got := strings.TrimRight(line, "\r\n"); got != s.command {
					t.Errorf("the client says %q in the place of %q", got, s.command)
					return
				}
			}
			if _, err := io.WriteString(conn, s.reply); err != nil {
				return
			}
		}
		_, _ = io.Copy(io.Discard, in)
	}()
	return ended
}

// session is a client of such a server, behind a greeting.
func session(t *testing.T, steps ...step) *Client {
	t.Helper()
	ours, theirs := net.Pipe()
	ended := script(t, theirs, append([]step{{"", "+OK ready\r\n"}}, steps...))
	c, err := over(t.Context(), ours, "pop.example:110", Options{Security: Clear}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(); <-ended })
	return c
}

func TestSession(t *testing.T) {
	c := session(t,
		step{"CAPA", "+OK\r\nUSER\r\nUIDL\r\n.\r\n"},
		step{"USER ada", "+OK\r\n"}, step{"PASS a b ", "-ERR\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada", Password: "a b "}); err == nil {
		t.Error("a password that the server refuses is good")
	}
	c = session(t,
		step{"CAPA", "-ERR what?\r\n"},
		step{"USER ada", "+OK\r\n"}, step{"PASS secret", "+OK\r\n"},
		step{"LIST", "+OK 3 messages\r\n1 120\r\n2 x\r\n4 10 more\r\n.\r\n"},
		step{"UIDL", "+OK\r\n1 aa\r\n2 b b\r\n4 dd\r\n5 new\r\n.\r\n"},
		step{"RETR 1", "+OK 120 octets\r\n..a\r\n.\r\n"},
		step{"TOP 4 0", "+OK\r\nSubject: x\r\n\r\n.\r\n"},
		step{"DELE 1", "+OK\r\n"}, step{"QUIT", "+OK bye\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada", Password: "secret"}); err != nil {
		t.Fatal(err)
	}
	list, err := c.List(t.Context(), 10)
	want := []Message{{1, 120, "aa"}, {2, -1, ""}, {4, 10, "dd"}}
	if err != nil || len(list) != 3 || list[0] != want[0] || list[1] != want[1] || list[2] != want[2] {
		t.Fatalf("%v, %v", list, err)
	}
	var out bytes.Buffer
	if n, err := c.Retrieve(t.Context(), 1, 100, &out); err != nil || n != 4 || out.String() != ".a\r\n" {
		t.Errorf("%d, %q, %v", n, out.String(), err)
	}
	if _, err := c.Top(t.Context(), 4, 0, 100, io.Discard); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Delete(t.Context(), 1), c.Quit(t.Context())); err != nil {
		t.Error(err)
	}
}

// TestAuthenticate: PLAIN where USER could not carry the password, and a token behind a challenge of its own.
func TestAuthenticate(t *testing.T) {
	c := session(t,
		step{"CAPA", "+OK\r\nSASL PLAIN XOAUTH2\r\n.\r\n"},
		step{"AUTH PLAIN", "+ \r\n"}, step{"AGFkYQBzZWNyZXQ=", "+OK\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada", Password: "secret"}); err != nil {
		t.Error(err)
	}
	refused := &ReplyError{}
	c = session(t,
		step{"CAPA", "+OK\r\nSASL PLAIN XOAUTH2\r\n.\r\n"},
		step{"AUTH XOAUTH2", "+\r\n"}, step{"dXNlcj1hZGEBYXV0aD1CZWFyZXIgdG9rAQE=", "+ e30=\r\n"}, step{"AQ==", "-ERR [AUTH] no\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada", Token: "tok"}); !errors.As(err, &refused) || refused.Code != "AUTH" {
		t.Error(err)
	}
	c = session(t, step{"CAPA", "+OK\r\nUSER\r\n.\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada", Token: "tok"}); err == nil {
		t.Error("a token is good for a server without bearer tokens")
	}
	c = session(t, step{"CAPA", "+OK\r\nUSER\r\n.\r\n"})
	if err := c.Login(t.Context(), Login{User: "ada\r\nDELE 1", Password: "x"}); err == nil {
		t.Error("a line end was sent in a name")
	}
}

// TestLies: what a server may do wrong costs the call, and no message is taken that is not whole.
func TestLies(t *testing.T) {
	fetch := func(c *Client) error { _, err := c.Retrieve(t.Context(), 1, 10, io.Discard); return err }
	list := func(c *Client) error { _, err := c.List(t.Context(), 2); return err }
	for name, test := range map[string]struct {
		step step
		call func(*Client) error
		want error
	}{
		"the message is larger than is allowed":       {step{"RETR 1", "+OK\r\n12345678901\r\n.\r\n"}, fetch, ErrTooLarge},
		"the message is nonsense before it begins":    {step{"RETR 1", "* OK IMAP\r\n"}, fetch, &ProtocolError{}},
		"a line never ends":                           {step{"RETR 1", "+OK " + strings.Repeat("x", 2*contentBuffer)}, fetch, &ProtocolError{}},
		"the list is longer than is allowed":          {step{"LIST", "+OK\r\n1 1\r\n2 1\r\n3 1\r\n.\r\n"}, list, errTooManyLines{2}},
		"a number stands in the list twice":           {step{"LIST", "+OK\r\n1 1\r\n1 1\r\n.\r\n"}, list, &ProtocolError{}},
		"the list has no numbers":                     {step{"LIST", "+OK\r\nx 1\r\n.\r\n"}, list, &ProtocolError{}},
		"a number is too large":                       {step{"LIST", "+OK\r\n99999999999999999999 1\r\n.\r\n"}, list, &ProtocolError{}},
		"a message that is gone is the server's -ERR": {step{"RETR 1", "-ERR [SYS/TEMP] no\x1b such message\r\n"}, fetch, &ReplyError{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := session(t, test.step)
			err := test.call(c)
			switch want := test.want.(type) {
			case *ProtocolError:
				if !errors.As(err, &want) {
					t.Error(err)
				}
			case *ReplyError:
				if !errors.As(err, &want) || want.Code != "SYS/TEMP" || want.Text != "no  such message" || c.broken != nil {
					t.Error(err, c.broken)
				}
			default:
				if !errors.Is(err, want) {
					t.Error(err)
				}
			}
		})
	}
}

// TestCutOff: a connection that ends in a message is no end of the message.
func TestCutOff(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would tell of the end before what was read
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		theirs, err := listener.Accept()
		if err != nil {
			return
		}
		defer theirs.Close()
		_, _ = io.WriteString(theirs, "+OK\r\n")
		_, _ = bufio.NewReader(theirs).ReadString('\n')
		_, _ = io.WriteString(theirs, "+OK\r\nSubject: half\r\n\r\n.")
	}()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := over(t.Context(), ours, "", Options{Security: Clear}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Retrieve(t.Context(), 1, 1000, io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if err := c.Delete(t.Context(), 1); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a connection that is broken goes on: %v", err)
	}
}

// TestUnstuff: only CRLF.CRLF ends a message, at each boundary of the buffer.
func TestUnstuff(t *testing.T) {
	long := strings.Repeat("x", contentBuffer-1)
	for in, want := range map[string]string{
		".\r\n":                  "",
		"a\r\n.\r\nrest":         "a\r\n",
		"..\r\n.\r\n":            ".\r\n",
		".a\r\n.\r\n":            "a\r\n", // a server that does not stuff has lost it
		"a\n.\r\nb\r\n.\r\n":     "a\n.\r\nb\r\n",
		"a\r.\r\nb\r\n.\r\n":     "a\r.\r\nb\r\n",
		"a\r\n.\nb\r\n.\r\n":     "a\r\n\nb\r\n",
		"a\r\n.\r.\r\n.\r\n":     "a\r\n\r.\r\n",
		long + "\r\n.\r\n":       long + "\r\n",
		"y" + long + "\r\n.\r\n": "y" + long + "\r\n",
		long[1:] + "\r\n..\r\n" + long + "\r\n.\r\n": long[1:] + "\r\n.\r\n" + long + "\r\n",
	} {
		var out bytes.Buffer
		n, err := unstuff(&out, bufio.NewReaderSize(strings.NewReader(in), contentBuffer), 1<<20, false)
		if err != nil || out.String() != want || n != int64(len(want)) {
			t.Errorf("%.40q: %.40q, %d, %v", in, out.String(), n, err)
		}
	}
	var out bytes.Buffer
	if _, err := unstuff(&out, bufio.NewReader(strings.NewReader("a\n..b\n.\n")), 100, true); err != nil || out.String() != "a\n.b\n" {
		t.Errorf("lines with LF: %q, %v", out.String(), err)
	}
}

// TestSlow: a server that is silent, or drips, is given up in a time that does not depend on it.
func TestSlow(t *testing.T) {
	for name, test := range map[string]struct {
		every time.Duration
		want  error
		most  time.Duration
	}{
		"silent":  {time.Hour, nil, 2 * time.Minute},
		"drips":   {10 * time.Second, ErrStalled, 3 * time.Minute},
		"in time": {time.Millisecond, nil, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					defer theirs.Close()
					_, _ = io.WriteString(theirs, "+OK\r\n")
					_, _ = bufio.NewReader(theirs).ReadString('\n')
					_, _ = io.WriteString(theirs, "+OK\r\n")
					for range 2000 {
						select {
						case <-time.After(test.every):
						case <-ctx.Done():
							return
						}
						if _, err := io.WriteString(theirs, "x"); err != nil {
							return
						}
					}
					_, _ = io.WriteString(theirs, "\r\n.\r\n")
				}()
				c, err := over(ctx, ours, "", Options{Security: Clear}.withDefaults())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				begun := time.Now()
				_, err = c.Retrieve(ctx, 1, 1<<20, io.Discard)
				if took := time.Since(begun); took > test.most {
					t.Errorf("it took %s", took)
				}
				if test.every < time.Second == (err != nil) || test.want != nil && !errors.Is(err, test.want) {
					t.Error(err)
				}
			})
		})
	}
}

// TestContext: its end is the end of the waiting.
func TestContext(t *testing.T) {
	c := session(t, step{"DELE 1", ""})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Delete(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := c.Quit(t.Context()); err == nil {
		t.Error("a session that was given up has been ended well")
	}
}

// TestNoTLS: nothing is sent in clear where TLS is asked for, and nothing is taken that was sent before it.
func TestNoTLS(t *testing.T) {
	for name, reply := range map[string]string{"not offered": "-ERR what?\r\n", "something behind": "+OK\r\n+OK forged\r\n", "no TLS": "+OK\r\n"} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			ended := make(chan struct{})
			var got bytes.Buffer
			go func() {
				defer close(ended)
				defer theirs.Close()
				_, _ = io.WriteString(theirs, "+OK\r\n")
				in := bufio.NewReader(theirs)
				_, _ = in.ReadString('\n')
				_, _ = io.WriteString(theirs, reply)
				_, _ = io.CopyN(&got, in, 1)
				_, _ = io.WriteString(theirs, "+OK no handshake\r\n")
			}()
			_, err := over(t.Context(), ours, "", Options{Security: STLS, TLS: &tls.Config{ServerName: "pop.example"}}.withDefaults())
			<-ended
			if err == nil || name == "not offered" && !errors.Is(err, ErrNoTLS) {
				t.Error(err)
			}
			if text := got.String(); text != "" && text != "\x16" { // a TLS record
				t.Errorf("it sent %q", text)
			}
		})
	}
}

// FuzzReplies: whatever a server sends, a session ends, within its bounds.
func FuzzReplies(f *testing.F) {
	f.Add([]byte("+OK\r\n+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n+OK\r\n+OK\r\n+OK\r\n1 20\r\n.\r\n+OK\r\n1 aa\r\n.\r\n+OK\r\nSubject: a\r\n\r\n..b\r\n.\r\n+OK\r\n+OK\r\n"))
	f.Add([]byte("+OK\n-ERR\n+OK\n+OK\n+OK\n1 20\n.\n-ERR\n+OK\na\n.\n-ERR [IN-USE] x\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		ours, theirs := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = theirs.Write(sent)
			_ = theirs.Close()
		}()
		conn := &deaf{Conn: ours}
		c, err := over(t.Context(), conn, "pop.example:110", Options{Security: Clear}.withDefaults())
		if err == nil {
			_ = c.Login(t.Context(), Login{User: "ada", Password: "secret"})
			list, _ := c.List(t.Context(), 50)
			if len(list) > 50 {
				t.Errorf("%d messages", len(list))
			}
			for _, m := range list {
				if n, _ := c.Retrieve(t.Context(), m.Number, 1000, io.Discard); n > 1000+contentBuffer {
					t.Errorf("%d octets", n)
				}
				_ = c.Delete(t.Context(), m.Number)
			}
			_ = c.Quit(t.Context())
		}
		_ = ours.Close()
		<-ended
	})
}

// deaf is a connection whose other end need not read.
type deaf struct{ net.Conn }

func (d *deaf) Write(p []byte) (int, error) { return len(p), nil }
