package pop3

import (
	"errors"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/events"
)

// end says the last word, if there is one, and closes the connection.
func (s *session) end(err error) {
	var last *farewell
	switch {
	case errors.As(err, &last):
		_ = s.contain("close", (*session).closeDrop) // who hears it may come back at once
		s.fail(last.code, last.text)
		s.hangUp(true)
	case errors.Is(err, errQuit):
		s.hangUp(s.in.pending())
	default: // nothing of it must look like an end that was meant, TLS's close_notify included
		s.out.release()
		_ = s.contain("close", (*session).closeDrop) // who sees it may come back at once, too
		_ = s.wire.Conn.Close()
	}
}

// The bounds of saying goodbye.
const (
	goodbyeTimeout = 5 * time.Second
	lingerTimeout  = time.Second
	lingerOctets   = 256 << 10
)

// hangUp sends what is left and closes. A client that is still sending would be sent a reset
// by a plain close, and might never see the last response: with linger, it is heard out.
func (s *session) hangUp(linger bool) {
	s.wire.timeout.Store(int64(goodbyeTimeout))
	err := s.out.flush()
	if linger && err == nil && s.closeWrite() {
		_ = s.wire.SetReadDeadline(time.Now().Add(lingerTimeout))
		_, _ = io.CopyN(io.Discard, s.wire.Conn, lingerOctets)
	}
	_ = s.conn.Close()
}

// closeWrite says that nothing more will be sent; false: this connection cannot.
func (s *session) closeWrite() bool {
	type half interface{ CloseWrite() error }
	if conn, ok := s.conn.(half); ok { // TLS
		_ = conn.CloseWrite()
	}
	conn, ok := s.wire.Conn.(half)
	return ok && conn.CloseWrite() == nil
}

// closeBackend releases what the backend holds: the maildrop's lock first.
func (s *session) closeBackend() error {
	defer func() {
		if s.backend != nil {
			s.backend.Close()
		}
	}()
	return s.closeDrop()
}

func (s *session) closeDrop() error {
	if s.drop == nil {
		return nil
	}
	held := s.drop
	s.drop = nil
	if s.unwatch != nil {
		s.unwatch()
	}
	if err := held.Close(); err != nil {
		s.log(zerolog.WarnLevel).Err(err).Msg("maildrop not closed cleanly")
	}
	return nil
}

// report writes the session's last log line. A session that ended in the middle of a response
// is a warning: the client will complain (I3).
func (s *session) report(err error) {
	sum := &s.sum
	sum.Reason = reason(err)
	sum.Duration = time.Since(s.began)
	sum.In, sum.Out = s.in.total, s.out.total
	e := s.log(zerolog.InfoLevel)
	lost, ok := errors.AsType[*drop](err)
	if s.isNoNews(lost) {
		e = s.log(zerolog.DebugLevel)
	}
	if ok && lost.err != nil {
		if lost.broken {
			e = s.log(zerolog.WarnLevel)
		}
		e = e.AnErr("error", lost.err)
	}
	events.TLS(e.Str(events.Event, events.SessionEnd), s.tlsState()).
		Str(events.Reason, sum.Reason).Str(events.User, sum.User).Dur(events.TookMS, sum.Duration).
		Int("commands", sum.Commands).Int("errors", sum.Errors).
		Int("retr", sum.Retr).Int64("retr_octets", sum.RetrSize).Int("top", sum.Top).
		Int("deleted", sum.Deleted).Int64("octets_in", sum.In).Int64("octets_out", sum.Out).Msg("disconnected")
	s.server.observer().SessionClosed(*sum)
}

// isNoNews knows the sessions that are a health check: nobody spoke, or a balancer that speaks for
// itself said nothing but what such checks say. lost is how the session ended, or nil.
func (s *session) isNoNews(lost *drop) bool {
	if lost != nil && lost.reason == reasonTLS && !events.Silent(lost.err) {
		return false
	}
	return s.sum.In == 0 || s.healthCheck && !s.counted
}

func reason(err error) string {
	var last *farewell
	var lost *drop
	switch {
	case errors.As(err, &last):
		return last.reason
	case errors.As(err, &lost):
		return lost.reason
	case errors.Is(err, errQuit):
		return "quit"
	}
	return "error"
}
