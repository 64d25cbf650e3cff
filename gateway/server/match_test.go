package server

import (
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/config"
)

// TestMatch: a socket that is there goes on, whatever the order of the file, and whatever
// protocol is spoken on it.
func TestMatch(t *testing.T) {
	listener := func(protocol, address string) *listening {
		t.Helper()
		d, err := openListener(zerolog.Nop(), address, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.close)
		return &listening{listener: d, protocol: protocol}
	}
	a, b, c := listener("pop3", "127.0.0.1:0"), listener("smtp", "127.0.0.1:0"), listener("pop3", "127.0.0.1:0")
	there := []*listening{a, b, c}
	for _, test := range []struct {
		name   string
		wanted []config.Listener
		found  []*listening
		left   int
	}{
		{"nothing", nil, nil, 3},
		{"the same", []config.Listener{{Protocol: "pop3", Address: "127.0.0.1:0"}, {Protocol: "smtp", Address: "127.0.0.1:0"}, {Protocol: "pop3", Address: "127.0.0.1:0"}}, there, 0},
		{
			"a port of its own goes before any port",
			[]config.Listener{{Protocol: "pop3", Address: "127.0.0.1:0"}, {Protocol: "pop3", Address: a.listener.address()}},
			[]*listening{c, a},
			1,
		},
		{"another protocol", []config.Listener{{Protocol: "pop3", Address: b.listener.address()}}, []*listening{b}, 2},
		{"any port for another protocol", []config.Listener{{Protocol: "pop3s", Address: "127.0.0.1:0"}}, []*listening{nil}, 3},
		{"another address", []config.Listener{{Protocol: "pop3", Address: "127.0.0.2:1"}}, []*listening{nil}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, left := match(there, test.wanted)
			if len(found) != len(test.wanted) || len(left) != test.left {
				t.Fatalf("%d found, %d left", len(found), len(left))
			}
			for i := range found {
				if found[i] != test.found[i] {
					t.Errorf("listener %d is not the one that was there", i)
				}
			}
		})
	}
}
