package notice

import (
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// Copies says of which reports the administrator gets a copy, as Exchange had it. The zero value says none.
type Copies struct {
	To string // an address; empty: nobody gets copies
	// Classes are status codes (RFC 3463), or what they begin with: "5.1" is all that is wrong with addresses. None:
	// each failure.
	Classes []string
}

// Wants says whether a report is to be copied: one on a failure of the classes that is not the administrator's anyway.
func (c *Copies) Wants(r Report) bool {
	return c != nil && c.To != "" && c.To != r.To() && slices.ContainsFunc(r.Outcomes, func(o Outcome) bool {
		return o.Action == backends.ActionFailed && c.has(statusOf(o))
	})
}

func (c *Copies) has(code string) bool {
	return len(c.Classes) == 0 || slices.ContainsFunc(c.Classes, func(class string) bool {
		return strings.HasPrefix(code+".", class+".") // whole numbers
	})
}
