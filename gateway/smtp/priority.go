package smtp

import (
	"errors"
	"strconv"
)

// Prioritizes is what a [Session] implements that hands mail on by its priority. MT-PRIORITY (RFC 6710) is offered, and
// its parameter is taken, while ok is true. Most is the highest priority that the client may give: what asks for more
// gets that, and the reply says so (RFC 6710 §4.1).
type Prioritizes interface {
	Priority() (most int, ok bool)
}

// priorityMost bounds a priority, which is from -9 to 9 (RFC 6710 §3).
const priorityMost = 9

var errPriority = errors.New("syntax error in a parameter of RFC 6710")

// priority is the highest one that the client may give now; not ok: MT-PRIORITY is not offered.
func (s *session) priority() (most int, ok bool) {
	p, is := s.backend.(Prioritizes)
	if !is {
		return 0, false
	}
	return p.Priority()
}

// parsePriority is RFC 6710 §5: a digit, with a minus in front of it if it is not 0.
func parsePriority(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || strconv.Itoa(n) != value || n < -priorityMost || n > priorityMost {
		return 0, errPriority
	}
	return n, nil
}
