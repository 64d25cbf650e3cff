package backends

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
)

// Trace is the trace context of a call (W3C Trace Context §3.2): what a backend quotes in its own log,
// and passes on to its store where that takes a traceparent.
type Trace struct {
	TraceID [16]byte // of everything that belongs together: the calls of one session
	SpanID  [8]byte  // of this call
}

// String is the traceparent field: version 00, sampled (W3C Trace Context §3.2.2).
func (t Trace) String() string {
	return "00-" + hex.EncodeToString(t.TraceID[:]) + "-" + hex.EncodeToString(t.SpanID[:]) + "-01"
}

// ParseTrace reads a traceparent (W3C Trace Context §3.2.2), of a later version too (§4.3).
func ParseTrace(text string) (t Trace, err error) {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(text) < size || text[2] != '-' || text[35] != '-' || text[52] != '-' ||
		len(text) > size && (text[:2] == "00" || text[size] != '-') {
		return Trace{}, errTrace
	}
	var version, flags [1]byte
	for _, part := range []struct {
		into []byte
		text string
	}{{version[:], text[:2]}, {t.TraceID[:], text[3:35]}, {t.SpanID[:], text[36:52]}, {flags[:], text[53:55]}} {
		if strings.ToLower(part.text) != part.text {
			return Trace{}, errTrace
		}
		if _, err := hex.Decode(part.into, []byte(part.text)); err != nil {
			return Trace{}, errTrace
		}
	}
	if version[0] == 0xff || t.TraceID == [16]byte{} || t.SpanID == [8]byte{} {
		return Trace{}, errTrace
	}
	return t, nil
}

var errTrace = errors.New("this is no traceparent")

// traceKey is the key of a context's trace.
type traceKey struct{}

// WithTrace puts a trace on a context.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf is the trace of a context, if it has one.
func TraceOf(ctx context.Context) (Trace, bool) {
	t, ok := ctx.Value(traceKey{}).(Trace)
	return t, ok
}
