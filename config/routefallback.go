package config

import "slices"

// fallBacks checks that each fall-back is a way out, and ends: mail that is moved from one to the next must not come back. The
// numbers of the routes are by their names.
func (d *decoder) fallBacks(c *Config, names map[string]int) {
	for i := range c.Routes {
		r, at := &c.Routes[i], join(index("routes", i), "fall_back")
		n, known := names[r.FallBack]
		switch {
		case d.skipped[index("routes", i)] || d.failed[at]:
		case r.FallBack == "" && r.FallBackAfter != nil:
			d.at(join(index("routes", i), "fall_back_after"), "write fall_back: NAME of another route, or leave it out", "the route has no fall-back")
		case r.FallBack == "":
		case r.To != "mx" && r.To != "smtp" && r.To != "lmtp":
			d.at(at, "leave it out", "a fall-back is for mx, smtp and lmtp")
		case r.When == "asked" || r.AsSender:
			d.at(at, "leave it out", "a route with when: asked or as_sender has no fall-back")
		case !known:
			d.at(at, "write the name of another route", "there is no route %q", clip(r.FallBack))
		case !isWayOut(c.Routes[n]):
			d.at(at, "name a route with to: smtp or lmtp, without as_sender and when: asked", "the route %q is no way out for all mail at any time", clip(r.FallBack))
		case inCircle(c.Routes, names, i):
			d.at(at, "leave the fall-back of one of them out", "the fall-backs lead back to this route")
		}
	}
}

// isWayOut says whether any mail may fall back to a route: it is one destination then.
func isWayOut(r Route) bool {
	return (r.To == "smtp" || r.To == "lmtp") && !r.AsSender && r.When != "asked"
}

// inCircle says whether the fall-backs of a route lead back to it.
func inCircle(routes []Route, names map[string]int, from int) bool {
	seen := make([]int, 0, 4)
	for at := from; !slices.Contains(seen, at); {
		seen = append(seen, at)
		next, known := names[routes[at].FallBack]
		if !known {
			return false
		}
		if next == from {
			return true
		}
		at = next
	}
	return false
}
