package host

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// TestTryEnding: each way to ask a plugin to end is tried by itself.
func TestTryEnding(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t, ""))
	for name, way := range map[string]Ending{"shutdown": ByShutdown, "SIGTERM": BySIGTERM, "lifeline": ByLifeline} {
		t.Run(name, func(t *testing.T) {
			if err := TryEnding(t.Context(), zerolog.Nop(), specOf(t, "store", fakeSettings{}), way); err != nil {
				t.Error(err)
			}
			stubborn := specOf(t, "stubborn-store", fakeSettings{})
			stubborn.StopTimeout = 200 * time.Millisecond
			if err := TryEnding(t.Context(), zerolog.Nop(), stubborn, way); !errors.Is(err, errStubborn) {
				t.Errorf("one that does not end: %v", err)
			}
		})
	}
}

// TestKillProcess: another process serves the store when it returns.
func TestKillProcess(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for range 3 {
		before := s.Status().PID
		if err := s.KillProcess(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.Status().PID == before || alive(before) {
			t.Error("it lives")
		}
		if _, err := s.Login(t.Context(), ann); err != nil {
			t.Error(err)
		}
	}
}

// TestDescribeProgram: what a plugin says of itself before it has settings.
func TestDescribeProgram(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t, ""))
	if d, err := DescribeProgram(t.Context(), zerolog.Nop(), specOf(t, "store", fakeSettings{Name: "settings"})); err != nil || d.Name != "fake" || d.Vendor != "" {
		t.Error(d, err)
	}
}
