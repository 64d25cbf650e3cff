//go:build linux

package spool

import (
	"testing"

	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }
