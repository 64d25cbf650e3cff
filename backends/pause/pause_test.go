package pause_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if !pause.For(t.Context(), time.Minute) || time.Since(begun) != time.Minute {
			t.Errorf("it waits for %s", time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if pause.For(ctx, time.Minute) || time.Since(begun) != time.Minute+time.Second {
			t.Errorf("it has waited for %s in all, and the context for a second", time.Since(begun))
		}
	})
}
