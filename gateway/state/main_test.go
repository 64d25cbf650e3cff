//go:build linux

package state

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/test/peers"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == childMark {
		child(os.Args[2], os.Args[3:])
		return
	}
	if len(os.Args) > 3 && os.Args[1] == copyMark {
		copyingChild(os.Args[2:])
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		peers.EndPostgres()
		os.Exit(code)
	}))
}
