package route

import (
	"slices"
	"strings"
)

// Unreachable are the routes that no mail can take: other routes, or stores, have all that their patterns
// mean. isOurs says whether a domain is a store's.
func (t *Table) Unreachable(isOurs func(domain string) bool) (all []*Route) {
	for _, r := range t.routes {
		if !slices.ContainsFunc(r.Domains, func(pattern string) bool { return !isOurs(pattern) && t.reaches(r, pattern) }) {
			all = append(all, r)
		}
	}
	return all
}

// reaches says whether a route is the first for some sender, among those for the same pattern.
func (t *Table) reaches(r *Route, pattern string) bool {
	for _, other := range t.pattern[pattern] {
		switch {
		case other == r:
			return true
		case len(r.Senders) == 0 && len(other.Senders) == 0, len(r.Senders) > 0 && coverAll(other.Senders, r.Senders):
			return false
		}
	}
	return false
}

// coverAll says whether one of the wide patterns has all that each of the others means.
func coverAll(wide, narrow []string) bool {
	return !slices.ContainsFunc(narrow, func(n string) bool {
		return !slices.ContainsFunc(wide, func(w string) bool { return covers(w, n) })
	})
}

// covers says whether a pattern has all that another one means.
func covers(wide, narrow string) bool {
	return wide == narrow || wide == Every || strings.HasPrefix(wide, ".") && strings.HasSuffix(narrow, wide)
}
