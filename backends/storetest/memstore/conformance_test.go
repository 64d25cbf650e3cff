package memstore_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/storetest"
	"github.com/dipylon/dipylon/backends/storetest/memstore"
)

const raw = `{
	"acting": true,
	"message_size": 4000000,
	"accounts": [
		{"user": "anna", "password": "secret of anna", "address": "anna@sakes.example", "aliases": ["a@sakes.example"], "folders": ["Archive/2026"]},
		{"user": "bert", "password": "secret of bert", "address": "bert@sakes.example"}
	]
}`

func TestConformance(t *testing.T) {
	defer goleak.VerifyNone(t)
	var store *memstore.Store
	settings := backends.Settings{Raw: []byte(raw), Domains: []string{"sakes.example"}, BaseDir: t.TempDir()}
	storetest.Run(t, storetest.Target{
		New: func(context.Context) (backends.Store, error) { return memstore.New(), nil },
		Open: func(ctx context.Context) (backends.Store, error) {
			store = memstore.New()
			return store, store.Configure(ctx, settings)
		},
		Settings: settings,
		BadSettings: map[string]string{
			"accounts.0.password": `{"accounts": [{"user": "anna"}]}`,
			"accounts.1.address":  `{"accounts": [{"user": "anna", "password": "x", "address": "a@b"}, {"user": "bert", "password": "x", "address": "A@b"}]}`,
			"faults.0.kind":       `{"faults": [{"call": "fetch", "kind": "tempory"}]}`,
			"faults.0.call":       `{"faults": [{"call": "fetsch"}]}`,
			"lease":               `{"lease": "5 minutes"}`,
		},
		User: "anna", Password: "secret of anna", Address: "anna@sakes.example",
		SecondUser: "bert", SecondPassword: "secret of bert", SecondAddress: "bert@sakes.example",
		Folder:   "Archive/2026",
		Outside:  []string{"carl@elsewhere.example", "dora@elsewhere.example"},
		InMemory: true,
		Lease:    50 * time.Millisecond,
	})
}
