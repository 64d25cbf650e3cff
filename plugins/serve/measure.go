package serve

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// measure answers for one message after the other.
func (m *maildrop) measure(ctx context.Context, r *task, frame *pb.Measure) error {
	request, err := convert.MeasureFromProto(frame)
	if err != nil {
		return err
	}
	n := 0
	for measured, err := range m.measurer().Measure(ctx, request) {
		if err != nil {
			return err
		}
		if measured.ID != request.IDs[n] {
			return backends.Fail(backends.Temporary, "the backend measured another message than the one whose turn it was")
		}
		n++
		measured = sound(measured, request)
		last := n == len(request.IDs)
		if last {
			m.forget(r.id)
		}
		if err := m.send(&pb.MaildropResponse{
			Id: r.id, Done: last, Response: &pb.MaildropResponse_Measured{Measured: convert.MeasuredToProto(measured)},
		}); err != nil {
			return err
		}
		if last {
			return errAnswered
		}
	}
	return backends.Fail(backends.Temporary, "the backend measured fewer messages than were asked for")
}

// sound is what a backend has measured without what the gateway would end the maildrop for. A size that
// is none is that message's failure alone: whoever wants it reads the message.
func sound(m backends.Measured, asked backends.MeasureRequest) backends.Measured {
	switch {
	case m.Failure == nil && asked.Sizes && m.Size < 0:
		return backends.Measured{ID: m.ID, Size: -1, Failure: backends.Fail(backends.Poison, "the backend measured a message with %d octets", m.Size)}
	case !asked.Top:
		m.Top = nil
	}
	return m
}

// measurer is the backend's own, or one that reads messages here.
func (m *maildrop) measurer() backends.Measurer {
	if own, ok := m.drop.(backends.Measurer); ok {
		return own
	}
	return reader{m}
}

// reader makes Measure of a backend's Fetch.
type reader struct{ *maildrop }

// Measure implements [backends.Measurer].
func (r reader) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		for ids := range slices.Chunk(request.IDs, backends.FetchManyMost) {
			some := request
			some.IDs = ids
			if !r.some(ctx, some, yield) {
				return
			}
		}
	}
}

// some measures as many messages as one FetchMany gives. False: nothing is to follow.
func (r reader) some(ctx context.Context, request backends.MeasureRequest, yield func(backends.Measured, error) bool) bool {
	contents, err := r.openMany(ctx, backends.FetchManyRequest{
		IDs: request.IDs, Top: !request.Sizes, Lines: request.Lines, Rendering: request.Rendering, Counted: request.Sizes,
	})
	if err != nil {
		yield(backends.Measured{}, err)
		return false
	}
	defer func() { _ = contents.Close() }()
	for _, id := range request.IDs {
		measured := backends.Measured{ID: id, Size: -1}
		err := r.service.guard("Measure", func() error { return read(ctx, contents, request, &measured) })
		if ctx.Err() != nil {
			yield(backends.Measured{}, ctx.Err())
			return false
		}
		if measured.Failure = backends.AsFailure(err); measured.Failure != nil {
			measured = backends.Measured{ID: id, Size: -1, Failure: measured.Failure}
		}
		if !yield(measured, nil) {
			return false
		}
	}
	return true
}

// read measures the next message: its top first, as far as that is wanted, and then the rest.
func read(ctx context.Context, contents backends.Contents, request backends.MeasureRequest, to *backends.Measured) error {
	content, err := contents.Next(ctx)
	if err == io.EOF { // itself: a message's failure may wrap one
		return backends.Fail(backends.Temporary, "the backend gave fewer messages than were asked for")
	}
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	var count crlf.Counter
	src := io.TeeReader(&whole{content, counter{size: max(-1, content.Size())}}, &count)
	if request.Top {
		top := src
		if request.Sizes { // else the top is all that was fetched
			top = crlf.Top(src, request.Lines)
		}
		if to.Top, err = topOf(top); err != nil {
			return err
		}
	}
	if request.Sizes {
		if _, err := io.Copy(io.Discard, src); err != nil {
			return err
		}
		to.Size = count.Octets()
	}
	return nil
}

// topOf reads a top; nil: it is longer than may be given.
func topOf(src io.Reader) ([]byte, error) {
	var top bytes.Buffer
	n, err := io.Copy(&top, io.LimitReader(src, backends.MeasureTopMost+1))
	if err != nil || n > backends.MeasureTopMost {
		return nil, err
	}
	return top.Bytes(), nil
}

// whole reads a content, and fails where it ends before its end (I3).
type whole struct {
	content backends.Content
	counter counter
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := readEnough(w.content, p)
	return n, w.counter.add(n, err)
}
