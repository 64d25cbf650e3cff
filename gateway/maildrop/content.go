package maildrop

import (
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	contents "github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
)

// reading is a message, or the top of one (TOP, RFC 1939 §7), on its way out of the store. It is the
// only place that looks at the octets that pass. It counts them as they are sent, with CRLF at the end
// of each line (RFC 1939 §11), so that a wrong size is corrected for the next time it is told. It
// notices when the store does not come to the message's end (I3). When a client has asked for the
// message, it logs the message and notes it as read. It implements [pop3.Content].
type reading struct {
	source io.ReadCloser   // the store's content in the form that the client takes, or a notice
	ctx    context.Context //nolint:containedctx // of the reading: whether it has been given up
	drop   *drop
	index  int
	top    int  // as asked for; below zero: the whole message
	notice bool // it stands for a message that is held: nothing is learnt from it
	// counts says that the goroutine that serves the client reads it, so that failures count.
	counts bool
	since  int64 // what was under way when it was asked for
	size   int64 // that the store has told with it; -1: none
	told   int64 // what the client was told for it, if the store told a size with it; -1: nothing exact

	passed  crlf.Counter
	asked   time.Time // when a client asked for it; zero: none has, it is ahead or is measured
	release func()    // ends what a message ahead holds; nil: it was not ahead
}

// watched is a message of the store's, or the top of one, being read.
func (d *drop) watched(ctx context.Context, i, top int, counts bool, since int64, inner backends.Content) *reading {
	r := &reading{source: inner, ctx: ctx, drop: d, index: i, top: top, counts: counts, since: since, size: -1, told: -1}
	switch size := inner.Size(); {
	case top >= 0:
	case d.opens:
		r.source, r.told = d.opened(ctx, i, inner), d.toldOpened(i)
	case size >= 0:
		r.size, r.told = size, d.announced(i, size)
	}
	if !d.utf8 {
		r.source = contents.Surrogate(ctx, r.source) // of as many octets
	}
	return r
}

// announced replaces the size in the list by the one that the store tells with the message (I6), and
// returns the size that the client is told; -1 while the message is being measured, and for an
// estimate. A size that was counted is not replaced: it is the size of the form that is sent, and the
// store may count another form.
func (d *drop) announced(i int, octets int64) int64 {
	told, known := d.list.size(i)
	if !known || d.policy.FastSizes {
		return -1
	}
	if _, counted := d.known.Size(string(d.list.id(i))); counted || told == octets {
		return told
	}
	d.found(i, octets)
	return octets
}

// Size implements [pop3.Content].
func (r *reading) Size() int64 {
	if size, known := r.drop.list.size(r.index); known && r.top < 0 {
		return size
	}
	return -1
}

// Read implements [io.Reader].
func (r *reading) Read(p []byte) (int, error) {
	n, err := r.source.Read(p)
	r.pass(p[:n], false)
	switch {
	case err == io.EOF: //nolint:errorlint // a wrapped one is not the end
		if e := r.finish(); e != nil {
			err = e
		}
	case err == nil && r.tooLong():
		err = r.checked()
		r.failed(err)
	case err != nil:
		r.failed(err)
	}
	return n, err
}

// WriteTo implements [io.WriterTo], without a copy where the store's content can write itself.
func (r *reading) WriteTo(w io.Writer) (n int64, err error) {
	to := &sink{to: w, reading: r}
	to.judge, _ = w.(canonical)
	if direct, ok := r.source.(io.WriterTo); ok {
		n, err = direct.WriteTo(to)
	} else {
		n, err = io.Copy(to, r.source)
	}
	switch {
	case err == nil:
		err = r.finish()
	case !to.failed:
		r.failed(err)
	}
	return n, err
}

// sink is the writer for [reading.WriteTo]. It notes whether an error is the writer's or the store's.
type sink struct {
	to      io.Writer
	judge   canonical // to, where it says that; or nil
	reading *reading
	failed  bool
}

