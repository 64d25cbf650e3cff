package convert

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// FailureToProto makes a failure ready for the wire; nil stays nil.
func FailureToProto(f *backends.Failure) *pb.Failure {
	if f == nil {
		return nil
	}
	kind := f.Kind
	if kind < backends.Temporary || kind > backends.MailboxMoved {
		kind = backends.Temporary
	}
	detail := f.Detail
	if detail == "" && f.Unwrap() != nil {
		detail = f.Unwrap().Error()
	}
	return &pb.Failure{
		Kind:       pb.Kind(kind),
		Code:       Line(f.Code, 16),
		Text:       Line(f.Text, textMost),
		Detail:     Line(detail, detailMost),
		RetryAfter: durationToProto(f.RetryAfter),
		Guess:      f.Guess,
		Whole:      f.Whole,
	}
}

// FailureFromProto reads a failure; nil stays nil. A kind that is not known is
// [backends.Temporary], a code that is none is dropped, text and detail become printable lines.
func FailureFromProto(m *pb.Failure) *backends.Failure {
	if m == nil {
		return nil
	}
	f := &backends.Failure{
		Kind:       backends.Temporary,
		Text:       Line(m.GetText(), textMost),
		Detail:     Line(m.GetDetail(), detailMost),
		RetryAfter: durationFromProto(m.GetRetryAfter(), retryMost),
		Guess:      m.GetGuess(),
		Whole:      m.GetWhole(),
	}
	if k := m.GetKind(); k >= pb.Kind_KIND_TEMPORARY && k <= pb.Kind_KIND_MAILBOX_MOVED {
		f.Kind = backends.Kind(k)
	}
	if backends.ValidCode(m.GetCode()) {
		f.Code = m.GetCode()
	}
	return f
}

// statusCodes are for tools that look at gRPC alone; the failure in the details decides.
var statusCodes = map[backends.Kind]codes.Code{
	backends.Temporary:      codes.Unavailable,
	backends.Permanent:      codes.FailedPrecondition,
	backends.BadCredentials: codes.Unauthenticated,
	backends.InUse:          codes.Aborted,
	backends.NotFound:       codes.NotFound,
	backends.OverQuota:      codes.ResourceExhausted,
	backends.TooLarge:       codes.OutOfRange,
	backends.Throttled:      codes.ResourceExhausted,
	backends.Unsupported:    codes.Unimplemented,
	backends.Poison:         codes.DataLoss,
	backends.Uncertain:      codes.Unknown,

	backends.AccountDisabled: codes.PermissionDenied,
	backends.PasswordExpired: codes.Unauthenticated,
	backends.MailboxMoved:    codes.FailedPrecondition,
}

// ErrorToStatus makes the gRPC status that ends a call: the failure is its first detail.
// nil stays nil.
func ErrorToStatus(err error) error {
	if err == nil {
		return nil
	}
	m := FailureToProto(backends.AsFailure(err))
	s := status.New(statusCodes[backends.Kind(m.GetKind())], backends.Kind(m.GetKind()).String())
	if detailed, err := s.WithDetails(protoadapt.MessageV1Of(m)); err == nil {
		s = detailed
	}
	return s.Err()
}

// ErrorFromStatus reads the error that a gRPC call ended with. It is a [*backends.Failure]:
// the one among the status's details; or, without one, [backends.Unsupported] for
// UNIMPLEMENTED and [backends.Temporary] for all else. nil stays nil.
func ErrorFromStatus(err error) error {
	if err == nil {
		return nil
	}
	var f *backends.Failure
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, io.EOF) {
		return backends.Fail(backends.Temporary, "the plugin ended the stream early: %w", io.ErrUnexpectedEOF)
	}
	s, ok := status.FromError(err)
	if !ok {
		return backends.AsFailure(err)
	}
	for _, detail := range s.Details() {
		if m, ok := detail.(*pb.Failure); ok {
			return FailureFromProto(m)
		}
	}
	text := Line(s.Message(), detailMost)
	switch s.Code() {
	case codes.Unimplemented:
		return &backends.Failure{Kind: backends.Unsupported, Detail: text}
	case codes.DeadlineExceeded:
		return backends.Fail(backends.Temporary, "%s: %w", text, context.DeadlineExceeded).WithCode("4.4.7")
	case codes.Canceled:
		return backends.Fail(backends.Temporary, "%s: %w", text, context.Canceled)
	}
	return backends.Fail(backends.Temporary, "%s: %s", s.Code(), text)
}

// IsTransport says whether an error came from gRPC itself and tells of a connection that is
// lost, rather than of a plugin's answer.
func IsTransport(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable && len(s.Details()) == 0
}

// HasFailure says whether the status that a call ended with is an answer of the plugin's: one
// that carries a failure, or UNIMPLEMENTED.
func HasFailure(err error) bool {
	s, ok := status.FromError(err)
	if !ok {
		return false
	}
	for _, detail := range s.Details() {
		if _, ok := detail.(*pb.Failure); ok {
			return true
		}
	}
	return s.Code() == codes.Unimplemented
}
