//go:build linux

package spool

import (
	"os"
	"testing"

	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == childMark {
		child(os.Args[2], os.Args[3])
		return
	}
	databases.Main(m)
}
