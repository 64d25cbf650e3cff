package exchange_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
)

// TestDropConformance runs the suite's cases for outboxes on a Drop folder.
func TestDropConformance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, with(takes, "outbox", map[string]any{"drop": dir}))
	target := s.target(t)
	target.Open = func(ctx context.Context) (backends.Store, error) {
		store := exchange.New()
		exchange.Hasty(store, 10*time.Millisecond)
		t.Cleanup(func() { _ = store.Close() })
		return store, store.Configure(ctx, s.settings)
	}
	var n atomic.Int32
	target.Enqueue = func(_ context.Context, out backends.Outgoing, mail []byte) error {
		var text strings.Builder
		fmt.Fprintf(&text, "X-Sender: <%s>\r\n", out.From)
		for _, r := range out.Recipients {
			fmt.Fprintf(&text, "X-Receiver: <%s>\r\n", r.Address)
		}
		fmt.Fprintf(&text, "X-EndOfInjectedXHeaders: %d\r\n%s", len(mail), mail)
		name := filepath.Join(dir, fmt.Sprint(n.Add(1), ".eml"))
		if err := os.WriteFile(name+".part", []byte(text.String()), 0o600); err != nil {
			return err
		}
		return os.Rename(name+".part", name)
	}
	some(t, target, "^(outbox|describe)/")
}

// TestOutboxSettings tells what cannot be.
func TestOutboxSettings(t *testing.T) {
	for _, outbox := range []map[string]any{
		{"folder": "x"}, {"mailbox": "x"}, {"users": []string{"x"}}, {"mailbox": george, "users": []string{george}}, {"mailbox": george, "drop": "/drop"}, {"users": []string{george}, "drop": "/drop"},
	} {
		s := start(t, with(takes, "outbox", outbox))
		if err := exchange.New().Configure(t.Context(), s.settings); err == nil || !strings.Contains(err.Error(), "outbox") {
			t.Errorf("%v: %v", outbox, err)
		}
	}
}
