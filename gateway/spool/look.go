package spool

import (
	"cmp"
	"container/heap"
	"context"
	"strconv"
)

// loadMore reads the next page of destinations that are not in memory. Who is announced meanwhile is put
// there by whoever announces it.
func (s *schedule) loadMore(ctx context.Context) error {
	s.mu.Lock()
	from, rows := s.horizon, s.rows
	s.horizon = horizon{due: never} // what is put out of memory meanwhile sets it back
	s.mu.Unlock()
	page, err := s.page(ctx, "(due, destination) > ($1, $2)", from.due, from.name)
	next := horizon{due: never}
	switch {
	case err != nil:
		next = from
	case len(page) == s.pageMost():
		next = behind(page)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows != rows {
		for _, d := range page {
			d.row = never // it may have been written since it was read
		}
	}
	s.merge(page)
	s.setBack(next)
	return err
}

// setBack sees to it that destinations behind a place are read.
func (s *schedule) setBack(to horizon) {
	if cmp.Or(cmp.Compare(to.due, s.horizon.due), cmp.Compare(to.name, s.horizon.name)) < 0 {
		s.horizon = to
	}
}

// pageMost is how many rows of destinations are read at once.
func (s *schedule) pageMost() int { return min(pageDestinations, s.spool.o.Destinations) }

// behind is the place behind a page.
func behind(page []*destination) horizon {
	last := page[len(page)-1]
	return horizon{last.row, last.name}
}

// page reads rows of destinations.
func (s *schedule) page(ctx context.Context, where string, args ...any) (page []*destination, err error) {
	rows, err := s.spool.db.Query(ctx, "SELECT destination, shard, due, until FROM spool_destinations WHERE "+where+
		" ORDER BY due, destination LIMIT "+strconv.Itoa(s.pageMost()), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		d := &destination{place: -1}
		if err := rows.Scan(&d.name, &d.shard, &d.row, &d.until); err != nil {
			return nil, err
		}
		if d.next = d.row; d.until < 0 {
			d.lifted, d.until = -d.until, 0
		}
		page = append(page, d)
	}
	return page, rows.Err()
}

// merge puts rows that were read to what is known. Of a destination that is in memory it is known better
// when it is due, but for what other gateways have announced.
func (s *schedule) merge(page []*destination) {
	for _, read := range page {
		known := s.destinations[read.name]
		switch {
		case known != nil && s.spool.db.Shared():
			if known.next = min(known.next, read.next); read.lifted != 0 {
				known.lift(read.lifted)
			}
			s.fix(known)
		case known == nil && s.spool.leases.has(read.shard):
			s.destinations[read.name] = read
			heap.Push(&s.heap, read)
		}
	}
	s.wake()
}
