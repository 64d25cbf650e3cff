package remote

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for value, want := range map[string]time.Duration{
			"": 0, "soon": 0, "-1": 0, "0": 0, "7": 7 * time.Second, "18446744073709551615": retryMost,
			at(time.Minute): time.Minute, at(-time.Minute): 0, at(1000 * time.Hour): retryMost,
		} {
			if got := RetryAfter(value); got != want {
				t.Errorf("%q is %v, want %v", value, got, want)
			}
		}
	})
}
