package pop3

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// verb is one command: where it is allowed, how many arguments it takes, and what it does.
type verb struct {
	in       state
	min, max int  // arguments
	line     bool // the rest of the line is one argument, blanks included
	asks     bool // calls the backend, and reads nothing from the client meanwhile
	check    bool // health checks say it, too: it is no news
	run      func(*session, context.Context, args) error
}

// verbs are the commands. What stands here is all that the protocol is.
var verbs = map[string]verb{
	// RFC 1939
	"USER": {in: authorization, min: 1, line: true, run: (*session).userName},
	"PASS": {in: authorization, min: 1, line: true, asks: true, run: (*session).password},
	"STAT": {in: transaction, asks: true, run: (*session).stat},
	"LIST": {in: transaction, max: 1, asks: true, run: (*session).list},
	"UIDL": {in: transaction, max: 1, asks: true, run: (*session).uidl},
	"RETR": {in: transaction, min: 1, max: 1, asks: true, run: (*session).retr},
	"TOP":  {in: transaction, min: 2, max: 2, asks: true, run: (*session).top},
	"DELE": {in: transaction, min: 1, max: 1, run: (*session).dele},
	"RSET": {in: transaction, run: (*session).rset},
	"NOOP": {in: transaction, check: true, run: (*session).noop},
	"LAST": {in: transaction, run: (*session).last}, // RFC 1460, a quirk
	"QUIT": {in: anyState, check: true, run: (*session).quit},
	// extensions
	"CAPA": {in: anyState, check: true, run: (*session).capa},           // RFC 2449
	"STLS": {in: authorization, check: true, run: (*session).stls},      // RFC 2595
	"AUTH": {in: authorization, max: 2, run: (*session).auth},           // RFC 5034
	"UTF8": {in: authorization, asks: true, run: (*session).enableUTF8}, // RFC 6856 §2
	"LANG": {in: anyState, max: 1, run: (*session).lang},                // RFC 6856 §3
}

// command carries out one line, or what was wrong with it, and sees to its response, its
// metric and its share of the log. An error ends the session.
func (s *session) command(line []byte, err error) error {
	began, sent := time.Now(), s.out.total
	s.lastOK = false
	name, rest := splitVerb(line)
	v, known := verbs[name]
	if !known {
		name = "unknown"
	}
	s.counted = s.counted || !v.check
	switch {
	case err == nil:
		err = s.execute(v, known, line, rest)
	case errors.Is(err, errBareLF):
		err = errNoCR
	default:
		err = errTooLong
	}
	err = s.settle(name, err)
	s.sum.Commands++
	if !s.lastOK {
		s.sum.Errors++
	}
	s.log(zerolog.DebugLevel).Str("verb", name).Bool("ok", s.lastOK).Msg("command")
	s.server.observer().Command(CommandEvent{
		Session: s.info.ID, Verb: name, OK: s.lastOK, Took: time.Since(began), Sent: s.out.total - sent,
	})
	return err
}

// execute checks what can be checked of any command, and runs it.
func (s *session) execute(v verb, known bool, line, rest []byte) error {
	switch {
	case len(bytes.TrimLeft(line, " ")) == 0:
		return errEmpty
	case !known:
		return errUnknown
	case v.in&s.state == 0:
		return errState
	}
	if err := s.over(); err != nil {
		return err
	}
	a, err := v.arguments(rest)
	if err != nil {
		return err
	}
	ctx := s.ctx
	if v.asks {
		var done func()
		ctx, done = s.begin(true)
		defer done()
	}
	if err := v.run(s, ctx, a); err != nil {
		return cause(ctx, err)
	}
	return nil
}

// over ends the session where its maildrop's backend wants that.
func (s *session) over() error {
	if s.drop == nil || s.drop.Over == nil {
		return nil
	}
	ctx, done := s.begin(true)
	defer done()
	if err := s.drop.Over(ctx); err != nil {
		e := answer(err)
		return &farewell{reason: "over", code: e.Code, text: e.Text}
	}
	return nil
}

