//go:build linux

package state

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// TestKeepHouse: a chore goes on in small batches until nothing is left for it, one that fails
// keeps no other from being done, and all are done again after their time.
func TestKeepHouse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, batches, failures := int64(500), 0, 0
		sweep := Chore{Name: "sweep", Do: func(_ context.Context, most int) (int64, error) {
			rows := min(left, int64(most))
			left -= rows
			batches++
			return rows, nil
		}}
		broken := Chore{Name: "broken", Do: func(context.Context, int) (int64, error) {
			failures++
			return 0, errors.New("no broom")
		}}
		var log bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			KeepHouse(ctx, zerolog.New(&log), time.Hour, broken, sweep)
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if left != 0 || batches != 3 || failures != 1 {
			t.Errorf("after a minute %d rows are left after %d batches, and the other has failed %d times", left, batches, failures)
		}
		left = 7
		time.Sleep(time.Hour)
		synctest.Wait()
		if left != 0 || failures != 2 {
			t.Errorf("after an hour %d rows are left, and the other has failed %d times", left, failures)
		}
		cancel()
		<-ended
		if !strings.Contains(log.String(), "no broom") || !strings.Contains(log.String(), `"rows":500`) {
			t.Errorf("the log: %s", log.String())
		}
	})
}
