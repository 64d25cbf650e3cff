//go:build linux

package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
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

// Main runs the tests of a package. It removes what they have in a folder of their own.
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
	if err := noteSources(); err != nil {
		return "", err
	}
	path := filepath.Join(builds.dir, name)
	if err := build(kind, pkg, path); err != nil {
		return "", err
	}
	builds.paths[key] = path
	return path, nil
}

// noteSources opens the folders of the sources: go test remembers a result for as long as what the test has
// opened is the same, and does not know what go build reads for it.
func noteSources() error {
	return filepath.WalkDir(root(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && path != root() && (strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules") {
			return fs.SkipDir
		}
		if errors.Is(err, fs.ErrNotExist) { // another package's test has removed it
			return nil
		}
		return err
	})
}

// build has go build make a binary in test/.work, where it makes none that is there already: packages whose tests
// need the same one link it once. The test process has a link to it, which stays as it is whatever is built next.
func build(kind Kind, pkg, path string) error {
	bin := filepath.Join(root(), "test", ".work", "bin", string(kind))
	if err := os.MkdirAll(bin, 0o777); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(bin, "lock"), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	shared := filepath.Join(bin, strings.ReplaceAll(strings.TrimPrefix(pkg, "./"), "/", "-"))
	// Debugging information costs the linker time, and stack traces do not need it.
	args := []string{"build", "-ldflags=-w", "-o", shared}
	if kind == Race {
		flags, err := raceFlags()
		if err != nil {
			return err
		}
		args = append(append(args, "-race"), flags...)
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	if err := os.Link(shared, path); !errors.Is(err, syscall.EXDEV) {
		return err
	}
	// A copy that this process wrote could not be run while a child that was just started has it open.
	return exec.Command("cp", shared, path).Run()
}

// raceFlags are the lines of test/race.flags.
func raceFlags() (flags []string, err error) {
	text, err := os.ReadFile(filepath.Join(root(), "test", "race.flags"))
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			flags = append(flags, line)
		}
	}
	return flags, err
}

// root is the repository's folder. With -trimpath the program does not know where it was built: a test is run in its package's
// folder then.
func root() string {
	if _, file, _, _ := runtime.Caller(0); filepath.IsAbs(file) {
		return filepath.Join(filepath.Dir(file), "..", "..")
	}
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	panic("the tests are not run within the repository")
}
