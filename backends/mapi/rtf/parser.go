package rtf

import (
	"bufio"
	"errors"
	"io"
)

// mark is what stands between texts.
type mark uint8

const (
	noMark mark = iota
	endParagraph
	newLine
	tabulator
	endCell
	endRow
	endNestedCell
	endNestedRow
)

// sink makes something of a document.
type sink interface {
	text(s string, in *state)
	mark(m mark, in *state)
	picture(p Picture, in *state)
	attachment(a Attachment, in *state)
	close()
}

// parser reads RTF from its beginning to its end once, and tells a sink. What it keeps is bounded, however long the
// document is. There is no recursion: groups are on a stack.
type parser struct {
	in      lexer
	options Options
	sink    sink
	out     *output
	// encapsulated says that the sink wants what was encapsulated, and not what the RTF looks like.
	encapsulated bool

	state    state
	groups   []state
	deeper   int  // groups that are open beyond mostGroups
	skipping int  // groups that are open in one that is skipped, itself included
	starred  bool // \* was the last token
	standIns int  // characters that are still to be skipped behind \u

	page        int // of the document
	defaultFont int
	fonts       map[int]font
	fontNumber  int // the one that is being defined
	newFont     font
	colors      []color
	color       color
	lists       lists
	old         oldList
	listText    []byte

	instruction []byte
	pict        *pict
	hasPicture  bool // the next \nonshppict is the same picture once more
	placeholder bool // \objattph was the last token

	decoder
	report Report
}

func newParser(r *bufio.Reader, o Options) *parser {
	p := &parser{in: lexer{r: r}, options: o, page: 1252, fonts: make(map[int]font)}
	p.state = state{uc: 1, char: plain}
	p.lists.init()
	return p
}

// run reads the document to its end, which is that of the outermost group.
func (p *parser) run() error {
	err := p.groupsToEnd()
	p.flush()
	for len(p.groups) > 0 { // of a document that is cut off
		p.close()
	}
	p.sink.close()
	if p.out.err != nil {
		return p.out.err
	}
	return err
}

func (p *parser) groupsToEnd() error {
	for p.out.err == nil {
		t, err := p.in.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if t.kind == tokenEnd {
			return ErrTruncated
		}
		if err := p.token(t); err != nil {
			return err
		}
		if len(p.groups) == 0 {
			return nil
		}
	}
	return nil
}

func (p *parser) token(t token) error {
	if p.skipping > 0 {
		return p.skip(t)
	}
	starred := p.starred
	p.starred = false
	switch t.kind {
	case tokenText, tokenHex:
		p.octets(t.text)
		return nil
	case tokenBinary:
		return p.data(t.number)
	}
	p.flush()
	p.placeholder = false
	switch t.kind {
	case tokenOpen:
		p.open()
	case tokenClose:
		p.close()
	case tokenSymbol:
		p.symbol(t.symbol)
	case tokenWord:
		p.word(t, starred)
	}
	return nil
}

// skip goes on in a group that says nothing here. Its binary data could have braces.
func (p *parser) skip(t token) error {
	switch t.kind {
	case tokenOpen:
		p.skipping++
	case tokenClose:
		p.skipping--
		if p.skipping == 0 {
			p.close()
		}
	case tokenBinary:
		return p.cutOff(p.in.binary(io.Discard, t.number))
	}
	return nil
}

// cutOff is the error for binary data that is not all there.
func (p *parser) cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return ErrTruncated
	}
	return err
}

func (p *parser) open() {
	p.standIns = 0
	if len(p.groups) == mostGroups {
		p.deeper++
		return
	}
	p.groups = append(p.groups, p.state)
}

func (p *parser) close() {
	p.standIns = 0
	if p.deeper > 0 {
		p.deeper--
		return
	}
	if len(p.groups) == 0 {
		return
	}
	ended := p.state
	last := len(p.groups) - 1
	p.state = p.groups[last]
	p.groups = p.groups[:last]
	if ended.note && !p.state.note {
		p.emit("]")
	}
	if ended.to != p.state.to {
		p.leave(ended.to)
	}
	if p.pict != nil && len(p.groups) < p.pict.group {
		p.endPicture()
	}
}

