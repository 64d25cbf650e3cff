package spelling_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/spelling"
)

func TestNearest(t *testing.T) {
	names := []string{"domains", "hostname", "stores", "tls", strings.Repeat("x", 65)}
	for got, want := range map[string]string{
		"domain": "domains", "DOMAINS": "domains", "hostnmae": "hostname", "store": "stores", "tsl": "tls",
		"": "", "colour": "", "x": "", strings.Repeat("x", 64): "", strings.Repeat("x", 1000): "",
	} {
		if near := spelling.Nearest(got, names); near != want {
			t.Errorf("%.20q is taken for %q, not %q", got, near, want)
		}
	}
	if near := spelling.Nearest("a", nil); near != "" {
		t.Errorf("of no names, %q is near", near)
	}
}
