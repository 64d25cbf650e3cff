package manage

import (
	"errors"
	"testing"

	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/server"
	"github.com/dipylon/dipylon/gateway/state"
)

// TestOpenQueue: without a gateway the database is opened; beside one that does not answer it is only read,
// as the gateway would not see what is changed.
func TestOpenQueue(t *testing.T) {
	cfg := parse(t, twoStores)
	if err := state.MakeFolder(cfg.StateFolder); err != nil {
		t.Fatal(err)
	}
	use := func(changes bool, action func(queue.Queue) error) error {
		q, closing, err := OpenQueue(t.Context(), cfg, changes)
		if err != nil {
			return err
		}
		return errors.Join(action(q), closing())
	}
	list := func(q queue.Queue) error {
		_, err := q.List(t.Context(), queue.Filter{}, "", 1)
		return err
	}
	change := func(q queue.Queue) error {
		_, err := server.LockState(cfg.StateFolder)
		if err == nil {
			return errors.New("a gateway could start while the queue is changed")
		}
		_, err = q.Change(t.Context(), queue.Change{Action: queue.Retry})
		return err
	}
	if err := errors.Join(use(false, list), use(true, change)); err != nil {
		t.Error(err)
	}
	lock, err := server.LockState(cfg.StateFolder)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if err := use(false, list); err != nil {
		t.Error(err)
	}
	if err := use(true, change); !errors.Is(err, ErrSilent) || !errors.Is(err, server.ErrTemporary) {
		t.Errorf("beside a gateway: %v", err)
	}
}