// leave is told of the end of a group with a text of its own.
func (p *parser) leave(from destination) {
	switch from {
	case inFontTable:
		p.endFont()
	case inInstruction:
		p.hyperlink()
	case inOldList:
		p.state.para.old = p.old
	}
}

// symbol is a control symbol. RTF 1.9.1, "Special Characters".
func (p *parser) symbol(c byte) {
	if c == '*' {
		p.starred = true
		return
	}
	text, known := characters[string(c)]
	if c == '_' && p.encapsulated { // MS-OXRTFEX §2.1.3.1.4.2: HTML has no other hyphen
		text = characters["-"]
	}
	if known {
		p.character(text)
	}
}

// word is a control word. One that is not known says nothing, and behind \* its group is skipped.
func (p *parser) word(t token, starred bool) {
	m, known := meanings[string(t.word)]
	if m.text != "" {
		p.character(m.text)
		return
	}
	// QUIRK: what stands in for a character may be a control word (RTF 1.9.1, "Unicode RTF"). Writers that promise
	// one and give none are more common, and a paragraph's end would be lost.
	p.standIns = 0
	switch {
	case m.skip || starred && !known:
		p.skipping = 1
	case m.mark != noMark:
		p.mark(m.mark)
	case m.enters:
		p.enter(m.to)
	case known:
		m.do(p, t.number, t.given)
	}
}

// enter begins a destination: the rest of the group is for something else.
func (p *parser) enter(to destination) {
	switch to {
	case inHTMLTag:
		if !p.encapsulated {
			p.skipping = 1
			return
		}
	case inListText:
		if p.encapsulated {
			p.skipping = 1
			return
		}
		p.listText = p.listText[:0]
	case inPicture:
		if p.hidden() || p.pict != nil {
			p.skipping = 1
			return
		}
		p.pict = &pict{group: len(p.groups)}
	case inOldList:
		p.old = oldList{start: 1}
	case inFontTable:
		p.newFont, p.fontNumber = font{}, -1
	case inInstruction:
		if p.state.to == inInstruction { // of a field within the instruction, whose result is part of it
			p.skipping = 1
			return
		}
		p.instruction = p.instruction[:0]
	case inBody:
		if p.state.to == inInstruction {
			return
		}
	}
	p.state.to = to
}

// hidden says that nothing of the group is shown: MS-OXRTFEX §2.1.3.1.3.
func (p *parser) hidden() bool { return p.encapsulated && p.state.quiet }

func (p *parser) mark(m mark) {
	if p.hidden() || !p.encapsulated && p.state.char.hidden && m <= tabulator {
		return
	}
	switch p.state.to {
	case inBody, inHTMLTag:
		if p.state.note && m == endParagraph {
			m = newLine
		}
		p.sink.mark(m, &p.state)
	case inProperties: // those of a nested table's row stand at its end
		if m == endNestedRow {
			p.sink.mark(m, &p.state)
		}
	case inListText:
		p.addListText("\t")
	}
}

// character is a control word or symbol that stands for one.
func (p *parser) character(text string) {
	if p.standIns > 0 {
		p.standIns--
		return
	}
	p.emit(text)
}

// emit takes decoded text to where the group wants it.
func (p *parser) emit(text string) {
	if text == "" || p.hidden() {
		return
	}
	switch p.state.to {
	case inBody, inHTMLTag:
		p.sink.text(text, &p.state)
	case inListText:
		p.addListText(text)
	case inInstruction:
		if len(p.instruction)+len(text) <= mostInstruction {
			p.instruction = append(p.instruction, text...)
		}
	}
}

func (p *parser) addListText(text string) {
	if len(p.listText)+len(text) <= mostListText {
		p.listText = append(p.listText, text...)
	}
}

// footnote is shown where it is referred to, in brackets.
func (p *parser) footnote(int, bool) {
	if p.encapsulated || p.state.note {
		return
	}
	p.emit(" [")
	p.state.note = true
}

// chosen is \*\ud, the text of \upr in Unicode: it goes where that of \upr would have. The other text goes nowhere.
func (p *parser) chosen(int, bool) {
	if around := len(p.groups) - 2; around >= 0 && p.state.to == inChoice {
		p.state.to = p.groups[around].to
	}
}
