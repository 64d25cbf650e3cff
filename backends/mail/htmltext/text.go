package htmltext

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of what is nested: deeper elements are written as those are.
const (
	quotesMost = 10
	listsMost  = 10
)

// Text writes HTML as plain text with CRLF as line ends. The errors are those of reading and writing.
func Text(w io.Writer, r io.Reader) error {
	t := &texter{in: &scanner{bufio.NewReader(r)}, out: bufio.NewWriter(w)}
	return t.run()
}

// run reads to the end.
func (t *texter) run() error {
	for {
		text, found, err := t.in.next()
		if errors.Is(err, io.EOF) {
			t.endLink()
			if t.column > 0 {
				t.lineEnd()
			}
			if t.enriched != nil {
				t.closed()
			}
			return t.out.Flush()
		}
		if err == nil && found != nil {
			err = t.tag(found)
		}
		if err != nil {
			return err
		}
		if text != "" && !t.hidden {
			t.write(text)
		}
	}
}

// texter writes plain text.
type texter struct {
	in     *scanner
	out    *bufio.Writer
	hidden bool // in the head
	pre    int
	quotes int
	lists  []list
	column int  // of the line: 0 where it has not begun
	blank  bool // one is to be written before the next character
	wanted int  // line ends are to be written before the next character
	made   int  // line ends were written
	begun  bool // something was written
	row    bool // something of this row of a table was written
	start  bool // of a cell: what is a block there begins no line
	tab    bool // one is to be written before the next character
	quoted int  // the quotes of the line before
	bullet string
	href   string
	shown  []byte // what a link shows, as far as it may be its address

	enriched *commands // nil for plain text
}

// list is a list of HTML that is open.
type list struct {
	ordered bool
	items   int
}

// write writes text. White space is one blank, but in pre.
func (t *texter) write(text string) {
	for _, r := range text {
		switch {
		case r == '\n' && t.pre > 0:
			t.lineEnd()
		case r == '\r', r == 0:
		case r == '\u200b', r == '\u00ad', r == '\ufeff': // where a line may break: nothing to read
		case t.pre == 0 && (r == ' ' || r == '\t' || r == '\n' || r == '\f'):
			t.blank = true
		default:
			if r == '\u00a0' {
				r = ' '
			}
			t.rune(r)
		}
	}
}

// rune writes a character, and what is due before it.
func (t *texter) rune(r rune) {
	if t.begun && t.wanted > t.made {
		for t.made < t.wanted {
			t.lineEnd()
		}
	}
	t.wanted = 0
	switch {
	case t.column == 0:
		t.startLine()
	case t.tab:
		t.put(" \t")
	case t.blank:
		t.put(" ")
	}
	if t.enriched != nil {
		t.opened()
	}
	t.blank, t.tab, t.start, t.begun, t.row, t.made = false, false, false, true, true, 0
	t.put(string(r))
}

func (t *texter) startLine() {
	t.put(strings.Repeat("> ", t.quotes))
	t.quoted = t.quotes
	if n := len(t.lists); n > 0 {
		t.put(strings.Repeat("  ", n-1) + t.bullet)
		if t.bullet == "" {
			t.put("  ")
		}
	}
	t.bullet = ""
}

func (t *texter) put(text string) {
	written := text
	if t.enriched != nil {
		written = inEnriched(text)
	}
	_, _ = t.out.WriteString(written) // Flush tells
	t.column += len(text)
	if t.href != "" && len(t.shown) < linkMost {
		t.shown = append(t.shown, text...)
	}
}

func (t *texter) lineEnd() {
	if t.column == 0 && t.begun {
		_, _ = t.out.WriteString(strings.TrimSpace(strings.Repeat("> ", min(t.quotes, t.quoted)))) // Flush tells
	}
	if t.enriched != nil && t.made == 0 && !t.enriched.isNoFill() {
		_, _ = t.out.WriteString("\r\n") // one alone is a blank, RFC 1896 §2
	}
	_, _ = t.out.WriteString("\r\n")
	t.column, t.blank, t.tab = 0, false, false
	t.made++
}

// lines has so many line ends written before what follows, if there is something before it.
func (t *texter) lines(n int) {
	t.blank = false
	if !t.begun || t.start {
		return
	}
	t.wanted = max(t.wanted, n)
}

