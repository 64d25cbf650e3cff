//go:build linux

package login

import (
	"testing"

	"github.com/dipylon/dipylon/test/databases"
)

func TestMain(m *testing.M) { databases.Main(m) }
