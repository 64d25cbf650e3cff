package rtf

import (
	"strconv"
	"strings"
)

// textSink writes the text of a document: paragraphs as lines, the cells of a row with tabulators between them, the
// items of lists with their numbers, and the addresses of links behind what they are named.
type textSink struct {
	parser *parser
	output *output

	in     bool // a paragraph has begun
	cell   bool // a tabulator is due, if the row goes on
	link   *link
	linked strings.Builder // what the link is named
	counts map[place]int
}

func (s *textSink) text(text string, in *state) {
	text = printable(text)
	if in.char.hidden || text == "" {
		return
	}
	s.paragraph(in)
	s.follow(in.char.link)
	if s.link != nil && s.linked.Len() <= mostLink {
		s.linked.WriteString(text)
	}
	s.output.write(text)
}

// follow writes a link's address when its name has ended, unless it is the address.
func (s *textSink) follow(l *link) {
	if l == s.link {
		return
	}
	if s.link != nil {
		named := strings.TrimSpace(s.linked.String())
		if address := strings.TrimPrefix(s.link.url, "mailto:"); named != address && named != s.link.url && s.link.spent <= mostSpent {
			s.output.write(" <", address, ">")
			s.link.spent += len(address)
		}
	}
	s.link = l
	s.linked.Reset()
}

// paragraph begins one: with its number, if it is of a list.
func (s *textSink) paragraph(in *state) {
	if s.in {
		return
	}
	s.in = true
	if s.cell {
		s.output.write("\t")
		s.cell = false
	}
	if number := s.parser.listText; len(number) > 0 {
		s.output.write(string(number))
		s.parser.listText = number[:0]
		return
	}
	if l := s.parser.numbering(in.para); l.style != noList {
		s.output.write(s.number(in.para, l), "\t")
	}
}

// number is how an item is numbered of which the writer does not say it.
func (s *textSink) number(para paragraph, l level) string {
	if l.style == bullets {
		return "•"
	}
	if s.counts == nil {
		s.counts = make(map[place]int)
	}
	at := place{para.list, para.level}
	n, goesOn := s.counts[at]
	if !goesOn {
		n = l.start
	}
	if goesOn || len(s.counts) < mostCounts {
		s.counts[at] = n + 1
	}
	return strconv.Itoa(n) + "."
}

func (s *textSink) mark(m mark, in *state) {
	s.follow(in.char.link)
	switch m {
	case endParagraph:
		s.follow(nil)
		s.paragraph(in)
		s.in = false
		s.output.write("\r\n")
	case newLine:
		s.paragraph(in)
		s.output.write("\r\n")
	case tabulator:
		s.paragraph(in)
		s.output.write("\t")
	case endCell, endNestedCell:
		s.follow(nil)
		s.paragraph(in)
		s.in, s.cell = false, true
	case endRow, endNestedRow:
		s.in, s.cell = false, false
		s.output.write("\r\n")
	}
}

func (s *textSink) picture(Picture, *state) {}

func (s *textSink) attachment(a Attachment, in *state) {
	if a.Name != "" {
		s.paragraph(in)
		s.output.write("<<", a.Name, ">>")
	}
}

func (s *textSink) close() {
	s.follow(nil)
	if s.in {
		s.output.write("\r\n")
	}
}
