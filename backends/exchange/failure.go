package exchange

import (
	"errors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/rop"
)

// failure returns the failure of an error of the server, or of the way to it. nil stays nil.
func failure(err error) error {
	if err == nil {
		return nil
	}
	var backoff *rop.BackoffError
	if errors.As(err, &backoff) {
		return backends.Fail(backends.Throttled, "%w", err).After(backoff.Wait)
	}
	f := &backends.Failure{}
	if errors.As(err, &f) {
		if f.Kind == backends.Uncertain { // what is asked for here may be asked again
			return backends.Fail(backends.Temporary, "%w", err).WithCode(f.Code)
		}
		return f
	}
	var code rop.Code
	if errors.As(err, &code) {
		return backends.Fail(mapihttp.KindOf(code), "%w", err)
	}
	return backends.AsFailure(err)
}

// lost says that objects which a session had open are not there any more, and that it can begin anew.
func lost(err error) bool {
	return errors.Is(err, rop.ErrLost) || errors.Is(err, rop.NullObject)
}
