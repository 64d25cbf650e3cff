package storetest

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Table writes results for people: a line for each case, grouped, what went wrong under it,
// and a summary. It returns how many cases failed.
func Table(w io.Writer, results []Result) (failed int, err error) {
	var b strings.Builder
	passed, skipped, group := 0, 0, ""
	for _, r := range results {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(&b, "%s\n", group)
		}
		switch {
		case r.Err != nil:
			failed++
			fmt.Fprintf(&b, "  FAIL         %-32s %s\n", r.Name, short(r.Took))
			for line := range strings.Lines(r.Err.Error()) {
				fmt.Fprintf(&b, "      %s\n", strings.TrimRight(line, "\n"))
			}
		case r.Skipped != "":
			skipped++
			fmt.Fprintf(&b, "  not offered  %-32s %s\n", r.Name, r.Skipped)
		default:
			passed++
			fmt.Fprintf(&b, "  ok           %-32s %s\n", r.Name, short(r.Took))
		}
	}
	fmt.Fprintf(&b, "\n%d passed, %d failed, %d not offered\n", passed, failed, skipped)
	_, err = io.WriteString(w, b.String())
	return failed, err
}

func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
