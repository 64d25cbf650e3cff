package mapirpc

import (
	"context"
	"errors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/dcerpc"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/remote"
)

// unreachable is the failure of a server that was not connected to.
func (c Config) unreachable(ctx context.Context, address, setting string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return backends.Fail(backends.Temporary, "connect to %s: %w", address, cause)
	}
	var (
		fault      *dcerpc.FaultError
		refused    *dcerpc.RefusedError
		registered *dcerpc.NotRegisteredError
		own        *backends.Failure
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &fault):
		return faultFailure("bind", fault)
	case errors.As(err, &refused) && !refused.Result && (refused.Reason == 1 || refused.Reason == 2):
		return backends.Fail(backends.Throttled, "connect to %s: %w", address, err)
	case errors.As(err, &refused):
		return backends.Fail(backends.Unsupported, "connect to %s: %w (is %s right?)", address, err, setting)
	case errors.As(err, &registered):
		return backends.Fail(backends.Unsupported, "ask %s: %w (does the server have RPC, is its service started, and is %s right?)", address, err, setting)
	case errors.Is(err, dcerpc.ErrProtocol):
		return backends.Fail(backends.Temporary, "connect to %s: %w (is %s right?)", address, err, setting)
	}
	return remote.ConnectFailure(address, setting, err)
}

// faultFailure is the failure of a call that was answered with a fault.
func faultFailure(what string, fault *dcerpc.FaultError) *backends.Failure {
	switch {
	case fault.SignIn():
		return backends.Fail(backends.BadCredentials, "%s: the login was refused: %w", what, fault)
	case fault.Busy():
		return backends.Fail(backends.Throttled, "%s: %w", what, fault)
	case fault.Status == dcerpc.StatusAccessDenied:
		return backends.Fail(backends.Permanent, "%s: %w", what, fault)
	case fault.Status == dcerpc.StatusContextMismatch:
		return backends.Fail(backends.Temporary, "%s: %w: %w", what, rop.ErrLost, fault)
	}
	return backends.Fail(backends.Temporary, "%s: %w", what, fault)
}

// failed is the failure of a call, and says whether the session context is lost by it.
func (r request) failed(ctx context.Context, err error) (failure error, lost bool) {
	var fault *dcerpc.FaultError
	if errors.As(err, &fault) {
		f := faultFailure(r.name, fault)
		if f.Kind == backends.Temporary && r.once && !fault.NotExecuted && fault.Status != dcerpc.StatusContextMismatch {
			return backends.Fail(backends.Uncertain, "%w: %w", rop.ErrLost, f), true
		}
		return f, errors.Is(f, rop.ErrLost)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	kind := backends.Temporary
	var unsent *dcerpc.UnsentError
	if r.once && !errors.As(err, &unsent) {
		kind = backends.Uncertain
	}
	return backends.Fail(kind, "%s: %w: %w", r.name, rop.ErrLost, silence(err)).WithCode("4.4.2"), true
}

// codeFailure is the failure of a call that was answered with a code.
func codeFailure(name string, code rop.Code) error {
	return backends.Fail(mapihttp.KindOf(code), "%s: %w", name, code)
}
