package exchange

import (
	"context"
	"slices"

	"github.com/dipylon/dipylon/backends"
)

// partLeast is how many messages are worth a stream of their own beside another.
const partLeast = 4

// part is some of the messages of a request, which are read in one session context ahead of whoever wants them: as many as the request
// has at the most.
type part struct {
	ids     []backends.MessageID
	given   int
	results chan result // has room for all
	done    chan struct{}
}

type result struct {
	object *object
	err    error
}

// divide begins to read messages: in several session contexts, if they are many.
func (m *maildrop) divide(ctx context.Context, ids []backends.MessageID) (parts []*part) {
	n := min(lanesMost, max(1, len(ids)/partLeast))
	for chunk := range slices.Chunk(ids, (len(ids)+n-1)/n) {
		p := &part{ids: chunk, results: make(chan result, len(chunk)), done: make(chan struct{})}
		parts = append(parts, p)
		wait := m.borrow(ctx, len(chunk)) // in the order of the messages
		go func() {
			defer close(p.done)
			r, giveBack := wait()
			defer giveBack()
			p.read(ctx, r)
		}()
	}
	return parts
}

// read reads the messages one after the other.
func (p *part) read(ctx context.Context, r *reading) {
	s := &series{reading: r, ctx: ctx, left: p.ids}
	defer s.end()
	for range p.ids {
		if context.Cause(ctx) != nil {
			return // whoever waits sees that, too
		}
		o, err := s.next()
		p.results <- result{o, err}
	}
}

// next waits for the next message.
func (p *part) next(ctx context.Context) (*object, backends.MessageID, error) {
	id := p.ids[p.given]
	select {
	case r := <-p.results:
		p.given++
		return r.object, id, r.err
	case <-ctx.Done():
		return nil, id, backends.Fail(backends.Temporary, "fetch: %w", context.Cause(ctx))
	case <-p.done:
	}
	select {
	case r := <-p.results: // the last of them
		p.given++
		return r.object, id, r.err
	default:
		return nil, id, errClosed
	}
}

// close waits until nothing is read any more, and forgets what was. The context has ended.
func (p *part) close() {
	<-p.done
	for {
		select {
		case r := <-p.results:
			if r.object != nil {
				r.object.discard()
			}
		default:
			return
		}
	}
}

// series is messages that are read one after the other in a session context.
type series struct {
	*reading
	ctx    context.Context //nolint:containedctx // the request's, which covers all of it
	left   []backends.MessageID
	stream *group // nil: there is none
}

// next reads the next message: out of the stream of all, which begins anew where its session is lost, or alone.
func (s *series) next() (o *object, err error) {
	id := s.left[0]
	defer func() { s.left = s.left[1:] }()
	if s.stream != nil {
		if o = s.stream.take(id); o != nil {
			return o, nil // it has come with another, and nobody's turn is needed
		}
	}
	if len(s.left) > 1 || s.stream != nil {
		err = s.do(s.ctx, func(context.Context) error {
			o, err = s.fromStream(id)
			return err
		})
		if o != nil || err != nil {
			return o, err
		}
	}
	return s.message(s.ctx, &stream{id: id})
}

// fromStream reads a message out of the stream of all; nil: it is not to be had of that. It is one's turn.
func (s *series) fromStream(id backends.MessageID) (*object, error) {
	if s.stream == nil || s.stream.generation != s.session.generation && len(s.stream.expected) > 0 {
		s.end()
		g, err := s.begin(s.ctx, s.left)
		if err != nil {
			if lost(err) || backends.KindOf(failure(err)) == backends.Throttled {
				return nil, err
			}
			g = &group{generation: s.session.generation} // each is asked for alone
		}
		s.stream = g
	}
	return s.stream.next(id)
}

// end leaves the stream.
func (s *series) end() {
	if s.stream != nil {
		s.stream.leave(s.session)
	}
	s.stream = nil
}
