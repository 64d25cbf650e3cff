package wire

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/dipylon/dipylon/backends"
)

// TraceKey is the key of a call's metadata that has its trace, a traceparent (W3C Trace Context §3.2).
const TraceKey = "traceparent"

func withTraceparent(ctx context.Context) context.Context {
	trace, ok := backends.TraceOf(ctx)
	if !ok {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, TraceKey, trace.String())
}

func traceUnary(ctx context.Context, method string, request, answer any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return call(withTraceparent(ctx), method, request, answer, conn, options...)
}

func traceStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(withTraceparent(ctx), desc, conn, method, options...)
}

// Traced is the context of a call at the plugin's end, with the trace that the gateway has sent for
// [backends.TraceOf]. One that cannot be read is left out (§3.2.2.5).
func Traced(ctx context.Context) context.Context {
	for _, text := range metadata.ValueFromIncomingContext(ctx, TraceKey) {
		if trace, err := backends.ParseTrace(text); err == nil {
			return backends.WithTrace(ctx, trace)
		}
	}
	return ctx
}

// TracedStream is the same for a stream.
func TracedStream(stream grpc.ServerStream) grpc.ServerStream {
	return tracedStream{stream, Traced(stream.Context())}
}

type tracedStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // the stream's
}

// Context implements [grpc.ServerStream].
func (s tracedStream) Context() context.Context { return s.ctx }
