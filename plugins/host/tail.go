package host

import (
	"bytes"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// Bounds of what is kept to explain a plugin's end.
const (
	recentMost   = 16 << 10 // octets
	tailMost     = 5        // lines that are quoted
	tailLineMost = 300      // octets of each of them
)

// recent is the last that a plugin wrote. It is looked at only when there is an end to explain.
type recent struct{ octets []byte }

func (r *recent) add(p []byte) {
	if len(p) >= recentMost {
		r.octets = append(r.octets[:0], p[len(p)-recentMost:]...)
		return
	}
	if over := len(r.octets) + len(p) - 2*recentMost; over > 0 { // moved now and then, not each time
		r.octets = append(r.octets[:0], r.octets[len(r.octets)-recentMost:]...)
	}
	r.octets = append(r.octets, p...)
}

// words are the last lines, and before them the one that names the cause where that is not
// among them: a program's last words are a stack's frames, as a rule.
func (r *recent) words() string {
	var said []string
	for line := range bytes.Lines(r.octets[max(0, len(r.octets)-recentMost):]) {
		text := string(line)
		if entry, is := parseLine(line); is {
			text = entry.message
		}
		if text = strings.TrimRight(text, "\r\n"); strings.TrimSpace(text) != "" {
			said = append(said, text)
		}
	}
	last := said[max(0, len(said)-tailMost):]
	if cause := causeOf(said); cause >= 0 && cause < len(said)-tailMost {
		last = append([]string{said[cause], "…"}, last[1:]...)
	}
	var quoted []string
	for _, text := range last {
		if text = convert.Line(text, tailLineMost); text != "" {
			quoted = append(quoted, text)
		}
	}
	return strings.Join(quoted, " / ")
}

// causeLine is how the runtimes of common languages begin to tell why they end: Go ("panic: "),
// Node ("TypeError: "), Java ("Exception in thread"), .NET, Rust, Ruby. Python's stands last.
var causeLine = lazyregexp.New(`^(panic: |fatal error: |Exception in thread |Unhandled [Ee]xception|Uncaught |thread '.*' panicked|` +
	`(\w+[.:])*\w*(Error|Exception)\b( \[\w+\])?(:|$)|(ERROR|FATAL|Error|error|fatal)\b[:\s])`)

// frameLine is a line of a stack.
var frameLine = lazyregexp.New(`^\s+|^goroutine \d|^\S+\(.*\)$|^created by `)

// causeOf is the first line that tells the cause of the last crash: what stands before the
// frames that the last lines belong to. -1: there is none.
func causeOf(said []string) int {
	cause := -1
	for i := len(said) - 1; i >= 0; i-- {
		switch {
		case causeLine.MatchString(said[i]):
			cause = i
		case frameLine.MatchString(said[i]):
		case cause >= 0:
			return cause
		}
	}
	return cause
}
