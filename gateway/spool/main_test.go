//go:build linux

package spool

import (
	"os"
	"testing"

	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 3 {
		switch os.Args[1] {
		case childMark:
			child(os.Args[2], os.Args[3])
			return
		case incomingMark:
			incomingChild(os.Args[2], os.Args[3])
			return
		}
	}
	databases.Main(m)
}