// paragraphs are elements with an empty line around them, and blocks those that begin a line. HTML §15.3.
var (
	paragraphs = words("p h1 h2 h3 h4 h5 h6 dl pre blockquote figure")
	blocks     = words("div tbody thead tfoot caption li dt dd section article header footer main nav aside address center form fieldset body html hr option")
	raws       = words("script style title xml textarea noembed noframes iframe")
)

func words(text string) map[string]bool {
	set := map[string]bool{}
	for word := range strings.FieldsSeq(text) {
		set[word] = true
	}
	return set
}

// tag does what a tag says.
func (t *texter) tag(found *tag) error {
	if raws[found.name] && !found.closing && !strings.HasSuffix(found.text, "/") {
		return t.in.raw(found.name)
	}
	switch found.name {
	case "head":
		t.hidden = !found.closing
		return nil
	case "body":
		t.hidden = false
	}
	switch {
	case t.hidden:
		return nil
	case found.name == "tr", found.name == "table":
		t.row, t.start = false, false
		t.lines(1)
	case paragraphs[found.name]:
		t.lines(2)
	case blocks[found.name]:
		t.lines(1)
	}
	t.element(found)
	return nil
}

func (t *texter) element(found *tag) {
	step := 1
	if found.closing {
		step = -1
	}
	if t.enriched != nil {
		t.command(found)
	}
	switch found.name {
	case "br":
		t.breakLine()
	case "hr":
		t.write("----------")
		t.lines(1)
	case "pre":
		t.pre = max(0, t.pre+step)
	case "blockquote":
		if t.enriched != nil {
			break
		}
		t.quotes = max(0, min(quotesMost, t.quotes+step))
	case "ul", "ol":
		t.list(found)
	case "li":
		if !found.closing {
			t.item()
		}
	case "td", "th":
		if !found.closing {
			t.tableCell()
		}
	case "a":
		t.link(found)
	case "img":
		if alt := strings.TrimSpace(found.attribute("alt")); alt != "" {
			t.write("[" + alt + "]")
		}
	}
}

// breakLine ends a line. A second one makes an empty line.
func (t *texter) breakLine() {
	if !t.begun {
		return
	}
	t.blank = false
	t.wanted = max(t.wanted, t.made) + 1
	t.wanted = min(t.wanted, emptyMost)
}

// emptyMost is how many line ends there are in a row.
const emptyMost = 20

func (t *texter) list(found *tag) {
	depth := len(t.lists)
	if found.closing {
		depth--
	}
	if depth <= 0 {
		t.lines(2)
	} else {
		t.lines(1)
	}
	switch {
	case !found.closing && len(t.lists) < listsMost:
		t.lists = append(t.lists, list{ordered: found.name == "ol"})
	case found.closing && len(t.lists) > 0:
		t.lists = t.lists[:len(t.lists)-1]
	}
}

func (t *texter) item() {
	t.bullet = "* "
	if n := len(t.lists); n > 0 && t.lists[n-1].ordered {
		t.lists[n-1].items++
		t.bullet = fmt.Sprintf("%d. ", t.lists[n-1].items)
	}
}

// tableCell sets the cells of a row apart.
func (t *texter) tableCell() {
	t.start = true
	if t.row && t.column > 0 {
		t.wanted, t.tab = 0, true
	}
}

// linkMost is how long an address is that is shown.
const linkMost = 2 << 10

// link begins or ends a link.
func (t *texter) link(found *tag) {
	t.endLink()
	if found.closing {
		return
	}
	href := strings.TrimSpace(found.attribute("href"))
	scheme, _, _ := strings.Cut(strings.ToLower(href), ":")
	switch scheme {
	case "http", "https", "ftp", "mailto", "tel":
		if len(href) <= linkMost && !strings.ContainsAny(href, " <>\r\n\t\x00") {
			t.href = href
		}
	}
}

// endLink writes where a link leads, if what it shows does not say it.
func (t *texter) endLink() {
	href, shown := t.href, strings.TrimSpace(string(t.shown))
	t.href, t.shown = "", t.shown[:0]
	_, bare, _ := strings.Cut(href, ":")
	bare = strings.TrimSuffix(strings.TrimPrefix(bare, "//"), "/")
	if href == "" || shown == "" || strings.TrimSuffix(shown, "/") == strings.TrimSuffix(href, "/") || strings.TrimSuffix(shown, "/") == bare {
		return
	}
	t.write(" <" + href + ">")
}
