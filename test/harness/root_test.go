//go:build linux

package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRoot: the repository's folder is known however the test was built.
func TestRoot(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root(), "test", "harness", "build.go")); err != nil || !filepath.IsAbs(root()) {
		t.Errorf("%s: %v", root(), err)
	}
}
