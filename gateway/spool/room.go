package spool

import (
	"context"
	"fmt"
)

// Room says whether a message of so many octets may be taken in: nil, or [ErrFull] before the disk is
// full. Pages that are free inside a SQLite database count as free for what goes into rows. It looks at
// the disk of this machine; a full one of a PostgreSQL server shows when a message is taken in.
func (s *Spool) Room(ctx context.Context, size int64) error {
	free, err := s.free(s.files.folder)
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	if free-size >= s.o.Reserve {
		return nil
	}
	// A quarter of the reserve stays for the database's log in any case.
	if s.db.Shared() || size > int64(s.o.InRow) || free < s.o.Reserve/4 {
		return ErrFull
	}
	var inside int64
	err = s.db.QueryRow(ctx, "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size").Scan(&inside)
	if err != nil {
		return fmt.Errorf("the spool: %w", err)
	}
	if free+inside-size >= s.o.Reserve {
		return nil
	}
	return ErrFull
}

// Free says how many octets the disk of the spool's files has free, and how many of them are kept so: with less than those
// [Spool.Room] refuses mail.
func (s *Spool) Free() (free, reserve int64, err error) {
	if free, err = s.free(s.files.folder); err != nil {
		return 0, 0, fmt.Errorf("the spool: %w", err)
	}
	return free, s.o.Reserve, nil
}
