//go:build linux

package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Kind is how the binary is built.
type Kind string

// The kinds.
const (
	Race  Kind = "race"  // with the race detector: everything but measurements, and many octets
	Plain Kind = "plain" // as it is shipped, but for the debugging information
)

// builds holds what this test process has built.
var builds struct {
	sync.Mutex
	dir   string
	paths map[Kind]string
}

// Main runs the tests of a package and removes what was built for them.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "dipylon-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	builds.dir, builds.paths = dir, map[Kind]string{}
	return m.Run()
}

// Binary is the path of the gateway's binary; it is built when it is first asked for.
func Binary(t testing.TB, kind Kind) string {
	t.Helper()
	path, err := built(string(kind), kind, "./gateway/dipylon")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Helper is the path of another main package's binary, such as "./test/plugins/hang".
func Helper(t testing.TB, pkg string) string {
	t.Helper()
	path, err := built(filepath.Base(pkg), Plain, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func built(name string, kind Kind, pkg string) (string, error) {
	builds.Lock()
	defer builds.Unlock()
	if builds.dir == "" {
		return "", fmt.Errorf("TestMain has to call harness.Main")
	}
	key := Kind(pkg) + "," + kind
	if path, ok := builds.paths[key]; ok {
		return path, nil
	}
	path := filepath.Join(builds.dir, name)
	// Debugging information costs the linker time, and stack traces do not need it.
	args := []string{"build", "-ldflags=-w", "-o", path}
	if kind == Race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	builds.paths[key] = path
	return path, nil
}

// root is the repository's folder.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
