//go:build linux

package harness

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long one step of a dialogue may take. It is long, as the race detector and a
// busy machine make everything slow; no test waits for it unless something hangs.
const patience = 60 * time.Second

// Refusal is a negative answer of a server.
type Refusal struct {
	Command string // what was asked, without secrets
	Answer  string // the whole answer
}

func (r *Refusal) Error() string { return r.Command + ": " + r.Answer }

// timedConn is a connection of which no read and no write takes longer than patience.
type timedConn struct{ net.Conn }

func (c timedConn) Read(b []byte) (int, error) {
	c.SetReadDeadline(time.Now().Add(patience))
	return c.Conn.Read(b)
}

func (c timedConn) Write(b []byte) (int, error) {
	c.SetWriteDeadline(time.Now().Add(patience))
	return c.Conn.Write(b)
}

// wire is a connection read by lines.
type wire struct {
	net.Conn
	in *bufio.Reader
}

func newWire(conn net.Conn) *wire {
	return &wire{Conn: timedConn{conn}, in: bufio.NewReaderSize(timedConn{conn}, 64<<10)}
}

func dialWire(address string, secure *tls.Config) (*wire, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	w := newWire(conn)
	if secure != nil {
		if err := w.startTLS(secure); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return w, nil
}

// startTLS makes the connection secure from here on.
func (w *wire) startTLS(config *tls.Config) error {
	if w.in.Buffered() > 0 {
		return errors.New("the server has sent more before TLS began")
	}
	secure := tls.Client(w.Conn, config)
	if err := secure.Handshake(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	w.Conn, w.in = secure, bufio.NewReaderSize(secure, 64<<10)
	return nil
}

func (w *wire) writeLine(line string) error {
	_, err := io.WriteString(w.Conn, line+"\r\n")
	return err
}

// readLine reads a line of any length and takes its CRLF off. It is good until the next is read.
func (w *wire) readLine() ([]byte, error) {
	line, err := w.readWhole()
	return bytes.TrimSuffix(line, []byte("\r\n")), err
}

// readWhole reads a line of any length with its CRLF. It is good until the next is read. A line that
// does not end in CRLF is an error: no server may send one.
func (w *wire) readWhole() ([]byte, error) {
	line, err := w.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		var rest []byte
		line = bytes.Clone(line)
		rest, err = w.in.ReadBytes('\n')
		line = append(line, rest...)
	}
	if err != nil {
		return line, err
	}
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return line, fmt.Errorf("a bare LF ends the line %.100q", line)
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		return line, fmt.Errorf("a bare CR stands in the line %.100q", text)
	}
	return line, nil
}

// Conn is an expect-style connection: what is not as expected ends the test. Its dialogue is in
// the test's log when the test has failed.
type Conn struct {
	t *testing.T
	w *wire

	mu       sync.Mutex
	dialogue []string
}

// Dial opens a connection to a listener. With a configuration for TLS it starts with that.
func Dial(t *testing.T, address string, secure *tls.Config) *Conn {
	t.Helper()
	w, err := dialWire(address, secure)
	if err != nil {
		t.Fatalf("connecting to %s: %v", address, err)
	}
	return converse(t, address, w)
}

// Over is a connection that the test has made itself.
func Over(t *testing.T, conn net.Conn) *Conn {
	t.Helper()
	return converse(t, conn.RemoteAddr().String(), newWire(conn))
}

func converse(t *testing.T, address string, w *wire) *Conn {
	c := &Conn{t: t, w: w}
	t.Cleanup(func() {
		w.Close()
		if t.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			t.Logf("dialogue with %s:\n%s", address, strings.Join(c.dialogue, "\n"))
		}
	})
	return c
}

const (
	noteMost  = 400 // lines of a dialogue
	noteWidth = 200
)

func (c *Conn) note(direction string, line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.dialogue) < noteMost {
		c.dialogue = append(c.dialogue, fmt.Sprintf("%s %.*q", direction, noteWidth, line))
	}
}

// Send writes a line with its CRLF.
func (c *Conn) Send(format string, args ...any) {
	c.t.Helper()
	line := fmt.Sprintf(format, args...)
	c.note("C:", []byte(line))
	if err := c.w.writeLine(line); err != nil {
		c.t.Fatalf("sending %.100q: %v", line, err)
	}
}

// Raw writes exactly these octets, in one go.
func (c *Conn) Raw(octets string) {
	c.t.Helper()
	c.note("C:", []byte(octets))
	if _, err := io.WriteString(c.w.Conn, octets); err != nil {
		c.t.Fatalf("sending %.100q: %v", octets, err)
	}
}

// Line reads a line.
func (c *Conn) Line() string {
	c.t.Helper()
	line, err := c.w.readLine()
	c.note("S:", line)
	if err != nil {
		c.t.Fatalf("reading a line: %v (so far %.200q)", err, line)
	}
	return string(line)
}

// Expect reads a line and wants it to begin with prefix. It returns the line.
func (c *Conn) Expect(prefix string) string {
	c.t.Helper()
	line := c.Line()
	if !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("the answer is %.300q, wanted %q", line, prefix)
	}
	return line
}

// Ask sends a line and expects an answer that begins with prefix.
func (c *Conn) Ask(line, prefix string) string {
	c.t.Helper()
	c.Send("%s", line)
	return c.Expect(prefix)
}

// ExpectReply reads an SMTP reply of any number of lines and wants this code. It returns the
// lines' texts.
func (c *Conn) ExpectReply(code int) []string {
	c.t.Helper()
	var texts []string
	for {
		line := c.Line()
		if len(line) < 3 || line[:3] != fmt.Sprint(code) {
			c.t.Fatalf("the reply is %.300q, wanted %d", line, code)
		}
		if len(line) == 3 {
			return append(texts, "")
		}
		texts = append(texts, line[4:])
		if line[3] == ' ' {
			return texts
		}
	}
}

// Multi reads a POP3 multi-line response up to the terminator (RFC 1939 §3), dots taken off.
func (c *Conn) Multi() []byte {
	c.t.Helper()
	var all bytes.Buffer
	if _, err := c.w.copyMulti(&all); err != nil {
		c.t.Fatalf("reading a multi-line response: %v", err)
	}
	c.note("S:", fmt.Appendf(nil, "(%d octets)", all.Len()))
	return all.Bytes()
}

// ExpectClosed wants the server to close the connection, and returns what came before.
func (c *Conn) ExpectClosed() []byte {
	c.t.Helper()
	rest, err := io.ReadAll(c.w.in)
	c.note("S:", rest)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("the connection stays open")
	}
	return rest
}

// StartTLS makes the connection secure from here on.
func (c *Conn) StartTLS(config *tls.Config) {
	c.t.Helper()
	c.note("--", []byte("TLS"))
	if err := c.w.startTLS(config); err != nil {
		c.t.Fatal(err)
	}
}

// Close closes the connection without a farewell.
func (c *Conn) Close() { c.w.Close() }

// Closed says whether an error is what a closed or reset connection gives.
func Closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed)
}
