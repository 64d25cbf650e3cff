package rtf

import "strconv"

// openList is a list that is open, or a level of one.
type openList struct {
	list  int // \ls
	style listStyle
	item  bool // an item is open
}

// place is a level of a list: where its numbers go on after other paragraphs.
type place struct{ list, level int }

// mostCounts is how many lists go on where they were left. Those beyond begin anew.
const mostCounts = 4096

// openItem opens an item of a list, with the lists around it that are not open yet.
func (s *htmlSink) openItem(para paragraph, l level) {
	s.leaveLists(para.level + 1)
	if last := len(s.lists) - 1; last == para.level && (s.lists[last].list != para.list || s.lists[last].style != l.style) {
		s.leaveLists(para.level)
	}
	for len(s.lists) < para.level {
		s.openList(para.list, bullets, 1)
		s.beginItem()
	}
	at := place{para.list, para.level}
	number, goesOn := s.counts[at]
	if !goesOn {
		number = l.start
	}
	if len(s.lists) == para.level {
		s.openList(para.list, l.style, number)
	}
	if s.lists[para.level].item {
		s.end()
	}
	s.beginItem()
	s.count(at, number+1)
}

// count keeps the next number of a level. The levels below begin anew; \*\pn has no list that could go on.
func (s *htmlSink) count(at place, next int) {
	if at.list == 0 {
		return
	}
	if _, known := s.counts[at]; known || len(s.counts) < mostCounts {
		s.counts[at] = next
	}
	for below := at.level + 1; below < mostLevels; below++ {
		delete(s.counts, place{at.list, below})
	}
}

func (s *htmlSink) beginItem() {
	s.open("</li>\r\n", "<li>")
	s.lists[len(s.lists)-1].item = true
}

// types of ordered lists: HTML's attribute type.
var types = map[listStyle]string{upperRoman: "I", lowerRoman: "i", upperLetters: "A", lowerLetters: "a"}

func (s *htmlSink) openList(list int, style listStyle, start int) {
	s.lists = append(s.lists, openList{list: list, style: style})
	if style == bullets {
		s.open("</ul>\r\n", "<ul>\r\n")
		return
	}
	attributes := ""
	if letter := types[style]; letter != "" {
		attributes = ` type="` + letter + `"`
	}
	if start != 1 {
		attributes += ` start="` + strconv.Itoa(start) + `"`
	}
	s.open("</ol>\r\n", "<ol", attributes, ">\r\n")
}

// leaveLists closes the lists deeper than depth.
func (s *htmlSink) leaveLists(depth int) {
	for len(s.lists) > depth {
		last := s.lists[len(s.lists)-1]
		s.lists = s.lists[:len(s.lists)-1]
		if last.item {
			s.end()
		}
		s.end()
	}
}

// enterTables opens or closes tables, rows and cells so that a paragraph can stand in so many tables.
func (s *htmlSink) enterTables(depth int) {
	s.leaveTables(depth)
	for len(s.tables) < depth {
		s.cell()
		s.leaveLists(0)
		s.tables = append(s.tables, table{})
		s.open("</table>\r\n", "<table border=\"1\" style=\"border-collapse:collapse\">\r\n")
	}
	s.cell()
}

// cell opens a cell of the innermost table, unless one is open.
func (s *htmlSink) cell() {
	if len(s.tables) == 0 {
		return
	}
	t := &s.tables[len(s.tables)-1]
	if !t.row {
		s.open("</tr>\r\n", "<tr>")
	}
	if !t.cell {
		s.open("</td>", "<td>")
	}
	t.row, t.cell = true, true
}

// leaveTables closes tables that are deeper than depth.
func (s *htmlSink) leaveTables(depth int) {
	for len(s.tables) > depth {
		s.leaveRow()
		s.end()
		s.tables = s.tables[:len(s.tables)-1]
	}
}

func (s *htmlSink) leaveCell() {
	s.endParagraph()
	s.leaveLists(0)
	if t := &s.tables[len(s.tables)-1]; t.cell {
		s.end()
		t.cell = false
	}
}

func (s *htmlSink) leaveRow() {
	s.leaveCell()
	if t := &s.tables[len(s.tables)-1]; t.row {
		s.end()
		t.row = false
	}
}

// depthOf is the table that a mark is of: \cell and \row are of the outermost one.
func (s *htmlSink) depthOf(m mark, in *state) int {
	if m == endCell || m == endRow {
		return 1
	}
	return max(in.para.tables(), 2)
}

func (s *htmlSink) endCell(depth int) {
	s.begin()
	s.endParagraph()
	s.enterTables(depth)
	if len(s.tables) == depth {
		s.leaveCell()
	}
}

func (s *htmlSink) endRow(depth int) {
	s.begin()
	s.endParagraph()
	s.leaveTables(depth)
	if len(s.tables) == depth {
		s.leaveRow()
	}
}
