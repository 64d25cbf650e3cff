package host

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Measure implements [backends.Measurer], in as many requests as the wire wants it in. What the
// store wants not to be asked for now fails here: a client that waits asks for the message itself.
func (m *maildrop) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		if !m.g.desc.Reading.Measures {
			yield(backends.Measured{}, backends.Fail(backends.Unsupported, "store %q (%s) does not measure messages", m.g.spec.Store, m.g.desc.Name))
			return
		}
		for ids := range slices.Chunk(request.IDs, convert.MeasuredTogether(request.Top)) {
			some := request
			some.IDs = ids
			if !m.measureSome(ctx, some, yield) {
				return
			}
		}
	}
}

// measureSome asks with one request. False: nothing is to follow.
func (m *maildrop) measureSome(ctx context.Context, request backends.MeasureRequest, yield func(backends.Measured, error) bool) bool {
	if paused := m.paused.of(sessionKey); paused != nil {
		yield(backends.Measured{}, paused)
		return false
	}
	measure, err := convert.MeasureToProto(request)
	if err != nil {
		yield(backends.Measured{}, refused(err))
		return false
	}
	w := &measuring{request: request, more: make(chan struct{}, 1)}
	id, err := m.begin(ctx, w, func(id uint64) *pb.MaildropRequest {
		return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Measure{Measure: measure}}
	})
	if err != nil {
		yield(backends.Measured{}, err)
		return false
	}
	defer func() {
		if !w.over() {
			m.giveUp(id)
		}
	}()
	for range request.IDs {
		measured, err := w.next(ctx, m)
		if err != nil {
			m.pauses(sessionKey, err)
			yield(backends.Measured{}, err)
			return false
		}
		if measured.Failure != nil {
			m.pauses(messageKey(measured.ID), measured.Failure)
		}
		if !yield(measured, nil) {
			return false
		}
	}
	return true
}

// measuring is a Measure under way. What it may hold is bounded by its request.
type measuring struct {
	request backends.MeasureRequest
	more    chan struct{} // holds a token when something has come

	mu    sync.Mutex
	come  int                 // answers
	got   []backends.Measured // of these, what has not been taken
	ended bool
	err   error // with ended: why there are no more of them
}

func (w *measuring) answer(a answer) error {
	r, ok := a.message.GetResponse().(*pb.MaildropResponse_Measured)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ok || w.come == len(w.request.IDs) {
		return errors.New("an answer to a request to measure that is none")
	}
	measured, err := convert.MeasuredFromProto(r.Measured, w.request, w.request.IDs[w.come])
	if err != nil {
		return err
	}
	w.come++
	w.got = append(w.got, measured)
	w.wake()
	return nil
}

func (w *measuring) finish(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && w.come < len(w.request.IDs) {
		err = backends.Fail(backends.Temporary, "the plugin measured %d of %d messages", w.come, len(w.request.IDs))
	}
	w.ended, w.err = true, err
	w.wake()
}

// wake leaves a token.
func (w *measuring) wake() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// over says whether nothing follows.
func (w *measuring) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

// next waits for the next answer.
func (w *measuring) next(ctx context.Context, m *maildrop) (backends.Measured, error) {
	for {
		w.mu.Lock()
		if len(w.got) > 0 {
			first := w.got[0]
			w.got = w.got[1:]
			w.mu.Unlock()
			return first, nil
		}
		ended, err := w.ended, w.err
		w.mu.Unlock()
		if ended {
			return backends.Measured{}, err
		}
		if err := m.wait(ctx, w.more); err != nil {
			return backends.Measured{}, err
		}
	}
}
