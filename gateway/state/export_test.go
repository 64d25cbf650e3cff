//go:build linux

package state

import (
	"context"

	"github.com/pressly/goose/v3"
)

// MigrateTo makes the schema of an earlier version in an empty PostgreSQL database.
func MigrateTo(ctx context.Context, o Options, version int64) error {
	l, err := dial(ctx, o.withDefaults())
	if err != nil {
		return err
	}
	db := l.connect(1, "on")
	defer db.Close() //nolint:errcheck // what failed was told
	provider, err := newProvider(goose.DialectPostgres, db, nil)
	if err != nil {
		return err
	}
	_, err = provider.UpTo(ctx, version)
	return err
}
