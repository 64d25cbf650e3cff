package recurrence

import (
	"slices"
	"time"
)

// Move pairs starts that are added to a rule (RDATE) with instances that are deleted (EXDATE): so Exchange has them as instances that
// were moved, none of them beyond its neighbours, over one, or to its day (MS-OXCICAL §2.1.3.1.1.20.18). It returns which stay deleted.
// ErrUnknown says that there is no such pairing. The times are local.
func (p *Pattern) Move(deleted, added []time.Time) (left []time.Time, moved []Exception, err error) {
	deleted, added = sortedSet(deleted), sortedSet(added)
	added = slices.DeleteFunc(added, func(a time.Time) bool { return slices.ContainsFunc(deleted, a.Equal) }) // RFC 5545 §3.8.5.1
	if len(added) == 0 {
		return deleted, nil, nil
	}
	before, err := p.around(deleted, added)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range deleted {
		switch {
		case len(added) == 0 || before[d.Unix()] < before[added[0].Unix()]:
			left = append(left, d)
		case before[d.Unix()] > before[added[0].Unix()]:
			return nil, nil, ErrUnknown // no instance is missing where this one is added
		default:
			moved = append(moved, Exception{Original: d, Start: added[0], End: added[0].Add(p.Duration())})
			added = added[1:]
		}
	}
	if len(added) > 0 {
		return nil, nil, ErrUnknown
	}
	return left, moved, nil
}

func sortedSet(times []time.Time) []time.Time {
	times = slices.Clone(times)
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal)
}

// around returns how many instances, without those that are deleted, are before each of the times. It fails if an added one would meet
// one of these, or another added one, on its day or in its time.
func (p *Pattern) around(deleted, added []time.Time) (before map[int64]int, err error) {
	rest := slices.Concat(deleted, added)
	if len(rest) > deletedMost {
		return nil, ErrUnknown
	}
	slices.SortFunc(rest, time.Time.Compare)
	before = map[int64]int{}
	missing := map[int64]bool{}
	for _, d := range deleted {
		missing[d.Unix()] = true
	}
	n, next := 0, 0 // of added
	for date := range p.instances() {
		start := date.Add(p.from)
		if len(rest) == 0 || p.ending != never && date.After(p.end) {
			break
		}
		if missing[start.Unix()] || p.passes && p.isShort(date) {
			continue
		}
		for len(rest) > 0 && rest[0].Before(start) {
			before[rest[0].Unix()], rest = n, rest[1:]
		}
		n++
		for next < len(added) && added[next].Before(start) {
			next++
		}
		if next > 0 && p.meets(added[next-1], start) || next < len(added) && p.meets(added[next], start) {
			return nil, ErrUnknown
		}
	}
	if len(rest) > 0 && p.ending == never {
		return nil, ErrUnknown // it is further away than is counted
	}
	for _, at := range rest {
		before[at.Unix()] = n
	}
	for i := range added[1:] {
		if p.meets(added[i], added[i+1]) {
			return nil, ErrUnknown
		}
	}
	return before, nil
}

// meets says whether two instances would be on one day, or at one time.
func (p *Pattern) meets(a, b time.Time) bool {
	return a.Truncate(24*time.Hour).Equal(b.Truncate(24*time.Hour)) || a.Sub(b).Abs() < p.Duration()
}
