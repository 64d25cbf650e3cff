package jmap

import (
	"testing"

	"github.com/dipylon/dipylon/backends/storetest"
)

func TestSchema(t *testing.T) { storetest.Documented(t, schema(), "README.md") }
