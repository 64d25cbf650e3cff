package host

import (
	"errors"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestDescriptionDoesNotWait: nothing is known before the first process is ready, and that is told
// at once while it starts.
func TestDescriptionDoesNotWait(t *testing.T) {
	s, _ := unstarted(t, specOf(t, "store", fakeSettings{Name: "slow", Slow: "1500ms"}))
	if d := s.Description(); d != nil {
		t.Fatalf("a plugin that never ran says %+v", d)
	}
	started := make(chan error, 1)
	go func() { started <- s.Start(t.Context()) }()
	within(t, "it is being started", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.numbers > 0
	})
	if d := s.Description(); d != nil {
		t.Errorf("while it starts it says %+v", d)
	}
	select {
	case <-started:
		t.Fatal("it says that only once the plugin has started")
	default:
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	if d := s.Description(); d == nil || d.Vendor != "slow" {
		t.Errorf("once it is ready it says %+v", d)
	}
}

// TestDescriptionStays: what a process has said is known after its end, and the next one's word
// takes its place.
func TestDescriptionStays(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Name: "one"}))
	first := s.Description()
	_, err := s.Login(t.Context(), userNamed("crash"))
	if !errors.Is(err, ErrPluginDied) {
		t.Fatal(err)
	}
	if d := s.Description(); d == nil || d.Vendor != "one" {
		t.Errorf("after its end it says %+v", d)
	}
	within(t, "another process is ready", func() bool { return s.Status().Ready && s.Status().Generation == 2 })
	if d := s.Description(); d == first || d.Vendor != "one" {
		t.Errorf("the next one's description is %p %+v, that of the first %p", d, d, first)
	}
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{Name: "two"})); err != nil {
		t.Fatal(err)
	}
	if d := s.Description(); d.Vendor != "two" {
		t.Errorf("after a swap it says %+v", d)
	}
}

// TestPrepare: a process that is prepared gets no calls until it is used, and leaves nothing when it
// is discarded.
func TestPrepare(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Name: "old"}))
	old := s.Status()
	if _, err := s.Prepare(t.Context(), specOf(t, "store", fakeSettings{Wrong: true})); !errors.As(err, new(*backends.SettingsError)) {
		t.Fatal(err)
	}
	called, err := s.Prepare(t.Context(), specOf(t, "store", fakeSettings{Name: "called off"}))
	if err != nil {
		t.Fatal(err)
	}
	pid := called.g.proc.pid()
	if s.Status().PID != old.PID || s.Description().Vendor != "old" {
		t.Errorf("the current process is %+v", s.Status())
	}
	called.Discard()
	if alive(pid) || s.Status().PID != old.PID {
		t.Errorf("after it was called off: process %d lives: %v, the current one is %d", pid, alive(pid), s.Status().PID)
	}
	p, err := s.Prepare(t.Context(), specOf(t, "store", fakeSettings{Name: "new"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Use(); err != nil {
		t.Fatal(err)
	}
	if s.Status().PID == old.PID || s.Description().Vendor != "new" {
		t.Errorf("the current process is %+v", s.Status())
	}
	within(t, "the old process is gone", func() bool { return !alive(old.PID) })
}

// TestUseAfterClose: a process that was prepared for a store that is closed ends.
func TestUseAfterClose(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	p, err := s.Prepare(t.Context(), specOf(t, "store", fakeSettings{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Use(); !errors.Is(err, errClosed) {
		t.Errorf("it can be used: %v", err)
	}
	if alive(p.g.proc.pid()) {
		t.Error("the process is still there")
	}
}
