package remote_test

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

// TestKeepFails: what a content failed with is a failure, and keeps its kind.
func TestKeepFails(t *testing.T) {
	for reason, want := range map[error]backends.Kind{
		io.ErrUnexpectedEOF: backends.Temporary, backends.Fail(backends.Throttled, "busy"): backends.Throttled,
	} {
		kept, err := remote.Keep(t.TempDir(), iotest.ErrReader(reason))
		known := (*backends.Failure)(nil)
		if kept != nil || !errors.Is(err, reason) || !errors.As(err, &known) || known.Kind != want {
			t.Errorf("%v: %v, %v", reason, kept, err)
		}
	}
}