func (v verb) arguments(rest []byte) (args, error) {
	if v.line {
		if len(rest) == 0 {
			return args{}, errArguments
		}
		return args{rest: rest}, nil
	}
	if hasControl(rest) {
		return args{}, errCharacter
	}
	a, more := splitArgs(rest)
	a.rest = rest
	if more || a.n < v.min || a.n > v.max {
		return args{}, errArguments
	}
	return a, nil
}

// settle answers a command that failed. What it returns ends the session.
func (s *session) settle(name string, err error) error {
	var lost *drop
	var last *farewell
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errQuit):
		return err
	case errors.As(err, &lost), errors.As(err, &last):
		s.lastOK = false // whatever had been begun
		return err
	}
	e := answer(err)
	if e.Err != nil {
		s.log(zerolog.WarnLevel).Str("verb", name).Err(e.Err).Msg("command failed")
	}
	if e.Mistake {
		if s.mistakes++; reached(s.mistakes, s.server.MaxErrors, 20) {
			return &farewell{reason: "too many errors", text: e.Text + "; too many errors"}
		}
	}
	if e.Fatal {
		return &farewell{reason: "refused", code: e.Code, text: e.Text}
	}
	s.fail(e.Code, e.Text)
	return nil
}

// stop ends a multi-line response.
func (s *session) stop() error {
	_, _ = s.out.Write(theStop) // its error is kept
	return nil
}

func (s *session) line(words ...string) {
	b := s.out.space(maxResponse)
	for i, word := range words {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, printable(word, maxResponse-2-len(b))...)
	}
	s.out.took(append(b, crlf...))
}

// capa says what can be done (RFC 2449 §5), as things are now.
func (s *session) capa(context.Context, args) error {
	s.ok("capability list follows")
	for _, c := range []string{"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"} {
		s.line(c)
	}
	if s.passwordBarred() == nil {
		s.line("USER")
	}
	if mechanisms := s.mechanisms(); len(mechanisms) > 0 {
		s.line("SASL", strings.Join(mechanisms, " "))
	}
	if s.state == authorization && s.tlsRefused() == nil {
		s.line("STLS")
	}
	s.capaPolicy()
	return s.stop()
}

func (s *session) capaPolicy() {
	if expire := s.expire(); expire != "" {
		s.line("EXPIRE", expire)
	}
	if d := s.server.LoginDelay; d > 0 {
		s.line("LOGIN-DELAY", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	}
	if _, ok := s.backend.(UTF8Session); ok {
		s.line("UTF8")
	}
	s.line("LANG")
	if s.server.Implementation != "" {
		s.line("IMPLEMENTATION", s.server.Implementation)
	}
}

// expire is the maildrop's own, once there is one: " USER" is no part of that (RFC 2449 §6.7).
func (s *session) expire() string {
	if s.drop != nil && validExpire(s.drop.Expire) {
		return s.drop.Expire
	}
	return s.server.Expire
}

// languages are those of the texts: there is one, and RFC 6856 §3 wants the other name too.
var languages = []string{"en", "i-default"}

// lang lists the languages, or takes one (RFC 6856 §3). All texts are English ASCII.
func (s *session) lang(_ context.Context, a args) error {
	if a.n == 0 {
		s.ok("language list follows")
		s.line("en", "English")
		s.line("i-default", "English")
		return s.stop()
	}
	tag := strings.ToLower(a.field[0])
	if tag == "*" {
		tag = "i-default"
	}
	if base, _, ok := strings.Cut(tag, "-"); ok && base == "en" {
		tag = base // the lookup of RFC 4647 §3.4
	}
	if !slices.Contains(languages, tag) {
		return errLanguage
	}
	s.ok(tag + " language changed")
	return nil
}

// enableUTF8 turns UTF8 mode on (RFC 6856 §2.1).
func (s *session) enableUTF8(ctx context.Context, _ args) error {
	backend, ok := s.backend.(UTF8Session)
	if !ok {
		return errNoUTF8
	}
	if err := backend.EnableUTF8(ctx); err != nil {
		return err
	}
	s.utf8 = true
	s.ok("UTF8 enabled")
	return nil
}
