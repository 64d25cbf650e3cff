package smtpclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Envelope is the envelope of one message.
type Envelope struct {
	ReversePath string
	Recipients  []string
	Size        int64 // octets; 0: not known
	EightBit    bool
	UTF8        bool
}

// chunkSize is how much content goes into one BDAT (RFC 3030).
const chunkSize = 256 << 10

// Ask says of each recipient whether the server would take mail for it, and takes the
// question back.
func (c *Client) Ask(ctx context.Context, e Envelope) ([]backends.Verdict, error) {
	defer c.during(ctx)()
	verdicts, _, err := c.envelope(e)
	if err == nil {
		_, err = c.command(250, "RSET")
	}
	return verdicts, c.reason(ctx, err)
}

// Send sends one message: a verdict for each recipient, in their order. An error says that the
// connection or the content failed before the message was complete: nobody has got it.
func (c *Client) Send(ctx context.Context, e Envelope, content io.Reader) ([]backends.Verdict, error) {
	defer c.during(ctx)()
	verdicts, taken, err := c.envelope(e)
	if err != nil {
		return nil, c.reason(ctx, err)
	}
	if len(taken) == 0 {
		_, err := c.command(250, "RSET")
		if c.broken != nil {
			err = nil // the verdicts stand
		}
		return verdicts, err
	}
	var contentErr error
	_, chunking := c.extensions["CHUNKING"]
	if chunking {
		contentErr = c.chunks(content)
	} else {
		contentErr = c.data(content)
	}
	if contentErr != nil {
		return c.refused(ctx, verdicts, taken, contentErr)
	}
	c.finish(ctx, verdicts, taken)
	return verdicts, nil
}

// envelope sends MAIL and RCPT, all at once where the server allows it. It returns the verdicts
// so far and the indexes of the recipients that were taken.
func (c *Client) envelope(e Envelope) (verdicts []backends.Verdict, taken []int, err error) {
	verdicts = make([]backends.Verdict, len(e.Recipients))
	for i, r := range e.Recipients {
		verdicts[i].Recipient = r
	}
	commands := []string{"MAIL FROM:<" + e.ReversePath + ">" + c.parameters(e)}
	var asked []int // the recipients that can be named in a command
	for i, r := range e.Recipients {
		if f := unspeakable(r); f != nil {
			verdicts[i].Failure = f
			continue
		}
		asked = append(asked, i)
		commands = append(commands, "RCPT TO:<"+r+">")
	}
	_, pipelining := c.extensions["PIPELINING"]
	var mail Reply
	err = c.exchange(commands, pipelining, func(n int, r Reply) {
		if n == 0 {
			mail = r
			return
		}
		i := asked[n-1]
		switch {
		case mail.Code/100 != 2:
			verdicts[i].Failure = FailureOf("MAIL", mail)
		case r.Code/100 != 2:
			verdicts[i].Failure = FailureOf("RCPT", r)
		default:
			taken = append(taken, i)
		}
	})
	return verdicts, taken, err
}

// unspeakable refuses what would end the command that it stands in, or cannot be an address
// (RFC 5321 §4.5.3.1).
func unspeakable(address string) *backends.Failure {
	switch {
	case strings.ContainsFunc(address, func(r rune) bool { return r < ' ' || r == 0x7f || r == '<' || r == '>' }),
		!strings.Contains(address, "@"), strings.HasPrefix(address, "@"), strings.HasSuffix(address, "@"):
		return backends.Fail(backends.NotFound, "%q is no address", address).WithCode("5.1.3")
	case len(address) > 254:
		return backends.Fail(backends.NotFound, "an address of %d octets", len(address)).WithCode("5.1.3")
	}
	return nil
}

// window is how many commands are sent before their replies are read: enough to hide the
// round trip, and few enough that neither side's buffers fill (RFC 2920 §3.1).
const window = 50

