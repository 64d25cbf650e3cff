//go:build linux

package imap_test

import (
	"context"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/test/peers"
)

// conforms runs the whole suite over a server.
func conforms(t *testing.T, settings backends.Settings, altersNUL bool) {
	t.Helper()
	storetest.Run(t, storetest.Target{
		New:      func(context.Context) (backends.Store, error) { return imap.New(), nil },
		Settings: settings,
		Open: func(ctx context.Context) (backends.Store, error) {
			s := imap.New()
			return s, s.Configure(ctx, settings)
		},
		User: "ada@peer.example", Password: "ada-secret", Address: "ada@peer.example",
		SecondUser: "bob@peer.example", SecondPassword: "bob-secret", SecondAddress: "bob@peer.example",
		Folder: "Trash", Large: 8 << 20, Many: 100, AltersNUL: altersNUL,
		BadSettings: map[string]string{
			"address":       `{}`,
			"tls":           `{"address": "x", "tls": "yes"}`,
			"adress":        `{"adress": "x"}`,
			"pin":           `{"address": "x", "pin": "sha1/x"}`,
			"master":        `{"address": "x", "master": {"user": "m"}}`,
			"delivery":      `{"address": "x", "delivery": {"lmtp": "x", "append": true}, "master": {"user": "m", "password": "p"}}`,
			"timeout":       `{"address": "x", "timeout": "soon"}`,
			"submission.to": `{"address": "x", "submission": {"to": "x"}}`,
		},
	})
}

const master = "keeper:keeper-secret"

func TestDovecotWithLMTP(t *testing.T) {
	t.Parallel()
	d := peers.StartDovecot(t, peers.DovecotOptions{Master: master})
	conforms(t, given(t, map[string]any{
		"address": d.IMAPS, "ca": d.CA, "tls_name": "localhost",
		"master":   map[string]any{"user": "keeper", "password": "keeper-secret"},
		"delivery": map[string]any{"lmtp": d.LMTP},
	}), true)
}

func TestDovecotWithAppend(t *testing.T) {
	t.Parallel()
	d := peers.StartDovecot(t, peers.DovecotOptions{Master: master})
	conforms(t, given(t, map[string]any{
		"address": d.IMAP, "tls": "starttls", "ca": d.CA, "tls_name": "localhost",
		"master":   map[string]any{"user": "keeper", "password": "keeper-secret"},
		"delivery": map[string]any{"append": true},
	}), true)
}

func TestCyrusWithLMTP(t *testing.T) {
	t.Parallel()
	c := peers.StartCyrus(t, peers.CyrusOptions{})
	conforms(t, given(t, map[string]any{
		"address": c.IMAPS, "ca": c.CA, "tls_name": "localhost",
		"master":   map[string]any{"user": peers.CyrusAdmin, "password": peers.CyrusAdminPassword},
		"delivery": map[string]any{"lmtp": c.LMTP},
	}), false)
}
