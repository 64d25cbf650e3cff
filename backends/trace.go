package backends

import (
	"context"
	"encoding/hex"
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
