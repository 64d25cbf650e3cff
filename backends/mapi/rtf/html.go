package rtf

import (
	"fmt"
	"strconv"
	"strings"
)

// htmlSink writes what a document looks like as HTML that is well-formed XML too. Nothing of the document becomes
// markup: text is escaped, addresses have one of four schemes, names of fonts have letters and digits.
type htmlSink struct {
	parser *parser
	output *output

	opened []string // how the elements end that are open, the innermost at last

	begun  bool
	in     bool // a paragraph, or an item of a list, is open
	item   bool // it is an item
	empty  bool // nothing is in it
	blank  bool // a blank here would be lost
	run    char // how the open elements make characters look
	depth  int  // how many elements of the run are open
	link   *link
	tables []table
	lists  []openList
	counts map[place]int // where lists go on
}

// open begins an element.
func (s *htmlSink) open(end string, texts ...string) {
	if s.output.write(texts...) {
		s.opened = append(s.opened, end)
	}
}

// end ends the innermost element.
func (s *htmlSink) end() {
	if last := len(s.opened) - 1; last >= 0 && s.output.write(s.opened[last]) {
		s.opened = s.opened[:last]
	}
}

// table is one that is open.
type table struct{ row, cell bool }

func (s *htmlSink) text(text string, in *state) {
	if in.char.hidden {
		return
	}
	s.paragraph(in)
	for n, part := range strings.Split(text, "\t") {
		if n > 0 {
			s.mark(tabulator, in)
		}
		if part = s.escape(part); part != "" {
			s.show(in, part)
		}
	}
}

// show writes what is in the run.
func (s *htmlSink) show(in *state, texts ...string) {
	s.look(in.char)
	s.output.write(texts...)
	s.empty = false
}

var escapes = map[rune]string{'&': "&amp;", '<': "&lt;", '>': "&gt;", '"': "&quot;"}

// escape writes blanks that follow a blank so that they stay, and leaves out what XML cannot have.
func (s *htmlSink) escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch escaped := escapes[r]; {
		case r == ' ' && s.blank:
			b.WriteString("&#160;")
			continue
		case escaped != "":
			b.WriteString(escaped)
		case inXML(r):
			b.WriteRune(r)
		default:
			continue
		}
		s.blank = r == ' '
	}
	return b.String()
}

// inXML says whether XML 1.0 has the character, tabulators aside; §2.2 there.
func inXML(r rune) bool { return r >= 0x20 && r != 0x7f && r != 0xfffe && r != 0xffff }

// attribute escapes text for an attribute's value in quotes.
func attribute(text string) string {
	return printable(attributeEscapes.Replace(text))
}

// printable is a text without what no mail and no XML has.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || inXML(r) {
			return r
		}
		return -1
	}, text)
}

var attributeEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

func (s *htmlSink) mark(m mark, in *state) {
	switch m {
	case endParagraph:
		s.paragraph(in)
		s.endParagraph()
	case newLine:
		s.paragraph(in)
		s.show(in, "<br />\r\n")
		s.blank = true
	case tabulator:
		s.paragraph(in)
		s.show(in, "<span style=\"white-space:pre\">\t</span>")
		s.blank = false
	case endCell, endNestedCell:
		s.endCell(s.depthOf(m, in))
	case endRow, endNestedRow:
		s.endRow(s.depthOf(m, in))
	}
}

func (s *htmlSink) picture(p Picture, in *state) {
	if !p.shown() || in.char.hidden {
		return
	}
	size := ""
	if p.Width > 0 && p.Height > 0 {
		size = fmt.Sprintf(` width="%d" height="%d"`, p.Width, p.Height)
	}
	s.paragraph(in)
	s.show(in, `<img src="cid:`, attribute(p.ContentID), `" alt=""`, size, ` />`)
	s.blank = false
}

func (s *htmlSink) attachment(a Attachment, in *state) {
	if text := placeholder(a); text != "" {
		s.paragraph(in)
		s.show(in, text)
		s.blank = false
	}
}

// close ends the document. The bound on what is written leaves room for what is open.
func (s *htmlSink) close() {
	s.begin()
	s.endParagraph()
	s.leaveTables(0)
	s.leaveLists(0)
	for n := len(s.opened) - 1; n >= 0; n-- {
		if _, err := s.output.w.WriteString(s.opened[n]); err != nil {
			s.output.fail(err)
		}
	}
}

