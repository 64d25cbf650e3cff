//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestFoldersOfAKilledGateway: the folders in which a gateway and its plugins speak are gone after a kill -9
// and the next start, and those of another gateway that runs stay as they are.
func TestFoldersOfAKilledGateway(t *testing.T) {
	t.Parallel()
	root, err := os.MkdirTemp("", "e2e-") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(root, "dipylon-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	here := harness.Options{Wrapper: []string{"env", "TMPDIR=" + root}}
	other := harness.Start(t, here)
	others := folders()
	g := harness.Start(t, here)
	dead := slices.DeleteFunc(folders(), func(f string) bool { return slices.Contains(others, f) })
	if len(others) == 0 || len(dead) == 0 {
		t.Fatalf("the gateways' folders are %q and %q", others, dead)
	}
	plugins := g.Plugins()
	g.Signal(t, syscall.SIGKILL)
	_ = g.WaitExit(t)
	g.NobodyLeft(t, plugins)
	if now := folders(); !slices.Equal(now, sorted(others, dead)) {
		t.Fatalf("the gateway was not killed: %q are left of %q and %q", now, others, dead)
	}
	g.Run(t)
	now := folders()
	for _, folder := range dead {
		if slices.Contains(now, folder) {
			t.Errorf("the killed gateway's %s stays", folder)
		}
	}
	for _, folder := range others {
		if !slices.Contains(now, folder) {
			t.Errorf("%s, which another gateway uses, is gone", folder)
		}
	}
	for _, gateway := range []*harness.Gateway{other, g} {
		user := gateway.AddUser(t, "erika")
		if err := login(t, gateway, user).Quit(); err != nil {
			t.Error(err)
		}
	}
	g.Stop(t)
	other.Stop(t)
	if now := folders(); len(now) > 0 {
		t.Errorf("after both have ended there are %q", now)
	}
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}
