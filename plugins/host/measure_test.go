package host

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// measure asks for sizes and tops of one line, and collects what comes.
func measure(ctx context.Context, drop backends.Maildrop, request backends.MeasureRequest) (all []backends.Measured, err error) {
	for m, err := range drop.(backends.Measurer).Measure(ctx, request) {
		if err != nil {
			return all, err
		}
		all = append(all, m)
	}
	return all, nil
}

func idsOf(ids ...string) (all []backends.MessageID) {
	for _, id := range ids {
		all = append(all, backends.MessageID(id))
	}
	return all
}

// TestMeasure: of a store that can only give messages, sizes and tops are found in its own process,
// and what is wrong with one message is that message's.
func TestMeasure(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	ids := idsOf("size:64", "gone:1", "unsized:128", "poison:1", "cut:1", "panic:1", "readpanic:64", "short:64", "long:64", "file:640", "size:0", "fail:64", "size:300032")
	for name, request := range map[string]backends.MeasureRequest{
		"sizes": {Sizes: true}, "tops": {Top: true, Lines: 1}, "both": {Sizes: true, Top: true, Lines: 1},
	} {
		t.Run(name, func(t *testing.T) {
			request.IDs = ids
			all, err := measure(t.Context(), drop, request)
			if err != nil || len(all) != len(ids) {
				t.Fatal(len(all), err)
			}
			for i, want := range []any{64, backends.NotFound, 128, backends.Poison, backends.Poison, backends.Temporary, backends.Temporary, backends.Temporary, backends.Temporary, 640, 0, backends.Throttled, 300032} {
				isMeasured(t, all[i], want, request)
			}
		})
	}
	t.Run("many", func(t *testing.T) { // more than one request holds, with tops and without
		for _, top := range []bool{false, true} {
			request := backends.MeasureRequest{IDs: slices.Repeat(idsOf("size:64"), backends.MeasureMost+1), Sizes: true, Top: top}
			all, err := measure(t.Context(), drop, request)
			if err != nil || len(all) != len(request.IDs) || all[len(all)-1].Size != 64 {
				t.Error(len(all), err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for m, err := range drop.(backends.Measurer).Measure(ctx, backends.MeasureRequest{IDs: idsOf("size:64", "hang:64", "size:64"), Sizes: true}) {
			if n++; n == 1 && m.Size == 64 && err == nil {
				cancel()
			} else if err == nil {
				t.Errorf("%+v", m)
			}
		}
		if n != 2 {
			t.Errorf("%d answers", n)
		}
	})
	if _, err := measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf("size:64"), Sizes: true}); err != nil {
		t.Error("afterwards:", err)
	}
}

// isMeasured compares with what a whole message has, or with its kind of failure. Of a failure that
// shows in the middle a top alone knows nothing.
func isMeasured(t *testing.T, m backends.Measured, want any, request backends.MeasureRequest) {
	t.Helper()
	if kind, fails := want.(backends.Kind); fails {
		unseen := !request.Sizes && kind != backends.NotFound && m.Failure == nil
		if !unseen && (m.Failure == nil || m.Failure.Kind != kind || m.Size != -1 || m.Top != nil) {
			t.Errorf("%s: %+v, want %v", m.ID, m, kind)
		}
		return
	}
	if size := int64(want.(int)); m.Failure != nil || request.Sizes && m.Size != size || !request.Sizes && m.Size != -1 {
		t.Errorf("%s: %+v, want %d octets", m.ID, m, size)
	}
	// The pattern has no empty line: all of it is header, but where the store cuts it by itself.
	if want := wholePattern(want.(int)); request.Top && request.Sizes && len(want) <= backends.MeasureTopMost && !bytes.Equal(m.Top, want) {
		t.Errorf("%s: a top of %d octets, want %d", m.ID, len(m.Top), len(want))
	}
	if (!request.Top || len(m.Top) > backends.MeasureTopMost) && m.Top != nil {
		t.Errorf("%s: a top of %d octets", m.ID, len(m.Top))
	}
}

// ownMeasurer is a store that measures messages itself: the sizes that their ids say, and those of
// some wrongly.
type ownMeasurer struct{ *fakeStore }

func (f ownMeasurer) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	drop, err := f.fakeStore.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return measuringDrop{drop}, nil
}

