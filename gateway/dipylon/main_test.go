package main

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write what was found into the scripts' golden files")

// TestMain makes this test binary a dipylon as well: scripts and tests run it as a process,
// and it runs its plugins.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dipylon": main, "sendmail": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			saved, err := filepath.Abs("../../backends/mapi/msg/testdata/letter.msg")
			env.Setenv("MSG", saved)
			return err
		},
	})
}

func TestRunGivesTheStatus(t *testing.T) {
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, exitOK},
		{[]string{"nonsense"}, exitUsage},
		{[]string{"check", "--config", "/no/such/file"}, exitConfig},
	} {
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := run(t.Context(), test.args, null, null, null); got != test.want {
			t.Errorf("%v ends with %d, want %d", test.args, got, test.want)
		}
		_ = null.Close()
	}
}