func (c *Client) exchange(commands []string, pipelining bool, each func(int, Reply)) error {
	group := 1
	if pipelining {
		group = window
	}
	for start := 0; start < len(commands); start += group {
		end := min(start+group, len(commands))
		for _, line := range commands[start:end] {
			if err := c.send("%s", line); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
		for i := start; i < end; i++ {
			r, err := c.expect(0)
			if err != nil {
				return err
			}
			each(i, r)
		}
	}
	return nil
}

func (c *Client) parameters(e Envelope) string {
	var b strings.Builder
	if _, ok := c.extensions["SIZE"]; ok && e.Size > 0 {
		b.WriteString(" SIZE=" + strconv.FormatInt(e.Size, 10))
	}
	if _, ok := c.extensions["8BITMIME"]; ok && e.EightBit {
		b.WriteString(" BODY=8BITMIME")
	}
	if _, ok := c.extensions["SMTPUTF8"]; ok && e.UTF8 {
		b.WriteString(" SMTPUTF8")
	}
	return b.String()
}

// errContent wraps what the content's reader failed with.
type errContent struct{ error }

func (e errContent) Unwrap() error { return e.error }

// chunks sends the content with BDAT, without waiting for the replies in between, and the
// last chunk once the content is known to be complete.
func (c *Client) chunks(content io.Reader) error {
	buffer, next := make([]byte, chunkSize), make([]byte, chunkSize)
	n, err := ReadFull(content, buffer)
	for {
		if err != nil && err != io.EOF {
			return errContent{err}
		}
		last := err == io.EOF
		var more int
		if !last { // one chunk is read ahead, as the last one has to say that it is
			more, err = ReadFull(content, next)
			if last = err == io.EOF && more == 0; !last && err != nil && err != io.EOF {
				return errContent{err}
			}
		}
		if err := c.chunk(buffer[:n], last); err != nil || last {
			return err
		}
		buffer, next, n = next, buffer, more
	}
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
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.options.Timeout))
	if _, err := c.out.Write(octets); err != nil {
		return c.lost(err)
	}
	if err := c.flush(); err != nil || last {
		return err
	}
	_, err := c.expect(250)
	return err
}

// ReadFull reads until p is full, and returns io.EOF when r ended in between: unlike
// [io.ReadFull] it does not mistake a reader that failed with io.ErrUnexpectedEOF for one that
// ended well.
func ReadFull(r io.Reader, p []byte) (n int, err error) {
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

// data sends the content with DATA, dots stuffed (RFC 5321 §4.5.2).
func (c *Client) data(content io.Reader) error {
	if _, err := c.command(354, "DATA"); err != nil {
		return err
	}
	stuffed := &stuffer{c: c, lineStart: true}
	if _, err := io.CopyBuffer(stuffed, onlyReader{content}, make([]byte, 64<<10)); err != nil {
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
	_ = s.c.conn.SetWriteDeadline(time.Now().Add(s.c.options.Timeout))
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

// refused handles a message that did not get to its end. A reply is a verdict for all who
// were taken; all else is an error, and the connection goes.
func (c *Client) refused(ctx context.Context, verdicts []backends.Verdict, taken []int, err error) ([]backends.Verdict, error) {
	var reply *ReplyError
	if errors.As(err, &reply) && c.broken == nil {
		for _, i := range taken {
			verdicts[i].Failure = FailureOf(reply.Command, reply.Reply)
		}
		_, _ = c.command(250, "RSET")
		return verdicts, nil
	}
	_ = c.lost(err)
	return nil, c.reason(ctx, err)
}

// finish takes the replies to the end of the content: one with SMTP, one for each recipient
// that was taken with LMTP (RFC 2033 §4.2). What is not answered is uncertain.
func (c *Client) finish(ctx context.Context, verdicts []backends.Verdict, taken []int) {
	var r Reply
	var err error
	for n, i := range taken {
		if n == 0 || c.options.LMTP {
			if err == nil {
				r, err = c.expectWithin(0, 4*c.options.Timeout)
			}
		}
		switch {
		case err != nil:
			verdicts[i].Failure = backends.Fail(backends.Uncertain, "no answer to the end of the content: %w", c.reason(ctx, err))
		case r.Code/100 != 2:
			verdicts[i].Failure = FailureOf("end of content", r)
		}
	}
}

// failureOf makes a failure of a reply: its kind by the enhanced status code (RFC 3463) where
// there is one, else by the reply code.
func FailureOf(command string, r Reply) *backends.Failure {
	text := strings.Join(r.Lines, " ")
	code, rest, _ := strings.Cut(text, " ")
	if !backends.ValidCode(code) {
		code, rest = "", text
	}
	f := backends.Fail(kindOf(r.Code, code), "%s: %d %s", command, r.Code, text)
	f.Code = code
	f.Text = rest
	return f
}

func kindOf(reply int, code string) backends.Kind {
	_, status, _ := strings.Cut(code, ".")
	permanent := reply/100 == 5
	switch {
	case status == "2.2" || reply == 552 && code == "" || reply == 452 && code == "":
		return backends.OverQuota
	case status == "3.4" || status == "2.3":
		return backends.TooLarge
	case permanent && (status == "1.1" || status == "1.2" || status == "1.10"):
		return backends.NotFound
	case permanent && code == "" && reply == 550:
		return backends.NotFound
	case permanent:
		return backends.Permanent
	case reply == 450 && status == "2.1":
		return backends.Temporary
	case status == "7.0" || status == "4.5":
		return backends.Throttled
	}
	return backends.Temporary
}
