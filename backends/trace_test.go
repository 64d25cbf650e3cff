package backends_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestTrace has the example of W3C Trace Context §3.2.3.
func TestTrace(t *testing.T) {
	if _, ok := backends.TraceOf(t.Context()); ok {
		t.Error("a context without a trace has one")
	}
	given := backends.Trace{
		TraceID: [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36},
		SpanID:  [8]byte{0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7},
	}
	got, ok := backends.TraceOf(backends.WithTrace(t.Context(), given))
	if !ok || got != given {
		t.Errorf("got %v, %v", got, ok)
	}
	if want := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; got.String() != want {
		t.Errorf("traceparent is %s, want %s", got, want)
	}
}

func TestParseTrace(t *testing.T) {
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, text := range []string{given, "cc" + given[2:], "cc" + given[2:] + "-what-comes"} {
		if got, err := backends.ParseTrace(text); err != nil || got.String() != given {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", given[:54], given + "-x", "ff" + given[2:], "cc" + given[2:] + "x", "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01", "00 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		if got, err := backends.ParseTrace(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
}
