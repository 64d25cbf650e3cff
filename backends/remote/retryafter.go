package remote

import (
	"net/http"
	"strconv"
	"time"
)

// retryMost is the longest that a server is believed to want to be left alone.
const retryMost = 24 * time.Hour

// RetryAfter reads a Retry-After in both of its forms (RFC 9110 §10.2.3). What is neither gives 0.
func RetryAfter(value string) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(n, uint64(retryMost/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(retryMost, max(0, time.Until(at)))
	}
	return 0
}
