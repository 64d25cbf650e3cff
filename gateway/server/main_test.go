package server

import (
	"os"
	"slices"
	"testing"

	"github.com/dipylon/dipylon/backends/maildir"
	"github.com/dipylon/dipylon/plugins/serve"
)

// TestMain makes this test binary a plugin as well: see [BuiltinCommand].
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], []string{"plugin", "maildir"}) {
		serve.Store(maildir.New(maildir.WithLogger(serve.Logger())))
		return
	}
	code := m.Run()
	atEnd()
	os.Exit(code)
}

// atEnd ends what tests have shared.
var atEnd = func() {}
