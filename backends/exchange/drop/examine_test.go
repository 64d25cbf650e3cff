//go:build unix

package drop

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/probe"
)

// TestExamine: what is wrong with a Drop folder, or with a file in it, has a name and something to do; a healthy one has none, and nothing
// is changed in it.
func TestExamine(t *testing.T) {
	const mail = "X-Sender: <a@near.example>\r\nX-Receiver: <b@far.example>\r\n\r\nSubject: x\r\n\r\nx\r\n"
	write := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(mail), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	takenUntil := func(until time.Time) string { return claimed("x~0123456789abcdef", until) }
	for name, tt := range map[string]struct {
		make  func(t *testing.T, dir string)
		cause string // of the last step
		says  string
	}{
		"empty":            {func(*testing.T, string) {}, "", "0 files wait"},
		"one waits":        {write("x.eml"), "", "1 files wait"},
		"one was taken":    {write(takenUntil(time.Now().Add(time.Minute))), "", "1 were taken"},
		"one was given up": {write(takenUntil(time.UnixMilli(0))), "", "1 were taken"},
		"not there":        {func(t *testing.T, dir string) { _ = os.Remove(dir) }, "folder-missing", ""},
		"a link": {func(t *testing.T, dir string) {
			_ = os.Remove(dir)
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
		}, "folder-no-folder", ""},
		"taken long ago":         {write(takenUntil(time.Now().Add(-2 * time.Hour))), "files-stale", "were taken long ago, such as"},
		"taken by a wrong clock": {write(takenUntil(time.Now().Add(48 * time.Hour))), "files-stale", "were taken long ago"},
		"set aside":              {write("x~0123456789abcdef.bad"), "files-set-aside", "were set aside"},
		"waits for long": {func(t *testing.T, dir string) {
			write("x.eml")(t, dir)
			old := time.Now().Add(-2 * time.Hour)
			if err := os.Chtimes(filepath.Join(dir, "x.eml"), old, old); err != nil {
				t.Fatal(err)
			}
		}, "files-not-collected", "have waited for more than an hour"},
		"cannot be read": {func(t *testing.T, dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, "x.eml"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "files-unreadable", "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "drop")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tt.make(t, dir)
			before, _ := os.ReadDir(dir)
			steps := examine(t, dir)
			last := steps[len(steps)-1]
			if last.Cause != tt.cause || (last.Advice == "") != (tt.cause == "") || !strings.Contains(last.Detail, tt.says) {
				t.Errorf("%+v", steps)
			}
			for _, s := range steps[:len(steps)-1] {
				if s.Outcome != backends.StepGood {
					t.Errorf("%+v", s)
				}
			}
			if after, _ := os.ReadDir(dir); len(after) != len(before) {
				t.Errorf("%v was there before, and %v after", before, after)
			}
		})
	}
	t.Run("open to all", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if steps := examine(t, dir); steps[0].Cause != "folder-open-to-all" || steps[0].Outcome != backends.StepWarning || len(steps) != 2 {
			t.Errorf("%+v", steps)
		}
	})
}

func examine(t *testing.T, dir string) (steps []backends.Step) {
	t.Helper()
	New(dir, zerolog.Nop()).Examine(probe.New(t.Context(), func(s backends.Step) { steps = append(steps, s) }))
	return steps
}
