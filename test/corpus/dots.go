package corpus

import (
	"fmt"
	"strings"
)

// bufferEdges are the sizes that read buffers, plugin chunks and flow-control windows have.
var bufferEdges = []int{4096, 32768, 65536, 262144}

// dotMessages have dots where dot-stuffing (RFC 5321 §4.5.2, RFC 1939 §3) has to see them:
// first in lines, first in the message, alone, and on both sides of buffer edges.
func dotMessages() []Message {
	all := []Message{
		text("alone", ".\r\n"),
		text("two", "..\r\n"),
		text("three", "...\r\n"),
		text("first-in-body", ".first\r\nthen text\r\n"),
		text("last-in-body", "text\r\n."+"\r\n"),
		text("alone-in-the-middle", "text\r\n.\r\ntext\r\n"),
		text("all-lines", strings.Repeat(".\r\n..\r\n...\r\n.x\r\n. \r\n.\t\r\n", 50)),
		text("many-alone", strings.Repeat(".\r\n", 10000)),
		text("blank-and-dot", "\r\n.\r\n\r\n.\r\n\r\n"),
		text("dot-space", ". \r\n.\t\r\n .\r\n"),
		text("inside", "a.b\r\nend.\r\n...and so on...\r\n"),
		text("smuggling", ".\r\n\r\n..\r\nMAIL FROM:<mallory@corpus.example>\r\n.\r\nQUIT\r\n"),
		raw("first-in-message", ".not-a-field: x\r\n"+head("first-in-message")+"\r\nbody\r\n"),
		raw("nothing-else", ".\r\n"),
		raw("nothing-else-twice", ".\r\n.\r\n"),
		headed("in-a-header", "X-Dots: folded\r\n ..\r\n", "body\r\n"),
		headed("field-of-dots", ".: odd\r\n..: odder\r\n", "body\r\n"),
	}
	for _, edge := range bufferEdges {
		for _, shift := range []int{-1, 0, 1} {
			all = append(all, dotAt(edge, shift))
		}
		all = append(all, dotsAround(edge))
	}
	return inspected(all...)
}

// dotAt has one line "." whose dot is the octet at the offset edge+shift, with nothing else to
// stuff before it.
func dotAt(edge, shift int) Message {
	name := fmt.Sprintf("edge-%d%+d", edge, shift)
	return made(name, func() []byte {
		start := head(name) + "\r\n"
		return []byte(start + filled(edge+shift-len(start)) + ".\r\nMAIL FROM:<>\r\n.\r\n..\r\nafter\r\n")
	})
}

// dotsAround has lines that begin with dots, at every alignment, for 2,000 octets on both sides
// of an edge: whatever stands in front of the message by then (trace fields), a dot meets it.
func dotsAround(edge int) Message {
	name := fmt.Sprintf("around-%d", edge)
	return made(name, func() []byte {
		r := source(name)
		var b strings.Builder
		b.WriteString(head(name) + "\r\n")
		b.WriteString(filled(edge - 2000 - b.Len()))
		for b.Len() < edge+2000 {
			b.WriteString(strings.Repeat(".", r.IntN(4)) + strings.Repeat("e", r.IntN(3)) + "\r\n")
		}
		return []byte(b.String())
	})
}

// filled are exactly n octets of lines of at most 64 octets.
func filled(n int) string {
	const full = "The octets of this line are of no interest but for their number"
	var b strings.Builder
	for n-b.Len() > 2*len(full) {
		b.WriteString(full[:62] + "\r\n")
	}
	for rest := n - b.Len(); rest > 0; rest = n - b.Len() {
		take := min(rest, 64)
		if rest-take == 1 { // no line can be made of one octet
			take--
		}
		b.WriteString(full[:take-2] + "\r\n")
	}
	return b.String()
}
