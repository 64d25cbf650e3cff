package pop3

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/uidl"
)

// okNumber answers +OK with a number in the text.
func (s *session) okNumber(before string, n int64, after string) {
	s.ok(before + strconv.FormatInt(n, 10) + after)
}

// message finds the message that an argument means: one that is there and not marked.
func (s *session) message(field string) (int, error) {
	n, ok := parseNumber(field, math.MaxInt)
	switch {
	case !ok:
		return 0, errNumber
	case n < 1 || n > s.drop.Len():
		return 0, errNoMessage
	case s.marks.has(n):
		return 0, errDeleted
	}
	return n, nil
}

func (s *session) size(ctx context.Context, n int) (int64, error) {
	size, err := s.drop.Size(ctx, n)
	if err == nil && size < 0 {
		err = fmt.Errorf("message %d has size %d", n, size)
	}
	return size, err
}

// left counts what is not marked: messages and octets. Sizes are asked for each time, as one may
// be another once its message has been opened; the backend has them at hand. A sum that is larger
// than any number here is the largest.
func (s *session) left(ctx context.Context) (count int, octets int64, err error) {
	for n := range s.unmarked() {
		size, err := s.size(ctx, n)
		if err != nil {
			return 0, 0, err
		}
		octets += min(size, math.MaxInt64-octets)
		s.moved()
	}
	return s.drop.Len() - s.marks.count, octets, nil
}

// stat is RFC 1939 §5: the drop listing, in the exact form that clients parse.
func (s *session) stat(ctx context.Context, _ args) error {
	count, octets, err := s.left(ctx)
	if err != nil {
		return err
	}
	s.ok(strconv.Itoa(count) + " " + strconv.FormatInt(octets, 10))
	return nil
}

// list is RFC 1939 §5: scan listings, of one message or all.
func (s *session) list(ctx context.Context, a args) error {
	if a.n == 1 {
		n, err := s.message(a.field[0])
		if err != nil {
			return err
		}
		size, err := s.size(ctx, n)
		if err != nil {
			return err
		}
		s.ok(strconv.Itoa(n) + " " + strconv.FormatInt(size, 10))
		return nil
	}
	count, octets, err := s.left(ctx) // so all sizes are known before +OK
	if err != nil {
		return err
	}
	s.ok(strconv.Itoa(count) + " messages (" + strconv.FormatInt(octets, 10) + " octets)")
	return s.listing(func(b []byte, n int) ([]byte, error) {
		size, err := s.size(ctx, n)
		return strconv.AppendInt(b, size, 10), err
	})
}

// uidl is RFC 1939 §7: unique-id listings, of one message or all.
func (s *session) uidl(_ context.Context, a args) error {
	if a.n == 1 {
		n, err := s.message(a.field[0])
		if err != nil {
			return err
		}
		id, err := s.uniqueID(n)
		if err != nil {
			return err
		}
		s.ok(strconv.Itoa(n) + " " + id)
		return nil
	}
	for n := range s.unmarked() { // before +OK
		if _, err := s.uniqueID(n); err != nil {
			return err
		}
	}
	s.ok("unique-id listing follows")
	return s.listing(func(b []byte, n int) ([]byte, error) {
		id, err := s.uniqueID(n)
		return append(b, id...), err
	})
}

// listing writes a line for each message that is not marked.
func (s *session) listing(appendTo func(b []byte, n int) ([]byte, error)) error {
	const longest = 20 + 1 + 70 + 2
	if s.drop.Len() > smallOutput/longest {
		s.out.widen()
	}
	for n := range s.unmarked() {
		b := append(strconv.AppendInt(s.out.space(longest), int64(n), 10), ' ')
		b, err := appendTo(b, n)
		if err != nil {
			return &drop{reason: "backend", err: err, broken: true}
		}
		s.out.took(append(b, crlf...))
		if s.out.err != nil {
			return &drop{reason: "gone", err: s.out.err}
		}
	}
	return s.stop()
}

// unmarked gives the numbers of the messages that are not marked as deleted.
func (s *session) unmarked() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for n := 1; n <= s.drop.Len(); n++ {
			if !s.marks.has(n) && !yield(n) {
				return
			}
		}
	}
}

// uniqueID is the backend's, if it is one: anything else could break the protocol.
func (s *session) uniqueID(n int) (string, error) {
	id := s.drop.UIDL(n)
	if !uidl.Valid(id) {
		return "", &Error{Code: "SYS/PERM", Text: "no unique-id", Err: fmt.Errorf("message %d has unique-id %q", n, id)}
	}
	return id, nil
}

// dele marks a message (RFC 1939 §5). Nothing is removed before QUIT (I4).
func (s *session) dele(ctx context.Context, a args) error {
	n, err := s.message(a.field[0])
	if err != nil {
		return err
	}
	if s.drop.MayDelete != nil {
		if err := s.drop.MayDelete(ctx); err != nil {
			return err
		}
	}
	s.marks.set(n, s.drop.Len())
	s.okNumber("message ", int64(n), " deleted")
	return nil
}