type measuringDrop struct{ backends.Maildrop }

func (d measuringDrop) Measure(_ context.Context, r backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return func(yield func(backends.Measured, error) bool) {
		for _, id := range r.IDs {
			what, n := splitID(string(id))
			m := backends.Measured{ID: id, Size: n}
			if r.Top || what == "topped" {
				m.Top = []byte("\r\n")
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// TestMeasuredWrongly: a size that is none, from a backend that measures itself, costs the message that
// has it and no other, and the maildrop lives on.
func TestMeasuredWrongly(t *testing.T) {
	s, _ := start(t, specOf(t, "measurer", fakeSettings{}))
	drop := openDrop(t, s)
	all, err := measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf("size:64", "size:-1", "topped:7", "size:-9", "size:0"), Sizes: true})
	if err != nil || len(all) != 5 {
		t.Fatal(len(all), err)
	}
	for i, want := range []any{64, backends.Poison, 7, backends.Poison, 0} {
		isMeasured(t, all[i], want, backends.MeasureRequest{Sizes: true})
	}
	// Where no size is asked for, none is looked at.
	all, err = measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf("size:-1"), Top: true})
	if err != nil || len(all) != 1 || all[0].Failure != nil || string(all[0].Top) != "\r\n" {
		t.Error(all, err)
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:64")); err != nil || len(got) != 64 {
		t.Errorf("afterwards a message has %d octets (%v)", len(got), err)
	}
}

// measuredLies are the answers of a plugin that measures as the message's id says.
func measuredLies(id uint64, what string) (answers []*pb.MaildropResponse) {
	one := func(m *pb.Measured) *pb.MaildropResponse {
		return &pb.MaildropResponse{Id: id, Response: &pb.MaildropResponse_Measured{Measured: m}}
	}
	right := one(&pb.Measured{Id: []byte(what), Size: 5})
	switch what {
	case "right":
		return []*pb.MaildropResponse{right, doneOf(id)}
	case "another message":
		return []*pb.MaildropResponse{one(&pb.Measured{Id: []byte("x"), Size: 5}), doneOf(id)}
	case "negative size":
		return []*pb.MaildropResponse{one(&pb.Measured{Id: []byte(what), Size: -1}), doneOf(id)}
	case "top unasked":
		return []*pb.MaildropResponse{one(&pb.Measured{Id: []byte(what), Size: 5, Top: []byte("\r\n")}), doneOf(id)}
	case "twice":
		return []*pb.MaildropResponse{right, right, doneOf(id)}
	case "chunk":
		return []*pb.MaildropResponse{chunkOf(id, 5), doneOf(id)}
	}
	return []*pb.MaildropResponse{doneOf(id)}
}

// TestMeasureLies: a plugin that measures against the rules ends its session (I10), and one that
// answers for fewer messages than were asked for fails the request.
func TestMeasureLies(t *testing.T) {
	s, _ := start(t, specOf(t, "liar", fakeSettings{}))
	for _, what := range []string{"another message", "negative size", "top unasked", "nothing", "twice", "chunk"} {
		t.Run(what, func(t *testing.T) {
			drop := openDrop(t, s)
			all, err := measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf(what), Sizes: true})
			if what == "twice" { // the first of the two was right
				_, err = measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf("right"), Sizes: true})
			}
			kindIs(t, err, backends.Temporary)
			if what != "twice" && len(all) > 0 {
				t.Errorf("%+v", all)
			}
		})
	}
	drop := openDrop(t, s)
	if all, err := measure(t.Context(), drop, backends.MeasureRequest{IDs: idsOf("right"), Sizes: true}); err != nil || all[0].Size != 5 {
		t.Error(all, err)
	}
}

// TestMeasureUnsupported: a plugin that does not say that it measures is not asked.
func TestMeasureUnsupported(t *testing.T) {
	s, _ := start(t, specOf(t, "liar:that cannot measure", fakeSettings{}))
	_, err := measure(t.Context(), openDrop(t, s), backends.MeasureRequest{IDs: idsOf("right"), Sizes: true})
	kindIs(t, err, backends.Unsupported)
}
