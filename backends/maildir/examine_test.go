//go:build unix

package maildir

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestExamineOutboxes: what is wrong with an account's outbox, or with a file in it, has a name and something to do; one in order has none.
func TestExamineOutboxes(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(t *testing.T, w *world)
		want string // the steps with their causes
	}{
		"none yet":  {func(*testing.T, *world) {}, "health, outboxes, files in the outboxes, login"},
		"in order":  {func(_ *testing.T, w *world) { w.drop("a", "To: b@far.example\n\nx\n") }, "health, outboxes, files in the outboxes, login"},
		"not there": {func(t *testing.T, w *world) { _ = os.RemoveAll(filepath.Join(w.outboxOf(anna), "new")) }, "health, outboxes folder-rights, login"},
		"a link": {func(t *testing.T, w *world) {
			cur := filepath.Join(w.outboxOf(anna), "cur")
			_ = os.Remove(cur)
			if err := os.Symlink(t.TempDir(), cur); err != nil {
				t.Fatal(err)
			}
		}, "health, outboxes folder-no-folder, login"},
		"open to all": {func(t *testing.T, w *world) {
			if err := os.Chmod(filepath.Join(w.outboxOf(anna), "new"), 0o777); err != nil {
				t.Fatal(err)
			}
		}, "health, outboxes folder-open-to-all, files in the outboxes, login"},
		"cannot be read": {func(t *testing.T, w *world) {
			if err := syscall.Mkfifo(filepath.Join(w.outboxOf(anna), "new", "a"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "health, outboxes, files in the outboxes files-unreadable, login"},
		"taken long ago": {func(_ *testing.T, w *world) {
			writeFile(w.t, filepath.Join(w.outboxOf(anna), "cur", claimed("1764000000.M1P1Q1_x.host", time.Now().Add(-2*time.Hour))), "x")
		}, "health, outboxes, files in the outboxes files-stale, login"},
		"waits for long": {func(t *testing.T, w *world) {
			w.drop("a", "To: b@far.example\n\nx\n")
			old := time.Now().Add(-2 * time.Hour)
			if err := os.Chtimes(filepath.Join(w.outboxOf(anna), "new", "a"), old, old); err != nil {
				t.Fatal(err)
			}
		}, "health, outboxes, files in the outboxes files-not-collected, login"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOutboxWorld(t)
			tt.make(t, w)
			var steps []string
			err := w.Examine(t.Context(), backends.ExamineRequest{}, func(s backends.Step) {
				steps = append(steps, strings.TrimSpace(s.Name+" "+s.Cause))
				if (s.Cause == "") != (s.Advice == "") {
					t.Errorf("%+v", s)
				}
			})
			if got := strings.Join(steps, ", "); err != nil || got != tt.want {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
}
