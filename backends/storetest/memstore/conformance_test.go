package memstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
	"github.com/dipylon/dipylon/plugins/host"
)

const raw = `{
	"impersonation": true,
	"message_size": 4000000,
	"accounts": [
		{"user": "anna", "password": "secret of anna", "address": "anna@sakes.example", "preferences": {"rich_text": "as-sent", "format": "uuencode", "charset": "iso-8859-15"}, "aliases": ["a@sakes.example"], "folders": ["Archive/2026"]},
		{"user": "bert", "password": "secret of bert", "address": "bert@sakes.example", "token": "t0ken", "certificate": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	],
	"lists": [{"address": "all@sakes.example", "members": ["anna@sakes.example", "bert@sakes.example"]}]
}`

func conformance(t *testing.T) storetest.Target {
	deferral := filepath.Join(t.TempDir(), "deferred")
	fault := fmt.Sprintf(`{"faults": [{"call": "send", "recipient": "bert@sakes.example", "kind": "temporary", "while": %q}],`, deferral)
	return storetest.Target{
		Defer: func(context.Context, string) (func(), error) {
			return func() { _ = os.Remove(deferral) }, os.WriteFile(deferral, nil, 0o600)
		},
		Settings: backends.Settings{Raw: []byte(strings.Replace(raw, "{", fault, 1)), Domains: []string{"sakes.example"}, BaseDir: t.TempDir()},
		BadSettings: map[string]string{
			"accounts.0.password":           `{"accounts": [{"user": "anna"}]}`,
			"accounts.1.address":            `{"accounts": [{"user": "anna", "password": "x", "address": "a@b"}, {"user": "bert", "password": "x", "address": "A@b"}]}`,
			"accounts.0.certificate":        `{"accounts": [{"user": "anna", "password": "x", "certificate": "abc"}]}`,
			"accounts.0.quota":              `{"accounts": [{"user": "anna", "password": "x", "quota": -1}]}`,
			"lists.0.members.0":             `{"lists": [{"address": "l@b", "members": ["nobody@b"]}]}`,
			"lists.0.address":               `{"lists": [{"address": "l"}]}`,
			"accounts.0.preferences.format": `{"accounts": [{"user": "anna", "password": "x", "preferences": {"format": "binhex"}}]}`,
			"faults.0.kind":                 `{"faults": [{"call": "fetch", "kind": "tempory"}]}`,
			"faults.0.call":                 `{"faults": [{"call": "fetsch"}]}`,
			"faults.1":                      `{"faults": [{"call": "fetch"}, null]}`,
			"faults.0":                      `{"faults": [{"call": "content", "after": -1}]}`,
			"lease":                         `{"lease": "5 minutes"}`,
			"message_size":                  `{"message_size": -1}`,
			"accounts.0.user":               `{"accounts": [{"password": "x"}]}`,
			"accounts.0.pasword":            `{"accounts": [{"user": "anna", "pasword": "x"}]}`,
			"accounts.0.aliases":            `{"accounts": [{"user": "anna", "password": "x", "aliases": "a@b"}]}`,
			"accounts.1.user":               `{"accounts": [{"user": "anna", "password": "x"}, {"user": "Anna", "password": "y"}]}`,
			"accounts.0.act_as.0":           `{"accounts": [{"user": "anna", "password": "x", "act_as": ["nobody"]}]}`,
			"accounts.0.folders.0":          `{"accounts": [{"user": "anna", "password": "x", "folders": [""]}]}`,
			"accounts.0.aliases.0":          `{"accounts": [{"user": "anna", "password": "x", "aliases": ["no address"]}]}`,
		},
		User: "anna", Password: "secret of anna", Address: "anna@sakes.example",
		SecondUser: "bert", SecondPassword: "secret of bert", SecondAddress: "bert@sakes.example",
		List: "all@sakes.example", Preferences: backends.Preferences{RichText: backends.RichTextAsSent, Format: backends.FormatUUENCODE, Charset: "iso-8859-15"},
		Folder:   "Archive/2026",
		Outside:  []string{"carl@elsewhere.example", "dora@elsewhere.example"},
		InMemory: true,
		Lease:    200 * time.Millisecond,
	}
}

func TestConformance(t *testing.T) {
	target := conformance(t)
	target.New = func(context.Context) (backends.Store, error) { return memstore.New(), nil }
	store := memstore.New()
	target.Open = func(ctx context.Context) (backends.Store, error) { return store, store.Configure(ctx, target.Settings) }
	target.SendLogins = store.SendLogins
	target.EndSending = func(context.Context) error { store.EndSending(); return nil }
	storetest.Run(t, target)
}

// TestConformanceAsPlugin: every capability crosses the process boundary unharmed.
func TestConformanceAsPlugin(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	spec := func(settings backends.Settings) host.Spec {
		return host.Spec{Store: "sakes", Command: []string{self}, Env: []string{"MEMSTORE_TEST_PLUGIN=1"}, Settings: settings}
	}
	target := conformance(t)
	target.Configure = func(ctx context.Context, settings backends.Settings) error {
		return host.CheckSettings(ctx, log, spec(settings))
	}
	target.Open = func(ctx context.Context) (backends.Store, error) {
		store := host.New(log, spec(target.Settings))
		return store, store.Start(ctx)
	}
	storetest.Run(t, target)
}
