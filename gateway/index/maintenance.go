package index

import (
	"context"

	"github.com/dipylon/dipylon/gateway/state"
)

// Tasks are what the index has to clean up.
func (x *Index) Tasks() []state.Task {
	return []state.Task{
		{Name: "sizes of folders that nobody opens", Do: func(ctx context.Context, most int) (int64, error) {
			return x.drop(ctx, `DELETE FROM folder_parts WHERE (folder, kind, batch) IN (
SELECT p.folder, p.kind, p.batch FROM folder_parts AS p JOIN folders AS f ON f.key = p.folder WHERE f.used < $1 AND p.kind LIKE $2 LIMIT $3)`,
				x.today()-unusedMost, kindSize+"%", most)
		}},
		{Name: "imported unique-ids whose messages never came", Do: func(ctx context.Context, most int) (int64, error) {
			return x.drop(ctx, `DELETE FROM folder_parts WHERE (folder, kind, batch) IN (
SELECT folder, kind, batch FROM folder_parts WHERE kind = $2 AND made < $1 LIMIT $3)`,
				x.now().Add(-ImportKept).Unix(), kindImport, most)
		}},
		{Name: "folders of which nothing is known", Do: func(ctx context.Context, most int) (int64, error) {
			return x.drop(ctx, `DELETE FROM folders WHERE key IN (
SELECT f.key FROM folders AS f LEFT JOIN folder_parts AS p ON p.folder = f.key WHERE p.folder IS NULL AND f.used < $1 LIMIT $2)`,
				x.today()-1, most)
		}},
	}
}

func (x *Index) drop(ctx context.Context, query string, args ...any) (rows int64, err error) {
	err = x.db.Write(ctx, func(tx *state.Tx) error {
		rows, err = tx.Exec(query, args...)
		return err
	})
	return rows, err
}
