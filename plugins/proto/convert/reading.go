package convert

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// rendererMost bounds the name of a renderer's version.
const rendererMost = 64

// readingToProto makes a reader's details ready for the wire.
func readingToProto(r backends.Reading) *pb.Reading {
	return &pb.Reading{
		Disposals: numbers[pb.Disposal](r.Disposals),
		Encodings: numbers[pb.Encoding](r.Encodings),
		Bodies:    numbers[pb.BodyForm](r.Bodies),
		MarksSeen: r.MarksSeen,
		Measures:  r.Measures,
		Parks:     r.Parks,
		Folders:   r.Folders,
		Calendars: numbers[pb.CalendarForm](r.Calendars),
		Wraps:     r.Wraps,
		Renderer:  Line(r.Renderer, rendererMost),
	}
}

// readingFromProto reads a reader's details. What is not known here cannot be asked for, and is
// dropped.
func readingFromProto(m *pb.Reading) backends.Reading {
	r := backends.Reading{
		Disposals: known[backends.Disposal](m.GetDisposals(), pb.Disposal_name),
		Encodings: known[backends.Encoding](m.GetEncodings(), pb.Encoding_name),
		Bodies:    known[backends.BodyForm](m.GetBodies(), pb.BodyForm_name),
		MarksSeen: m.GetMarksSeen(),
		Measures:  m.GetMeasures(),
		Parks:     m.GetParks(),
		Folders:   m.GetFolders(),
		Calendars: known[backends.CalendarForm](m.GetCalendars(), pb.CalendarForm_name),
		Wraps:     m.GetWraps(),
	}
	if name := m.GetRenderer(); len(name) <= rendererMost && !strings.ContainsFunc(name, notPrintableASCII) {
		r.Renderer = name
	}
	return r
}

// numbers puts values of the contract on the wire, whose numbers are the same.
func numbers[To ~int32, From ~uint8](values []From) []To {
	var all []To
	for _, v := range values {
		all = append(all, To(v))
	}
	return all
}

// known reads values from the wire that have a name there, each once.
func known[To ~uint8, From ~int32](values []From, names map[int32]string) []To {
	var all []To
	for _, v := range values {
		if _, is := names[int32(v)]; is && !slices.Contains(all, To(v)) {
			all = append(all, To(v))
		}
	}
	return all
}
