package storetest_test

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets garbage lie: these tests make much of it, and little that lasts.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}
