package content_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/content"
)

func TestHops(t *testing.T) {
	for text, want := range map[string]int{
		"":                                       0,
		"Received: by gate.example":              1,
		"Received: by gate.example; today\r\n":   1,
		"RECEIVED : from x BY Gate.Example.\r\n": 1,
		"Received: from x\r\n\tby\r\n gate.example":                            1,
		"Received: from x (by gate.example)\r\n":                               0,
		"Received: (a (by gate.example) by gate.example) by x\r\n":             0,
		"Received: from by by gate.example\r\n":                                0, // the first one counts
		"Received: from gate.example by x\r\n":                                 0,
		"Received: by a.gate.example\r\n":                                      0,
		"X-Received: by gate.example\r\nReceived-SPF: by gate.example\r\n":     0,
		"Received: by gate.example\r\n\r\nReceived: by gate.example\r\n":       1,
		"Received: by gate.example\nX: y\nReceived: by gate.example id 1; x\n": 2,
		"Received: by":  0,
		"Received: )))": 0,
	} {
		if got := content.Hops([]byte(text), "gate.example"); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if n := content.Hops([]byte(strings.Repeat("Received: by gate.example\r\n", 2000)), "GATE.example"); n != 2000 {
		t.Error(n)
	}
}
