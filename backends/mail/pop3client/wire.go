package pop3client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// meter is the connection with its time: silence is bounded, and so is slowness.
type meter struct {
	conn    net.Conn
	ctx     context.Context
	begun   time.Time
	octets  int64
	silence time.Duration
	slowest int
}

// begin starts the time of a call.
func (m *meter) begin(o Options) {
	m.begun, m.octets, m.silence, m.slowest = time.Now(), 0, o.Timeout, o.Slowest
}

// until is when the server has to have sent something: soon, and early enough for what it has sent so far.
func (m *meter) until(now time.Time) (at time.Time, stalled bool) {
	silent := now.Add(m.silence)
	slow := m.begun.Add(2*m.silence + time.Duration(m.octets)*time.Second/time.Duration(m.slowest))
	if slow.Before(silent) {
		return slow, true
	}
	return silent, false
}

// Read implements [io.Reader].
func (m *meter) Read(p []byte) (int, error) {
	at, stalled := m.until(time.Now())
	if err := m.arm(at); err != nil {
		return 0, err
	}
	n, err := m.conn.Read(p)
	m.octets += int64(n)
	if stalled && errors.Is(err, os.ErrDeadlineExceeded) && m.ctx.Err() == nil {
		err = fmt.Errorf("%w: %d octets in %s", ErrStalled, m.octets, time.Since(m.begun).Round(time.Second))
	}
	return n, err
}

func (m *meter) write(p []byte) error {
	if err := m.arm(time.Now().Add(m.silence)); err != nil {
		return err
	}
	_, err := m.conn.Write(p)
	return err
}

// arm sets the deadline, unless the call is over already: its end has set one that stays.
func (m *meter) arm(at time.Time) error {
	if err := m.conn.SetDeadline(at); err != nil {
		return err
	}
	return m.ctx.Err()
}

// firstLine is the greeting's. A server that ends it with LF alone does so with all that it says.
func (c *Client) firstLine() (string, error) {
	text, err := limited(c.in, lineMost)
	if err != nil {
		return "", err
	}
	c.loose = !bytes.HasSuffix(text, []byte("\r\n"))
	return string(bytes.TrimRight(text, "\r\n")), nil
}

// line reads a line, without its end.
func (c *Client) line(most int) (string, error) {
	text, err := limited(c.in, most)
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))), nil
}

// limited reads a line with its LF. io.ErrUnexpectedEOF: the connection ended before it.
func limited(in *bufio.Reader, most int) (line []byte, err error) {
	for {
		piece, err := in.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case len(line) > most:
			return nil, &ProtocolError{fmt.Sprintf("a line has more than %d octets", most)}
		case errors.Is(err, io.EOF):
			return nil, io.ErrUnexpectedEOF
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		default:
			return line, nil
		}
	}
}

// answer reads a status line (RFC 1939 §3): its text, or a [*ReplyError] or [*ProtocolError].
func answer(command, line string) (text string, err error) {
	status, text, _ := strings.Cut(line, " ")
	switch strings.ToUpper(status) {
	case "+OK":
		return text, nil
	case "-ERR":
		code, text := responseCode(text)
		return "", &ReplyError{Command: command, Code: code, Text: safe(text)}
	}
	return "", &ProtocolError{fmt.Sprintf("its answer to %s is %q", command, safe(line))}
}

// codeMost bounds a response code.
const codeMost = 64

// responseCode cuts a response code off (RFC 2449 §8).
func responseCode(text string) (code, rest string) {
	inner, found := strings.CutPrefix(strings.TrimLeft(text, " "), "[")
	code, rest, closed := strings.Cut(inner, "]")
	if !found || !closed || len(code) > codeMost || code == "" || strings.ContainsFunc(code, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", text
	}
	return strings.ToUpper(code), strings.TrimLeft(rest, " ")
}

// safeMost bounds a server's text in an error.
const safeMost = 300

// safe makes one line of printable text of what a server has said.
func safe(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), safeMost)], "?")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text))
}

// errTooManyLines says that a list has more lines than are allowed.
type errTooManyLines struct{ most int }

func (e errTooManyLines) Error() string {
	return fmt.Sprintf("the server lists more than %d", e.most)
}

// lines sends a command whose answer has several lines, and gives each of them (RFC 1939 §3).
func (c *Client) lines(most int, take func(line string) error, format string, args ...any) error {
	if _, err := c.command(format, args...); err != nil {
		return err
	}
	for n := 0; ; n++ {
		line, err := c.line(listLineMost)
		if err != nil {
			return c.breaks(err)
		}
		if line == "." {
			return nil
		}
		if n >= most {
			return c.breaks(errTooManyLines{most})
		}
		if err := take(strings.TrimPrefix(line, ".")); err != nil {
			return c.breaks(err)
		}
	}
}
