package imap

import (
	"context"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

const (
	// partsAhead is how many parts of one message are asked for at once while it is read.
	partsAhead = 4
	// partsAheadMost is the same for a server that gives shorter parts than it is asked for.
	partsAheadMost = 32
	// partLeast is the shortest part that is asked for, however short those are that come.
	partLeast = 4 << 10
	// shortPartsMost is how many parts of a message may be shorter than they should be before
	// only one is asked for at a time.
	shortPartsMost = 3
)

// parts reads a message part after part, asking ahead while it is being read.
//
// A part that is shorter than asked for is not the message's end: some servers give at most so
// many octets to one FETCH. The end is where the message has the length that RFC822.SIZE says and
// the part had room for more, or where a part is empty.
type parts struct {
	ctx      context.Context
	maildrop *maildrop
	uid      imap.UID
	size     int64 // RFC822.SIZE, as listed; -1: unknown

	asked     int64 // octets asked for so far
	got       int64 // octets arrived so far
	canonical crlf.Counter
	short     int   // parts that were shorter than asked for, and not the last
	shorter   int64 // length of such a part, behind which nothing has come yet
	ahead     []*part
	unread    [][]byte
	once      sync.Once
	err       error
}

func (r *parts) ask() {
	at := place{r.uid, r.asked}
	p := r.maildrop.fetchPart(at, r.length(r.asked))
	r.ahead = append(r.ahead, p)
	r.asked += p.length
}

// length is how many octets the part at an offset is asked for. The last part is asked for with
// room for one octet more, so that no part beyond the end has to be asked for, which some servers
// refuse or answer badly.
func (r *parts) length(offset int64) int64 {
	length := partLength(offset)
	if most := r.maildrop.partMost.Load(); most > 0 {
		length = min(length, most)
	}
	if offset+length == r.size {
		length++
	}
	return length
}

// collect receives a message whole if it is not too long, and says how many octets it has in
// canonical form; -1: that is not known yet.
func (r *parts) collect() (octets int64, err error) {
	if r.size > collectMost {
		r.askAhead()
		if err := r.next(); err != nil && err != io.EOF {
			return -1, err
		}
		return -1, nil
	}
	for r.err == nil && r.got <= collectMost {
		r.askAhead()
		if err := r.next(); err != nil {
			return -1, err
		}
	}
	if r.err == nil {
		return -1, nil // it is longer than the server said
	}
	return r.canonical.Octets(), nil
}

// next waits for the oldest part asked for. At the message's end r.err is io.EOF.
func (r *parts) next() error {
	oldest := r.ahead[0]
	r.ahead = r.ahead[1:]
	octets, found, err := r.receive(oldest)
	switch {
	case err != nil && r.ctx.Err() != nil:
		return err
	case r.whole() && (err != nil || !found):
		r.finish() // nothing is missing: some servers refuse a part that begins at the end
		return nil
	case backends.KindOf(err) == backends.NotFound:
		return r.missing(err)
	case err != nil:
		return err
	case !found, r.got == 0 && len(octets) == 0 && (r.size != 0 || octets == nil):
		return r.missing(nil)
	case len(octets) == 0:
		return r.end()
	}
	r.take(octets, oldest.length)
	return nil
}

// receive takes a part's answer. Where it is no answer, or would mean that the message is cut, the
// part is asked for once more, alone: only that says something about the message (I8).
func (r *parts) receive(p *part) (octets []byte, found bool, err error) {
	octets, found, err = p.wait(r.ctx)
	doubtful := !found || len(octets) == 0 && (r.got == 0 && (r.size != 0 || octets == nil) || cut(r.size, r.got))
	switch {
	case r.ctx.Err() != nil || r.whole():
	case err != nil && r.maildrop.mayRetry(err), err == nil && doubtful:
		return r.maildrop.fetchAlone(r.ctx, p)
	}
	return octets, found, err
}

// take keeps what has come. A part that is shorter than asked for, and not the last, shows how
// much the server gives at a time: the parts asked for ahead begin where they should not.
func (r *parts) take(octets []byte, asked int64) {
	r.unread = append(r.unread, octets)
	r.got += int64(len(octets))
	_, _ = r.canonical.Write(octets)
	if r.shorter > 0 {
		r.maildrop.partMost.Store(max(r.shorter, partLeast))
		r.shorter = 0
	}
	switch length := int64(len(octets)); {
	case length > asked: // another's answer to the same question, or the whole message
		if r.ahead, r.asked = nil, r.got; r.whole() {
			r.finish()
		}
	case length == asked:
	case r.whole():
		r.finish()
	default:
		r.short++
		r.shorter = length
		r.ahead, r.asked = nil, r.got
	}
}

// whole says whether as much has come as the server said.
func (r *parts) whole() bool { return r.got > 0 && r.got == r.size }

// end is reached by an empty part. A message that is much shorter than the server said has been
// cut (I3): that is for each message by itself, whatever the server does with others.
func (r *parts) end() error {
	if cut(r.size, r.got) && r.canonical.Octets() != r.size {
		if r.err = r.confirm(); r.err != nil {
			return r.err
		}
	}
	r.finish()
	return nil
}

// confirm finds out whether a message that is much shorter than the server said ends there all the same. Where the server's sizes
// are known to be wrong it is asked for the message once more, as a whole: what is cut in parts would have to be cut at the same
// octet there, and a literal says its length by itself.
func (r *parts) confirm() error {
	isCut := backends.Fail(backends.Poison, "message %d has %d octets and the server said %d: it is cut", r.uid, r.got, r.size)
	store, id := r.maildrop.store, r.maildrop.id(r.uid)
	if !store.settings.SizeEstimates {
		return isCut
	}
	if store.wrongSizes.isWhole(r.maildrop, id, r.got) {
		return nil
	}
	octets, err := r.maildrop.wholeLength(r.ctx, r.uid)
	switch {
	case err != nil:
		return err
	case octets != r.got:
		return isCut
	}
	store.wrongSizes.addWhole(r.maildrop, id, r.got)
	return nil
}

// finish notes that the message is complete.
func (r *parts) finish() {
	r.ahead, r.err = nil, io.EOF
	if came := r.canonical.Octets(); r.size >= 0 && came != r.size {
		r.maildrop.tellSize(r.uid, r.size, came)
	}
}

// cut says whether octets are missing, rather than counted in another way: more than 1 KiB, and
// more than one in a hundred.
func cut(told, came int64) bool {
	missing := told - came
	return missing > 1<<10 && missing > told/100
}

// missing tells a message that is gone from one that the server has and does not give.
func (r *parts) missing(cause error) error {
	there, size, err := r.maildrop.isThere(r.ctx, r.uid)
	if there && r.size < 0 {
		r.size = size
	}
	switch {
	case err != nil:
		r.err = err
	case there && r.got >= r.size && r.size > 0, there && r.got > 0 && r.maildrop.store.settings.SizeEstimates:
		return r.end()
	case there:
		r.err = backends.Fail(backends.Poison, "the server has message %d, with %d octets, and gives %d of them", r.uid, r.size, r.got)
	case r.got > 0:
		r.err = backends.Fail(backends.Temporary, "message %d went from the server while it was read", r.uid)
	case cause != nil:
		r.err = cause
	default:
		r.err = backends.Fail(backends.NotFound, "message %d is gone from the server", r.uid)
	}
	return r.err
}

// Read gives the octets as the server keeps them.
func (r *parts) Read(p []byte) (int, error) {
	for len(r.unread) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.askAhead()
		if err := r.next(); err != nil {
			r.err = err
			return 0, err
		}
	}
	n := copy(p, r.unread[0])
	if r.unread[0] = r.unread[0][n:]; len(r.unread[0]) == 0 {
		r.unread[0] = nil
		r.unread = r.unread[1:]
	}
	return n, nil
}

// askAhead asks for the parts up to the size, and for one at least.
func (r *parts) askAhead() {
	most := partsAhead
	if length := r.maildrop.partMost.Load(); length > 0 {
		most = int(min(partsAheadMost, partsAhead*partSize/length))
	}
	if r.shorter > 0 || r.short >= shortPartsMost || r.maildrop.partsIgnored.Load() {
		most = 1
	}
	for len(r.ahead) == 0 || len(r.ahead) < most && r.asked < r.size {
		r.ask()
	}
}

// close makes further reads fail. Parts under way are taken off the connection in the
// background, by those who asked for them.
func (r *parts) close() {
	r.once.Do(func() {
		r.err = backends.Fail(backends.Temporary, "fetch: %w", errClosed)
		r.unread, r.ahead = nil, nil
	})
}
