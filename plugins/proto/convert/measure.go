package convert

import (
	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// MeasuredTogether is how many messages one request may ask about. Tops are bounded in all by it.
func MeasuredTogether(top bool) int {
	if top {
		return TopsMost
	}
	return backends.MeasureMost
}

// MeasureToProto makes a Measure request.
func MeasureToProto(r backends.MeasureRequest) (*pb.Measure, error) {
	ids, rendering, err := wantedToProto(r.IDs, MeasuredTogether(r.Top), r.Rendering)
	if err != nil {
		return nil, err
	}
	return &pb.Measure{Ids: ids, Sizes: r.Sizes, Top: r.Top, Lines: toInt32(max(0, r.Lines)), Rendering: rendering}, nil
}

// MeasureFromProto reads a Measure request.
func MeasureFromProto(m *pb.Measure) (r backends.MeasureRequest, err error) {
	r.Sizes, r.Top, r.Lines = m.GetSizes(), m.GetTop(), max(0, int(m.GetLines()))
	r.IDs, r.Rendering, err = wantedFromProto(m.GetIds(), MeasuredTogether(r.Top), m.GetRendering())
	return r, err
}

// MeasuredToProto makes the answer for one message.
func MeasuredToProto(v backends.Measured) *pb.Measured {
	m := &pb.Measured{Id: []byte(v.ID), Failure: FailureToProto(v.Failure)}
	if v.Failure != nil {
		return m
	}
	m.Size = v.Size
	if len(v.Top) <= backends.MeasureTopMost {
		m.Top = v.Top
	}
	return m
}

// MeasuredFromProto reads the answer for one message of a request. It has to be that message's, with
// what was asked for and no more: sizes hang on it that clients are told.
func MeasuredFromProto(m *pb.Measured, asked backends.MeasureRequest, id backends.MessageID) (backends.Measured, error) {
	v := backends.Measured{ID: id, Size: -1, Failure: FailureFromProto(m.GetFailure())}
	switch {
	case string(m.GetId()) != string(id):
		return v, wireError("a measure of another message than the one whose turn it is")
	case v.Failure != nil:
		return v, nil
	case asked.Sizes && m.GetSize() < 0:
		return v, wireError("the size %d of a message that was measured", m.GetSize())
	case len(m.GetTop()) > backends.MeasureTopMost || len(m.GetTop()) > 0 && !asked.Top:
		return v, wireError("a top of %d octets that is too long or was not asked for", len(m.GetTop()))
	}
	if asked.Sizes {
		v.Size = m.GetSize()
	}
	if len(m.GetTop()) > 0 {
		v.Top = m.GetTop()
	}
	return v, nil
}
