//go:build linux

package state

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"
)

// adds are statements that a gateway which does not know them can go on beside: what is new is not there for it, or has a default.
// How rows are stored is no matter of its.
var adds = regexp.MustCompile(`(?is)^(CREATE (UNIQUE )?INDEX|CREATE TABLE|CREATE FUNCTION|INSERT INTO|ALTER TABLE \w+ (ADD COLUMN \w+ \w+ NOT NULL DEFAULT |ALTER COLUMN \w+ SET STORAGE |SET \())`)

// TestMigrationsAdd: what changes the schema under gateways of an earlier version is among those that none of them may be at work beside.
func TestMigrationsAdd(t *testing.T) {
	harmless := []string{"DELETE FROM login_failures WHERE key LIKE 'p n %'"} // what is counted anew
	check := func(version int64, statement string) {
		t.Helper()
		statement = strings.TrimSpace(statement)
		if statement != "" && !adds.MatchString(statement) && !slices.Contains(harmless, statement) && !slices.Contains(alone, version) {
			t.Errorf("migration %d: a gateway of the version before may not go on after this: have it add only, or list its version in alone\n%s", version, statement)
		}
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	comments := regexp.MustCompile(`--[^\n]*`)
	for _, name := range names {
		octets, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		version, err := goose.NumericComponent(name)
		if err != nil {
			t.Fatal(err)
		}
		_, up, _ := strings.Cut(string(octets), "-- +goose Up\n")
		up, _, _ = strings.Cut(up, "-- +goose Down")
		for statement := range strings.SplitSeq(comments.ReplaceAllString(up, ""), ";") {
			check(version, statement)
		}
	}
	for _, m := range onPostgres {
		for _, statement := range m.statements {
			check(m.version, statement)
		}
	}
}

// TestBesideOthers: a schema that others cannot follow is not changed under a gateway that is at work, and is once that has ended.
func TestBesideOthers(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		db := open(t, o)
		if !db.Shared() {
			return // nobody else has the file open
		}
		change := func(statement string, arguments ...any) {
			t.Helper()
			err := db.Write(t.Context(), func(tx *Tx) error {
				_, err := tx.Exec(statement, arguments...)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		refused := func(what string, want bool, alone ...int64) {
			t.Helper()
			err := besideOthers(t.Context(), "x", db.pool, alone)
			wrong, is := errors.AsType[*Unusable](err)
			if is != want || !is && err != nil || is && !strings.Contains(wrong.What, "1 are at work") {
				t.Errorf("%s: %v", what, err)
			}
		}
		last := SchemaVersion()
		refused("nobody is there, and nothing is to be done", false, last)
		change(fmt.Sprintf("INSERT INTO spool_nodes (node, until) VALUES ('old', %d)", int64(1)<<60))
		refused("nothing is to be done", false, last)
		change("DELETE FROM "+versionTable+" WHERE version_id = $1", last)
		refused("one is at work", true, last)
		refused("it can go on", false, last-1)
		change("UPDATE spool_nodes SET until = 1")
		refused("it has ended", false, last)
	})
}
