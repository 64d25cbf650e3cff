package track

import "testing"

// TestTracked: an event is known by its name alone, wherever that stands in the line, and not by what a value says.
func TestTracked(t *testing.T) {
	for line, want := range map[string]bool{
		`{"level":"info","event":"delivery","outcome":"delivered"}`:            true,
		`{"level":"info","outcome":"delivered","event":"message.in"}` + "\n":   false,
		`{"level":"info","event":"session_end"}`:                               false,
		`{"level":"info","reply":"\"event\":\"delivery\""}`:                    false,
		`{"level":"info","reply":"\"event\":\"delivery\"","event":"delivery"}`: true,
		`{"peer":{"event":"none"},"event":"delivery"}`:                         true,
		`{"event":"delivery`:    false,
		`{"event":"deliver"}`:   false,
		`{"event":"deliveryx"}`: false,
		`{"event":""}`:          false,
		``:                      false,
	} {
		if isTracked([]byte(line)) != want {
			t.Errorf("%s: %t", line, !want)
		}
	}
	for name := range tracked {
		if !isTracked([]byte(`{"event":"` + name + `"}`)) {
			t.Error(name)
		}
	}
}

func BenchmarkTracked(b *testing.B) {
	line := []byte(`{"level":"info","session":"abcdefghijkl","remote":"127.0.0.1:12345","transaction":"abcdefghijkl.1","key":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","event":"delivery","from":"sender@load.example","recipient":"u1@bench.example","store":"mail","outcome":"delivered","code":250,"enhanced":"2.0.0","message_id":"<0000000001@load.example>","octets":4300,"again":false,"message":"delivery"}`)
	for b.Loop() {
		isTracked(line)
	}
}
