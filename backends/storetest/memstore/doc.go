// Package memstore is a mail store in memory: the reference for authors of backends, and a
// store for the tests of everything that stands in front of one.
//
// It has every capability of package backends, keeps the contract to the letter, and loses
// all of it when the process ends (so much for "stable storage"). Read it in this order:
// settings.go, store.go, login.go, maildrop.go, receiver.go; then, for the rarer
// capabilities, sender.go, outbox.go and sasl.go.
//
//	store := memstore.New()
//	err := store.Configure(ctx, backends.Settings{
//		Domains: []string{"sakes.example"},
//		Raw:     []byte(`{"accounts": [{"user": "anna", "password": "secret", "address": "anna@sakes.example"}]}`),
//	})
//
// As a plugin it is one line: serve.Store(memstore.New()).
//
// # Faults
//
// A store that never fails tests little. The setting "faults", or [Store.Inject], makes calls
// slow, failing, hanging, half done, or lies:
//
//	{"faults": [
//		{"call": "deliver", "recipient": "bert@sakes.example", "kind": "temporary", "times": 2},
//		{"call": "content", "after": 1000, "kind": "temporary"},
//		{"call": "health", "delay": "10s"}
//	]}
package memstore