// rset takes all marks off (RFC 1939 §5).
func (s *session) rset(context.Context, args) error {
	s.marks, s.highest.now = marks{}, s.highest.before
	s.okNumber("maildrop has ", int64(s.drop.Len()), " messages")
	return nil
}

func (s *session) noop(context.Context, args) error {
	s.ok("")
	return nil
}

// retr sends a whole message (RFC 1939 §5). The number of octets in the answer is that of
// the message, as LIST gives it: without dot-stuffing.
func (s *session) retr(ctx context.Context, a args) error {
	n, err := s.message(a.field[0])
	if err != nil {
		return err
	}
	var size int64
	octets, err := s.send(ctx, n, -1, func(content Content) {
		size = content.Size()
		s.okNumber("", size, " octets")
	})
	if err != nil {
		return err
	}
	s.highest.now = max(s.highest.now, n)
	s.sum.Retr++
	s.sum.RetrSize += octets
	if octets != size {
		s.log(zerolog.WarnLevel).Int("message", n).Int64("told", size).Int64("sent", octets).Msg("message has another size than was told")
		s.server.observer().SizeMismatch(SizeMismatch{Session: s.info.ID, Message: n, Told: size, Sent: octets})
	}
	return nil
}

// top sends a message's header, and some lines of its body (RFC 1939 §7).
func (s *session) top(ctx context.Context, a args) error {
	n, err := s.message(a.field[0])
	if err != nil {
		return err
	}
	lines, ok := parseNumber(a.field[1], math.MaxInt32)
	if !ok {
		return errLines
	}
	if _, err := s.send(ctx, n, lines, func(Content) { s.ok("top of message follows") }); err != nil {
		return err
	}
	s.sum.Top++
	return nil
}

// send opens a message and sends it. A message that cannot be read to its end must not look
// complete (I3), so a failure after the first octet ends the session without the terminator;
// before it, it is an answer like any other.
func (s *session) send(ctx context.Context, n, top int, begin func(Content)) (octets int64, err error) {
	content, err := s.drop.Open(ctx, n, top)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err := content.Close(); err != nil {
			s.log(zerolog.DebugLevel).Int("message", n).Err(err).Msg("content not closed cleanly")
		}
	}()
	if size := content.Size(); top < 0 && size < 0 {
		return 0, fmt.Errorf("message %d has size %d", n, size)
	}
	begun := false
	to := &stuffer{to: &s.out, noNUL: s.server.quirk(QuirkNoNUL), moved: s.moved, begin: func() {
		begun = true
		begin(content)
		s.out.widen()
	}}
	err = copyContent(to, content)
	switch {
	case to.err != nil:
		return 0, &drop{reason: "gone", err: to.err}
	case err != nil && begun:
		err = fmt.Errorf("message %d, after %d octets: %w", n, to.octets, cause(ctx, err))
		return 0, &drop{reason: "content", err: err, broken: true}
	case err != nil:
		return 0, err
	}
	if err := to.finish(); err != nil {
		return 0, &drop{reason: "gone", err: err}
	}
	return to.octets, nil
}

// copyContent writes all of a message; nil says that all of it was there.
func copyContent(to io.Writer, content io.Reader) error {
	if direct, ok := content.(io.WriterTo); ok {
		_, err := direct.WriteTo(to)
		return err
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	for empty := 0; empty < 100; empty++ {
		n, err := content.Read(buf[:])
		if n > 0 {
			empty = 0
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF { //nolint:errorlint // a wrapped one is not the end
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// quit ends the session, and in the TRANSACTION state carries the marks out (RFC 1939 §6):
// this is the UPDATE state, and the only way into it. The client has said what it wants, so it
// need not wait for the outcome: only a stop by force ends the update.
func (s *session) quit(context.Context, args) error {
	if err := s.out.flush(); err != nil {
		return &drop{reason: "gone", err: err} // it has not seen what it asks to remove
	}
	var err error
	if s.state == transaction {
		err = s.update()
		_ = s.closeDrop() // the lock is free before the client knows
	}
	if err != nil {
		code := answer(err).Code
		if code == "" {
			code = errFailed.Code
		}
		s.log(zerolog.WarnLevel).Int("marked", s.marks.count).Err(err).Msg("messages not removed")
		return &farewell{reason: "quit", code: code, text: "some deleted messages not removed"}
	}
	s.ok("POP3 server signing off")
	return errQuit
}

func (s *session) update() error {
	if s.marks.count == 0 {
		return nil
	}
	ctx, done := s.begin(false)
	defer done()
	if err := s.drop.Update(ctx, s.marks.all()); err != nil {
		return cause(ctx, err)
	}
	s.sum.Deleted = s.marks.count
	return nil
}
