package smtp

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime/debug"
	"time"

	"github.com/dipylon/dipylon/gateway/events"
)

// data takes a message up to CRLF.CRLF. RFC 5321 §4.1.1.4.
func (s *session) data(args string) reply {
	switch {
	case args != "":
		return refuse(501, "5.5.4", "syntax error: no parameters allowed")
	case s.tx == nil:
		return refuse(503, "5.5.1", "bad sequence of commands: MAIL comes first")
	case s.tx.transfer != nil:
		return refuse(503, "5.5.1", "bad sequence of commands: the message was begun with BDAT") // RFC 3030 §2
	case s.tx.recipients == 0:
		return refuse(554, "5.5.1", "no valid recipients") // RFC 2920 §3.1
	case s.spoke():
		return hangUp(554, "5.5.0", "wait for the reply to DATA before the next command")
	}
	if err := s.say(ok(354, "", "Start mail input; end with <CRLF>.<CRLF>")); err != nil {
		return goodbye(err)
	}
	if err := s.flush(); err != nil {
		return goodbye(err)
	}
	s.in.grow()
	ctx, cancel, onEnd := s.dataContext()
	defer cancel()
	b := s.newBody(&dotSource{in: s.in, fill: s.fillData}, func() {
		s.in.shrink() // nothing of it is read any more, and the backend may take its time
		onEnd()
	})
	text, err := s.callData(ctx, b)
	b.close()
	if !fatal(err) {
		b.drain(err != nil, &s.discard, func() bool { return !b.ended })
	}
	return s.finish(b, text, err)
}

// fatal says that the backend wants the connection closed: then nothing is drained.
func fatal(err error) bool {
	e, is := errors.AsType[*Error](err)
	return is && e.Fatal
}

func (s *session) newBody(src source, onEnd func()) *body {
	limits := s.limits
	limits.MessageSize = s.tx.size
	rules := canonical{limits: limits, normalise: s.server.BareNewlines == NormaliseBareNewlines}
	return newBody(src, rules, s.received(time.Now()), onEnd)
}

// dataContext bounds Data: by the session's end while the message comes in, and by the time
// that the client waits once it has come.
func (s *session) dataContext() (_ context.Context, stop context.CancelFunc, onEnd func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	commit := s.server.timeouts.Commit
	if commit < 0 {
		return ctx, cancel, func() {}
	}
	whole := time.Duration(math.MaxInt64)
	if !s.end.IsZero() {
		whole = time.Until(s.end) + commit
	}
	timer := time.AfterFunc(whole, cancel)
	stop = func() {
		cancel()
		timer.Stop()
	}
	return ctx, stop, func() {
		if ctx.Err() == nil {
			timer.Reset(commit)
		}
	}
}

// callData gives the message to the backend. A panic there ends this session alone.
func (s *session) callData(ctx context.Context, b *body) (text string, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("a session panicked")
			text, err = "", &Error{Code: 421, Enhanced: "4.3.0", Text: "a local error, try again later", Fatal: true}
		}
	}()
	return s.backend.Data(ctx, b.trace, b)
}

// finish ends the transaction and says what became of the message.
func (s *session) finish(b *body, text string, err error) reply {
	tx := s.tx
	s.endTransaction(s.backend)
	r := s.verdict(b, text, err)
	r.close = r.close || fatal(err) // what was not drained must not be taken for commands
	if r.code == 250 {
		s.accepted++
		s.forgiven = s.tally
	}
	events.TLS(s.log.Info().Str(events.Event, events.MessageIn), s.tlsState.Load()).
		Str("transaction", tx.id).Stringer("from", tx.reversePath).Int("recipients", tx.recipients).Int("refused", tx.refused).
		Int64(events.Octets, b.canon.size).Int("code", r.code).Str("enhanced", r.enhanced).Str("reply", r.text).
		AnErr("cause", r.cause).Dur(events.TookMS, time.Since(tx.began)).Msg("message")
	s.server.observe(Event{
		Kind: Finished, Conn: s.id, Code: r.code, Octets: b.canon.size, Recipients: tx.recipients, Took: time.Since(tx.began),
	})
	return r
}

// verdict is the reply to a message. A rule that it breaks goes before what the backend
// says; 250 is what the backend alone can say (I1).
func (s *session) verdict(b *body, text string, err error) reply {
	rule, broken := errors.AsType[*Error](b.err)
	switch {
	case b.gone == errDiscard && broken:
		return reply{code: rule.Code, enhanced: rule.Enhanced, text: rule.Text, close: true}
	case b.gone == errDiscard:
		r := failure(err)
		r.close = true
		return r
	case errors.Is(b.gone, os.ErrDeadlineExceeded):
		return reply{code: 421, enhanced: "4.4.2", text: "time-out, the message was not accepted", close: true, cause: b.gone, ended: b.gone}
	case b.gone != nil:
		return reply{close: true, cause: b.gone, ended: b.gone}
	case broken:
		return failure(rule)
	case err != nil:
		return failure(err)
	}
	if text == "" {
		text = "message accepted"
	}
	return ok(250, "2.0.0", text)
}
