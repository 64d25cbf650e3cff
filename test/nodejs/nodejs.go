// Package nodejs runs programs for Node with the packages that test/clients/install-node has installed.
package nodejs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Packages is the folder that a program finds the packages in, by NODE_PATH.
func Packages() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", ".work", "node", "node_modules")
}

// Run runs a program (CommonJS) and returns what it has written. Its arguments begin at process.argv[2].
func Run(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program.cjs")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", append([]string{file}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+Packages())
	out, err := cmd.Output()
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		t.Fatalf("%v (./test/run install)\n%s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
