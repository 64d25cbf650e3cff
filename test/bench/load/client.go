//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// patience bounds a session: a server that stops is an error.
const patience = 2 * time.Minute

// client is one session. It is strict, and cheap: it shares the processors with the server.
type client struct {
	conn net.Conn
	buf  []byte
	r, w int // buf[r:w] is unread
	out  []byte
}

// dial connects, with TLS from the start where there is a configuration for it, and reads the greeting.
func dial(address string, secure *tls.Config) (*client, error) {
	c, err := connect(address, netip.Addr{})
	if err != nil {
		return nil, err
	}
	if secure != nil {
		c.conn = tls.Client(c.conn, secure)
	}
	_, err = c.answer("greeting")
	return c, err
}

// connect connects from an address of this machine; the zero one: from any.
func connect(address string, from netip.Addr) (*client, error) {
	dialer := net.Dialer{Timeout: patience}
	if from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{conn: conn, buf: make([]byte, 1<<10)}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// fill reads more behind what is unread. The buffer grows with what comes: an idle session has a
// small one.
func (c *client) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		if c.r == 0 {
			c.buf = append(c.buf, make([]byte, min(len(c.buf)*4, 256<<10))...)
		}
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	}
	n, err := c.conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// line reads a line. It is valid until the next read.
func (c *client) line() ([]byte, error) {
	for scanned := 0; ; {
		if i := bytes.IndexByte(c.buf[c.r+scanned:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+scanned+i]
			c.r += scanned + i + 1
			if len(line) == 0 || line[len(line)-1] != '\r' || bytes.IndexByte(line, '\r') != len(line)-1 {
				return nil, fmt.Errorf("the line %.80q does not end with CRLF", line)
			}
			return line[:len(line)-1], nil
		}
		scanned = c.w - c.r
		if scanned > 512 {
			return nil, fmt.Errorf("a line of more than 512 octets: %.80q", c.buf[c.r:c.w])
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// answer reads a line that is to begin with +OK.
func (c *client) answer(to string) (string, error) {
	line, err := c.line()
	if err != nil {
		return "", fmt.Errorf("%s: %w", to, err)
	}
	text, ok := bytes.CutPrefix(line, []byte("+OK"))
	if !ok {
		return "", fmt.Errorf("%s: the answer is %q", to, line)
	}
	return string(bytes.TrimPrefix(text, []byte(" "))), nil
}

func (c *client) ask(command string) (string, error) {
	if _, err := io.WriteString(c.conn, command+"\r\n"); err != nil {
		return "", err
	}
	return c.answer(command[:4])
}

func (c *client) login(user, password string) error {
	if _, err := c.ask("USER " + user); err != nil {
		return err
	}
	_, err := c.ask("PASS " + password)
	return err
}

// quit ends the session, which is over when the server has closed it.
func (c *client) quit() error {
	defer c.close()
	if _, err := c.ask("QUIT"); err != nil {
		return err
	}
	if n, err := c.conn.Read(c.buf); n > 0 || err != io.EOF {
		return fmt.Errorf("after QUIT: %d octets, %w", n, err)
	}
	return nil
}

// listing is UIDL or LIST of all messages, whose numbers have to go up from 1.
func (c *client) listing(command string) (messages int, err error) {
	if _, err := c.ask(command); err != nil {
		return 0, err
	}
	for n := 1; ; n++ {
		line, err := c.line()
		if err != nil {
			return 0, err
		}
		if len(line) == 1 && line[0] == '.' {
			return n - 1, nil
		}
		number, value, ok := bytes.Cut(line, []byte(" "))
		c.out = strconv.AppendInt(c.out[:0], int64(n), 10)
		if !ok || !bytes.Equal(number, c.out) || len(value) == 0 || len(value) > 70 {
			return 0, fmt.Errorf("line %d of %s is %q", n, command, line)
		}
	}
}

// retrieve reads messages, and sends so many RETR together.
func (c *client) retrieve(from, to, together int, r *Result) error {
	for n := from; n <= to; n += together {
		last := min(to, n+together-1)
		c.out = c.out[:0]
		for i := n; i <= last; i++ {
			c.out = append(strconv.AppendInt(append(c.out, "RETR "...), int64(i), 10), '\r', '\n')
		}
		if _, err := c.conn.Write(c.out); err != nil {
			return err
		}
		for i := n; i <= last; i++ {
			if err := c.message(r); err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// message reads the answer to RETR. "+OK <n> octets" is what both servers say.
func (c *client) message(r *Result) error {
	told, err := c.answer("RETR")
	if err != nil {
		return err
	}
	size, sum, err := c.body()
	if err != nil {
		return err
	}
	if want := strconv.FormatInt(size, 10) + " octets"; told != want {
		return fmt.Errorf("it has %s, and the server said %q", want, told)
	}
	r.Messages++
	r.Octets += size
	r.Sum += uint64(sum)
	return nil
}

// body reads lines up to the one with a dot alone (RFC 1939 §3), without keeping them.
func (c *client) body() (size int64, sum uint32, err error) {
	for begins := true; ; {
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return 0, 0, err
			}
		}
		if begins && c.buf[c.r] == '.' {
			end, err := c.dot()
			if end || err != nil {
				return size, sum, err
			}
		}
		p := c.buf[c.r:c.w]
		if i := bytes.Index(p, []byte("\n.")); i >= 0 {
			p = p[:i+1]
		}
		sum = crc32.Update(sum, castagnoli, p)
		size += int64(len(p))
		c.r += len(p)
		begins = p[len(p)-1] == '\n'
	}
}

// dot takes a dot off the start of a line, or the line that ends the message.
func (c *client) dot() (end bool, err error) {
	for c.w-c.r < 3 {
		if err := c.fill(); err != nil {
			return false, err
		}
	}
	switch {
	case c.buf[c.r+1] == '\r' && c.buf[c.r+2] == '\n':
		c.r += 3
		return true, nil
	case c.buf[c.r+1] != '.':
		return false, fmt.Errorf("a line that begins with one dot: %.80q", c.buf[c.r:c.w])
	}
	c.r++
	return false, nil
}
