package jmap_test

import (
	"os"
	"testing"

	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/plugins/serve"
)

// TestMain serves the store where the test binary is started as a plugin.
func TestMain(m *testing.M) {
	if os.Getenv("JMAP_TEST_HELPER") == "plugin" {
		serve.Store(jmap.New())
		return
	}
	os.Exit(m.Run())
}
