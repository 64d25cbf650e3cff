package stores

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/events"
)

// Traced gives each call a trace ([backends.Trace]) and writes a line for each to the debug log. The
// calls of one session have one trace id, which follows from the session's: whoever has the one
// finds the other.
func Traced(log zerolog.Logger) Middleware {
	return func(ctx context.Context, call Call, next func(context.Context) error) error {
		trace := traceFor(ctx, call.Session)
		begin := time.Now()
		err := next(backends.WithTrace(ctx, trace))
		log.Debug().Str(events.Store, call.Store).Str("call", call.Name).Str(events.Session, call.Session).
			Stringer("traceparent", trace).Dur(events.TookMS, time.Since(begin)).AnErr("cause", err).Msg("call to a store")
		return err
	}
}

// traceFor is a new span of the context's trace, or of the session's; a call for no session has a
// trace of its own.
func traceFor(ctx context.Context, session string) backends.Trace {
	trace, ok := backends.TraceOf(ctx)
	switch {
	case ok:
	case session != "":
		sum := sha256.Sum256([]byte("session " + session))
		copy(trace.TraceID[:], sum[:])
	default:
		_, _ = rand.Read(trace.TraceID[:]) // never fails, crypto/rand says
	}
	_, _ = rand.Read(trace.SpanID[:])
	return trace
}
