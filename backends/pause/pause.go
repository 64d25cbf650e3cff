// Package pause waits.
package pause

import (
	"context"
	"time"
)

// For waits, and says whether the time has come, rather than the context's end.
func For(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
