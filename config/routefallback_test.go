package config_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/config"
)

// TestFallBack: a fall-back is a way out, and the fall-backs of routes end.
func TestFallBack(t *testing.T) {
	const provider = "  - {name: provider, domains: [p.example], to: smtp, hosts: [a.example]"
	for routes, want := range map[string]string{
		"  - {name: net, domains: ['*'], to: mx, fall_back: provider, fall_back_after: 0s}\n" + provider + "}":               "",
		"  - {name: net, domains: ['*'], to: mx, fall_back: gone}":                                                           `there is no route "gone"`,
		"  - {name: net, domains: ['*'], to: mx, fall_back_after: 1h}":                                                       "the route has no fall-back",
		"  - {name: net, domains: ['*'], to: mx, fall_back: held}\n  - {name: held, domains: [h.example], to: hold}":         `the route "held" is no way out`,
		provider + ", fall_back: provider}":                                                                                  "lead back to this route",
		provider + ", fall_back: b}\n  - {name: b, domains: [b.example], to: smtp, hosts: [b.example], fall_back: provider}": "lead back to this route",
		"  - {name: held, domains: [h.example], to: hold, fall_back: provider}\n" + provider + "}":                           "a fall-back is for mx, smtp and lmtp",
	} {
		_, err := config.Parse("test.yaml", t.TempDir(), []byte("hostname: mail.sakes.example\nroutes:\n"+routes+"\n"), config.Options{})
		if text := text(err); want == "" && strings.Contains(text, "fall") || !strings.Contains(text, want) {
			t.Errorf("%s\n%v, want %q", routes, err, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
