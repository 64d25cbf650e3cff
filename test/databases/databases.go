//go:build linux

// Package databases gives the tests of what is kept in the gateway's state a database of their own
// of each kind: a test that uses [Each] runs on SQLite and on PostgreSQL.
//
//	func TestMain(m *testing.M) { databases.Main(m) }
//
//	func TestKeeper(t *testing.T) {
//		databases.Each(t, func(t *testing.T, o state.Options) {
//			keeper := New(databases.Open(t, o))
//			…
//		})
//	}
package databases

import (
	"os"
	"testing"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/peers"
)

// Main runs a package's tests, ends the server that they have shared, and finds the goroutines
// that they have left.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		peers.EndPostgres()
		os.Exit(code)
	}))
}

// Each runs a test on an empty database of each kind, both at the same time.
func Each(t *testing.T, f func(t *testing.T, o state.Options)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, state.Options{Log: zerolog.Nop(), Folder: Folder(t)})
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).Database(t)})
	})
}