// begin writes what stands before the first paragraph. By then the font table is known.
func (s *htmlSink) begin() {
	if s.begun {
		return
	}
	s.begun = true
	s.counts = make(map[place]int)
	body := "<body>\r\n"
	if name := s.parser.fonts[s.parser.defaultFont].name; name != "" {
		body = `<body style="font-family:'` + name + "'\">\r\n"
	}
	s.open("</body></html>\r\n", "<!DOCTYPE html>\r\n<html><head><meta charset=\"utf-8\" /><title></title></head>", body)
}

// paragraph opens one, where the document has it: in tables, in a list.
func (s *htmlSink) paragraph(in *state) {
	if s.in {
		return
	}
	s.begin()
	s.enterTables(in.para.tables())
	s.in, s.empty, s.blank = true, true, true
	if l := s.parser.numbering(in.para); l.style != noList {
		s.item = true
		s.openItem(in.para, l)
		return
	}
	s.leaveLists(0)
	s.open("</p>\r\n", "<p", paragraphStyle(in.para), ">")
	if number := s.parser.listText; len(number) > 0 { // a number without a list
		s.show(in, s.escape(strings.ReplaceAll(string(number), "\t", " ")))
	}
}

// paragraphStyle is what \pard and what follows it say, as attributes.
func paragraphStyle(p paragraph) string {
	style := ` style="margin:0`
	if p.left > 0 {
		style += fmt.Sprintf(" 0 0 %gpt", float64(p.left)/20)
	}
	if p.align != "" {
		style += ";text-align:" + p.align
	}
	style += `"`
	if p.rtl {
		style += ` dir="rtl"`
	}
	return style
}

// endParagraph closes the paragraph. Of a list's item the element stays open, as a list within it may follow.
func (s *htmlSink) endParagraph() {
	if !s.in {
		return
	}
	if s.empty {
		s.output.write("&#160;") // without text, a paragraph has no height
	}
	s.look(plain)
	if !s.item {
		s.end()
	}
	s.in, s.item = false, false
	s.parser.listText = s.parser.listText[:0]
}

// look opens the elements for how characters look, and closes those of the run before.
func (s *htmlSink) look(c char) {
	if s.depth == 0 && s.link == nil && c == plain || s.run == c && !s.empty {
		return
	}
	for ; s.depth > 0; s.depth-- {
		s.end()
	}
	if c.link != s.link {
		s.endLink()
		s.openLink(c.link)
	}
	s.run = c
	if style := s.style(c); style != "" {
		s.inRun("span", ` style="`+style+`"`)
	}
	for _, element := range [...]struct {
		is   bool
		name string
	}{{c.bold, "b"}, {c.italic, "i"}, {c.underline, "u"}, {c.strike, "s"}, {c.script > 0, "sup"}, {c.script < 0, "sub"}} {
		if element.is {
			s.inRun(element.name, "")
		}
	}
}

func (s *htmlSink) inRun(name, attributes string) {
	s.open("</"+name+">", "<", name, attributes, ">")
	s.depth++
}

// style is what of a run's look HTML has no element for.
func (s *htmlSink) style(c char) string {
	var styles []string
	if name := s.parser.fonts[c.font].name; c.font >= 0 && c.font != s.parser.defaultFont && name != "" {
		styles = append(styles, "font-family:'"+name+"'")
	}
	if c.size != defaultSize {
		styles = append(styles, "font-size:"+points(c.size)+"pt")
	}
	if front, given := s.parser.colorOf(c.color); given {
		styles = append(styles, "color:"+front.css())
	}
	if back, given := s.parser.colorOf(c.background); given && c.background > 0 {
		styles = append(styles, "background-color:"+back.css())
	}
	if c.capitals {
		styles = append(styles, "text-transform:uppercase")
	}
	if c.smallCaps {
		styles = append(styles, "font-variant:small-caps")
	}
	return strings.Join(styles, ";")
}

// points are half points as CSS has them.
func points(half int) string { return strconv.FormatFloat(float64(half)/2, 'f', -1, 64) }

func (c color) css() string { return fmt.Sprintf("#%02x%02x%02x", c.red, c.green, c.blue) }

func (s *htmlSink) openLink(l *link) {
	if l == nil || l.spent > mostSpent {
		return
	}
	url := attribute(l.url)
	l.spent += len(url)
	s.link = l
	s.open("</a>", `<a href="`, url, `">`)
}

func (s *htmlSink) endLink() {
	if s.link != nil {
		s.link = nil
		s.end()
	}
}
