package backends

import (
	"context"
	"iter"
)

// Measurer is a [Maildrop] that says of many messages, upon one request, how large they are and how
// they begin. A backend implements it where it can tell that with less than a Fetch of each; for
// others package plugins/serve makes it of Fetch, and counts in the plugin's process, so that no
// message crosses the process boundary only to be counted.
type Measurer interface {
	// Measure yields what was found of each message, in the order of the request and as soon as it
	// is known. What one message fails with is its own, and those behind it follow. An error ends
	// the sequence: nothing is known of the messages that were not yielded.
	Measure(ctx context.Context, request MeasureRequest) iter.Seq2[Measured, error]
}

const (
	// MeasureMost is how many messages one Measure asks about at the most.
	MeasureMost = 1000
	// MeasureTopMost is how many octets of a message's top Measure gives at the most.
	MeasureTopMost = 64 << 10
)

// MeasureRequest says which messages are asked about, 1 to [MeasureMost] of them, and what of them.
type MeasureRequest struct {
	IDs   []MessageID
	Sizes bool
	// Top asks for the header, the empty line and the first Lines lines of the body, as a
	// [FetchRequest] does.
	Top       bool
	Lines     int
	Rendering Rendering // sizes and tops are those of this form
}

// Measured is what was found of one message.
type Measured struct {
	ID MessageID
	// Size is the number of octets that Fetch gives for the whole message; -1: it was not asked for.
	Size int64
	// Top is what Fetch gives for the top. It is nil where that was not asked for, and where it has
	// more than [MeasureTopMost] octets: then Fetch gives it.
	Top []byte
	// Failure is what Fetch would fail with; nil: the rest is set.
	Failure *Failure
}
