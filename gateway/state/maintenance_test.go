//go:build linux

package state

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestMaintain: a task goes on in small batches until nothing is left for it, one that fails
// keeps no other from being done, and all are done again after their time.
func TestMaintain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left, batches, failures atomic.Int64
		left.Store(500)
		sweep := Task{Name: "sweep", Do: func(_ context.Context, most int) (int64, error) {
			rows := min(left.Load(), int64(most))
			left.Add(-rows)
			batches.Add(1)
			return rows, nil
		}}
		broken := Task{Name: "broken", Do: func(context.Context, int) (int64, error) {
			failures.Add(1)
			return 0, errors.New("no broom")
		}}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Maintain(ctx, zerolog.New(&log), time.Hour, broken, sweep)
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if left.Load() != 0 || batches.Load() != 3 || failures.Load() != 1 {
			t.Errorf("after a minute %d rows are left after %d batches, and the other has failed %d times", left.Load(), batches.Load(), failures.Load())
		}
		left.Store(7)
		time.Sleep(time.Hour)
		synctest.Wait()
		if left.Load() != 0 || failures.Load() != 2 {
			t.Errorf("after an hour %d rows are left, and the other has failed %d times", left.Load(), failures.Load())
		}
		cancel()
		<-ended
		if !strings.Contains(log.String(), "no broom") || !strings.Contains(log.String(), `"rows":500`) {
			t.Errorf("the log: %s", log.String())
		}
	})
}
