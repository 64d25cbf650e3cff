package login_test

import (
	"context"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
)

// starting is a store whose plugin is being started: the first who asks what it is waits for that.
type starting struct {
	*fakeStore
	asked int
}

func (s *starting) Describe(ctx context.Context) (backends.Description, error) {
	s.asked++
	s.down = false
	return s.fakeStore.Describe(ctx)
}

// TestReady: who logs in while the plugin is being started, with the gateway, waits for that and is not told of an outage.
func TestReady(t *testing.T) {
	w := newWorld(t, impersonation)
	text := w.add(nil)
	s := &starting{fakeStore: w.store}
	var said *backends.Description
	plugin := stores.Plugin{Backend: s, Description: func() *backends.Description {
		if s.asked > 0 && said == nil {
			said = &s.description
		}
		return said
	}}
	table, err := stores.NewTable(w.table[0].In(plugin))
	if err != nil {
		t.Fatal(err)
	}
	w.tables = func() *stores.Table { return table }
	if store := table.Default(); store.Known {
		t.Fatal("it is known already")
	}
	for range 2 {
		if err := w.Password(t.Context(), newClient(), "alice", []byte(text)); err != nil {
			t.Error(err)
		}
	}
	if s.asked != 1 {
		t.Errorf("it was asked %d times what it is", s.asked)
	}
}