// canonical is a writer that looks at line ends itself, as that of the engine does (RFC 1939 §3). It says
// whether each LF in what has been written had a CR before it.
type canonical interface{ Canonical() bool }

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.reading.pass(p[:n], s.judge != nil && s.judge.Canonical())
	s.failed = s.failed || err != nil
	return n, err
}

// pass counts octets that are sent, and looks for the Message-ID (RFC 5322 §3.6.4) in the first piece.
// crlf says that each LF is known to have a CR before it.
func (r *reading) pass(p []byte, crlf bool) {
	if len(p) > 0 && r.passed.Raw() == 0 && r.delivers() {
		r.drop.messageIDs.remember(r.index, contents.MessageID(p[:min(len(p), contents.MessageIDWithin)]))
	}
	if crlf {
		r.passed.Canonical(p)
		return
	}
	_, _ = r.passed.Write(p)
}

// delivers says whether a client has asked for it with RETR (RFC 1939 §5), and not with TOP.
func (r *reading) delivers() bool { return !r.asked.IsZero() && r.top < 0 }

// tooLong says whether more has come than the store had said.
func (r *reading) tooLong() bool { return r.size >= 0 && r.passed.Raw() > r.size }

// checked compares what came with the size that the store told, in the store's form or in the form
// that is sent. If neither fits, part of the message may be missing (I3).
func (r *reading) checked() error {
	if r.size < 0 || r.passed.Raw() == r.size || r.passed.Octets() == r.size {
		return nil
	}
	return backends.Fail(backends.Temporary, "the store said that a message has %d octets, and %d came", r.size, r.passed.Raw())
}

// finish is called at the end of what the store gave. An error means that it is not complete (I3).
func (r *reading) finish() error {
	if err := r.checked(); err != nil {
		r.failed(err)
		return err
	}
	if err := r.complete(); err != nil {
		return err
	}
	if r.delivers() {
		r.drop.delivered(r)
	}
	return nil
}

// failed is called when the store does not come to the message's end.
func (r *reading) failed(err error) {
	if r.counts && !r.notice {
		r.drop.failedMidway(r.ctx, r.index, r.top, r.since, err)
	}
}

// Close implements [io.Closer].
func (r *reading) Close() error {
	err := r.source.Close()
	if r.release != nil {
		r.release()
	}
	return err
}

// complete notes the true size of a message that has come whole. An error means that the client was
// told another size: LIST, STAT and RETR agree, or the message must not look complete (I6). It does not
// count as a failure of the message, and the true size is told from now on.
func (r *reading) complete() error {
	if r.top >= 0 || r.notice {
		return nil
	}
	r.drop.recovered(r.index)
	octets := r.passed.Octets()
	r.drop.found(r.index, octets)
	if r.told < 0 || r.told == octets {
		return nil
	}
	return backends.Fail(backends.Temporary, "a message of %d octets in the store has %d as it is sent, and the client was told %d", r.passed.Raw(), octets, r.told)
}

// found compares a message's true size with what was told.
func (d *drop) found(i int, octets int64) {
	told, known := d.list.size(i)
	if known && told == octets {
		return
	}
	d.learn(i, octets)
	if known && d.policy.FastSizes {
		return // it was an estimate, and stays one as long as the session does
	}
	if known {
		d.log(zerolog.WarnLevel).Str("id", string(d.list.id(i))).Int64("told", told).Int64("came", octets).
			Msg("the store told a wrong size; it is remembered, and \"sizes: measure\" in the policy has all sizes counted")
	}
	d.list.setSize(i, octets)
}

// delivered logs a message that was sent whole, and notes it as read. A notice is only logged: the user
// has not seen the message.
func (d *drop) delivered(r *reading) {
	d.named(d.log(zerolog.InfoLevel), events.MessageOut, r.index).Int64(events.Octets, r.passed.Raw()).
		Dur(events.TookMS, time.Since(r.asked)).Msg("message sent to the client")
	if d.policy.MarkRead && !r.notice {
		d.marks.add(r.index)
	}
}
