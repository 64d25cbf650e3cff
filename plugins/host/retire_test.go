package host

import (
	"io"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestRetire: sessions go on, nothing new begins, and the process ends with the last session.
func TestRetire(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	pid := s.Status().PID
	drop := openDrop(t, s)
	retired := make(chan error, 1)
	go func() { retired <- s.Retire() }()
	within(t, "no call begins any more", func() bool {
		other, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
		if err == nil {
			_ = other.Close()
		}
		return backends.KindOf(err) == backends.Temporary
	})
	if got, err := io.ReadAll(fetch(t, drop, "size:7")); len(got) != 7 || err != nil {
		t.Error("the session that was open:", len(got), err)
	}
	if !alive(pid) {
		t.Fatal("the process is gone before its session")
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-retired:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the process does not end with its last session")
	}
	if alive(pid) {
		t.Error("the process is still there")
	}
}

// TestCloseCutsRetireShort: whoever has no time left for sessions closes the store.
func TestCloseCutsRetireShort(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	openDrop(t, s)
	retired := make(chan error, 1)
	go func() { retired <- s.Retire() }()
	within(t, "it is retiring", func() bool { return !s.Status().Ready })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-retired:
	case <-time.After(time.Minute):
		t.Fatal("it waits for its session still")
	}
}
