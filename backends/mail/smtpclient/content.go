package smtpclient

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// chunkSize is how much content goes into one BDAT (RFC 3030).
const chunkSize = 256 << 10

// The memory that content goes through on its way.
var (
	chunkPool = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}
	blockPool = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}
)

// transfer sends the content, up to its end. A CR or LF of its own never leaves (RFC 5321
// §2.3.8): a server that takes it for a line's end would see the end of the content behind it.
func (c *Client) transfer(raw io.Reader) error {
	content := crlf.NewReader(raw)
	defer content.Release()
	if c.has("CHUNKING") {
		return c.chunks(content)
	}
	return c.data(content)
}

// errContent wraps what the content's reader failed with.
type errContent struct{ error }

func (e errContent) Unwrap() error { return e.error }

// chunks sends the content with BDAT, each chunk once the one before it was answered, and the last
// one once the content is known to be complete.
func (c *Client) chunks(content io.Reader) error {
	first, second := chunkPool.Get().(*[]byte), chunkPool.Get().(*[]byte)
	defer chunkPool.Put(first)
	defer chunkPool.Put(second)
	chunk, next := *first, *second
	n, err := readFull(content, chunk)
	for {
		if err != nil && err != io.EOF {
			return errContent{err}
		}
		last := err == io.EOF
		var more int
		if !last { // one chunk is read ahead, as the last one has to say that it is
			more, err = readFull(content, next)
			if last = err == io.EOF && more == 0; !last && err != nil && err != io.EOF {
				return errContent{err}
			}
		}
		if err := c.chunk(chunk[:n], last); err != nil || last {
			return err
		}
		chunk, next, n = next, chunk, more
	}
}

// readFull reads until p is full, and returns io.EOF when r ended in between: unlike
// [io.ReadFull] it does not mistake a reader that failed with io.ErrUnexpectedEOF for one that
// ended well.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = r.Read(p[n:])
		n += more
	}
	if n == len(p) && err == io.EOF {
		err = nil // the next call tells
	}
	return n, err
}

// chunk sends one BDAT. The reply to the last one is left to finish.
func (c *Client) chunk(octets []byte, last bool) error {
	line := "BDAT " + strconv.Itoa(len(octets))
	if last {
		line += " LAST"
	}
	if err := c.send("%s", line); err != nil {
		return err
	}
	c.within(c.options.Timeouts.Block)
	if _, err := c.out.Write(octets); err != nil {
		return c.lost(err)
	}
	if err := c.flush(); err != nil || last {
		return err
	}
	_, err := c.expectWithin(250, c.options.Timeouts.Block)
	if refused := (*ReplyError)(nil); errors.As(err, &refused) {
		refused.Command = AtBdat
	}
	return err
}

// data sends the content with DATA, dots stuffed (RFC 5321 §4.5.2).
func (c *Client) data(content io.Reader) error {
	if _, err := c.commandWithin(c.options.Timeouts.Data, 354, "DATA"); err != nil {
		return err
	}
	stuffed := &stuffer{c: c, lineStart: true}
	block := blockPool.Get().(*[]byte)
	defer blockPool.Put(block)
	if _, err := io.CopyBuffer(stuffed, onlyReader{content}, *block); err != nil {
		if stuffed.failed == nil {
			err = errContent{err}
		}
		// The only way to take a message back is to go before its end.
		_ = c.lost(err)
		return err
	}
	if !stuffed.lineStart {
		_, _ = c.out.WriteString("\r\n")
	}
	_, _ = c.out.WriteString(".\r\n")
	return c.flush()
}

type onlyReader struct{ io.Reader }

type stuffer struct {
	c         *Client
	lineStart bool
	failed    error
}

func (s *stuffer) Write(p []byte) (int, error) {
	total := len(p)
	s.c.within(s.c.options.Timeouts.Block)
	for len(p) > 0 {
		if s.lineStart && p[0] == '.' {
			_ = s.c.out.WriteByte('.')
		}
		line := len(p)
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line = i + 1
		}
		if _, s.failed = s.c.out.Write(p[:line]); s.failed != nil {
			return 0, s.c.lost(s.failed)
		}
		s.lineStart = p[line-1] == '\n'
		p = p[line:]
	}
	return total, nil
}
