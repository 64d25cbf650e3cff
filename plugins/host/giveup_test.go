package host

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// TestGivenUpBeforeItBegins: a start whose context has ended runs no plugin, and leaves nothing: no
// process that nobody waits for, and no connection that nobody closes.
func TestGivenUpBeforeItBegins(t *testing.T) {
	for name, role := range map[string]string{
		"no handshake":   "silent",
		"nobody listens": "say:1|2|unix|$dir/x|grpc",
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			spec := specOf(t, role, fakeSettings{})
			spec.TempDir = shortTemp(t, "")
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			began := time.Now()
			_, err := launch(ctx, zerolog.Nop(), spec.withDefaults(), 1)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("launch: %v", err)
			}
			if took := time.Since(began); took > spec.StartTimeout/2 {
				t.Errorf("it took %v", took)
			}
			goleak.VerifyNone(t, before)
		})
	}
}
