package maildir

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/plugins/host"
)

// asPlugin is what runs the store in a process of its own.
func asPlugin(t *testing.T, in backends.Settings) host.Spec {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return host.Spec{Store: "office", Command: []string{self}, Env: []string{"MAILDIR_TEST_HELPER=plugin"}, Settings: in}
}

// TestConformanceAsPlugin runs the contract's suite across the process boundary.
func TestConformanceAsPlugin(t *testing.T) {
	t.Parallel()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	target, in := conformance(t, map[string]any{"quota": "1GiB", "act_for": true, "outbox": true})
	target.New, target.Large = nil, large
	target.Configure = func(ctx context.Context, settings backends.Settings) error {
		return host.CheckSettings(ctx, log, asPlugin(t, settings))
	}
	target.Open = func(ctx context.Context) (backends.Store, error) {
		s := host.New(log, asPlugin(t, in))
		return s, s.Start(ctx)
	}
	storetest.Run(t, target)
}

// TestPluginReplaced: what a plugin has taken is there after another has taken its place, and
// the other knows what had been delivered.
func TestPluginReplaced(t *testing.T) {
	root := filepath.Join(t.TempDir(), "mail")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "accounts.yaml"), accountsText())
	w := &world{t: t, root: root}
	s := host.New(zerolog.Nop(), asPlugin(t, w.settings(nil)))
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(anna)}
	for attempt := range 2 {
		verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(hello))
		if err != nil || verdicts[0].Failure != nil {
			t.Fatalf("attempt %d: %+v, %v", attempt, verdicts, err)
		}
		if files := w.files(anna); len(files) != 1 {
			t.Errorf("attempt %d: %v", attempt, files)
		}
		d.Retry = true
		if err := s.Swap(t.Context(), asPlugin(t, w.settings(nil))); err != nil {
			t.Fatal(err)
		}
	}
}
