//go:build linux

package spool

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
	"github.com/dipylon/dipylon/test/peers"
)

// TestRoleWithoutOwnership: where the role that a gateway logs in as may not make partitions, mail passes all the same, and it is told
// why there are none; once the role may, there are. Beside a gateway whose role may, it writes into the partitions of that one.
func TestRoleWithoutOwnership(t *testing.T) {
	t.Parallel()
	owners := state.Options{Log: zerolog.Nop(), URL: peers.SharedPostgres(t).OwnDatabase(t)}
	owner := databases.Open(t, owners)
	do := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			err := owner.Write(t.Context(), func(tx *state.Tx) error {
				_, err := tx.Exec(statement)
				return err
			})
			succeed(t, err)
		}
	}
	role := "limited_" + strings.ToLower(rand.Text()) // all databases of a server have the same roles
	do("CREATE ROLE "+role+" LOGIN", "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+role)
	var passing turning
	limited := state.Options{Log: zerolog.Nop(), URL: strings.Replace(owners.URL, "user=postgres", "user="+role, 1)}
	s := start(t, limited, slow, passing.set, unread)
	failure := s.PartitionFailure()
	if failure == nil || !failure.Denied {
		t.Fatalf("%+v", failure)
	}
	acceptSizes(t, s)
	deliverSizes(t, s)

	succeed(t, s.Close())
	other := start(t, owners, slow, passing.set, unread)
	s = start(t, limited, slow, passing.set, unread)
	acceptSizes(t, s)
	if s.PartitionFailure() != nil || !isPassing(t, s, "large") {
		t.Errorf("beside one that looks after them: %+v, %v", s.PartitionFailure(), places(t, s))
	}
	passing.turn(t, other)
	succeed(t, s.partitions.round(t.Context()))
	succeed(t, other.Close())
	tick(t, s)
	deliverSizes(t, s)

	do(`DO $$ DECLARE one regclass; BEGIN
FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP EXECUTE 'ALTER TABLE ' || one || ' OWNER TO `+role+`'; END LOOP;
END $$`, "GRANT CREATE ON SCHEMA public TO "+role)
	for range 2 {
		err := s.partitions.round(t.Context())
		s.partitions.note(err)
		succeed(t, err)
	}
	acceptSizes(t, s)
	if s.PartitionFailure() != nil || !isPassing(t, s, "large") {
		t.Errorf("with all rights: %+v, %v", s.PartitionFailure(), places(t, s))
	}
	deliverSizes(t, s)
}
