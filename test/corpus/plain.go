package corpus

import (
	"fmt"
	"strings"
)

// plainMessages are those without MIME, and the ones that lack something.
func plainMessages() []Message {
	return inspected(
		text("short", "Hello.\r\n"),
		text("prose", prose("prose", 3000)),
		text("empty-body", ""),
		raw("header-only", head("header-only")),
		raw("nothing", ""),
		raw("one-empty-line", "\r\n"),
		raw("empty-header", "\r\nThere is no header, and this is the body.\r\n"),
		raw("no-header", "There is no header at all\r\nin this message.\r\n"),
		raw("no-header-blank-line", "not a field\r\n\r\nbody\r\n"),
		raw("only-from", "From: erika@corpus.example\r\n\r\nNeither Date nor Message-ID.\r\n"),
		text("only-crlf", "\r\n"),
		text("blank-lines", strings.Repeat("\r\n", 1000)),
		text("leading-blank-lines", "\r\n\r\n\r\ntext\r\n"),
		text("trailing-blank-lines", "text\r\n\r\n\r\n\r\n"),
		text("trailing-whitespace", "space \r\ntab\t\r\nmany        \r\n \r\n\t\r\n \t \t \r\nend\r\n"),
		text("tabs", "\tone\r\n\t\ttwo\r\na\tb\tc\r\n"),
		text("tiny-lines", strings.Repeat("x\r\n", 20000)),
		text("empty-and-tiny-lines", strings.Repeat("\r\ny\r\n", 5000)),
		text("mbox-from", "From the start, this line looks like mbox.\r\n\r\nFrom erika@corpus.example Mon Nov  9 08:01:02 2026\r\nSubject: not a new message\r\n\r\nFrom \r\n>From here\r\n>>From there\r\n"),
		raw("mbox-from-first", "From erika@corpus.example Mon Nov  9 08:01:02 2026\r\n"+head("mbox-from-first")+"\r\nA Unix From line stands before the header.\r\n"),
		text("signature", "Text.\r\n\r\n-- \r\nErika Mustermann\r\n"),
		headed("flowed", "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii; format=flowed; delsp=yes\r\n",
			"> quoted \r\n> text\r\n\r\nA paragraph that goes on \r\nover two lines.\r\n From stuffed.\r\n"),
		text("smtp-dialogue", "QUIT\r\nRSET\r\nMAIL FROM:<erika@corpus.example>\r\nRCPT TO:<max@corpus.example>\r\nDATA\r\n..\r\n250 Ok\r\n354 go on\r\n"),
		text("pop3-dialogue", "+OK 2 320\r\n-ERR no such message\r\n+OK\r\nDELE 1\r\nQUIT\r\n"),
		text("imap-literal", "{10}\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\n"),
		raw("unfinished", head("unfinished")+"\r\nThe last line has no line end."),
		raw("unfinished-header", head("unfinished-header")+"X-Last: no line end"),
		raw("unfinished-dot", head("unfinished-dot")+"\r\nThe last line is a dot.\r\n."),
		raw("unfinished-one-octet", "x"),
	)
}

// lineMessages have lines of the lengths at which buffers and limits end. Those over 998
// octets break RFC 5322 §2.1.1 and are common all the same.
func lineMessages() []Message {
	var all []Message
	for _, n := range []int{72, 76, 78, 79, 510, 512, 996, 997, 998, 999, 1000, 1001, 2046, 2048, 4094, 4096, 4097, 5000, 8191, 65536, 100000} {
		name := fmt.Sprintf("body-%d", n)
		all = append(all, text(name, "before\r\n"+strings.Repeat("0123456789", n/10+1)[:n]+"\r\nafter\r\n"))
	}
	for _, n := range []int{997, 998, 999} {
		dots := strings.Repeat(".", n)
		all = append(all, text(fmt.Sprintf("dots-%d", n), dots+"\r\n"+dots+"\r\n"))
	}
	for _, n := range []int{998, 999, 2000, 5000} {
		name := fmt.Sprintf("header-%d", n)
		field := "X-Long: " + strings.Repeat("abcdefghij", n/10+1)
		all = append(all, headed(name, field[:n]+"\r\n", "body\r\n"))
	}
	all = append(all,
		text("spaces-998", strings.Repeat(" ", 998)+"\r\n"),
		text("many-998", strings.Repeat(strings.Repeat("y", 998)+"\r\n", 200)),
		text("growing", growing(600)),
	)
	return inspected(all...)
}

// growing are lines of 0, 1, 2, … octets.
func growing(lines int) string {
	var b strings.Builder
	for n := range lines {
		b.WriteString(strings.Repeat("g", n) + "\r\n")
	}
	return b.String()
}
