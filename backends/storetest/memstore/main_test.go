package memstore_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/plugins/serve"
)

// TestMain lets the test binary be the plugin that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv("MEMSTORE_TEST_PLUGIN") != "" {
		serve.Store(memstore.New())
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
