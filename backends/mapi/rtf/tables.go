package rtf

import "bytes"

// font is \fN: in the font table the entry that begins, in text the font.
func (p *parser) font(n int, _ bool) {
	if p.state.to != inFontTable {
		p.state.char.font = n
		return
	}
	p.endFont()
	p.fontNumber = n
}

// charset is \fcharsetN.
func (p *parser) charset(n int, _ bool) {
	page, ok := charsetPages[n]
	if !ok {
		page = unknownPage
	}
	p.newFont.page = page
}

// fontPage is \cpgN, which says it more exactly.
func (p *parser) fontPage(n int, _ bool) {
	if n > 0 {
		p.newFont.page = n
	}
}

// fontName takes text of the font table: a name ends with a semicolon.
func (p *parser) fontName(text []byte) {
	for _, c := range text {
		switch {
		case c == ';':
			p.endFont()
		case len(p.newFont.name) < mostName && named(c):
			p.newFont.name += string(c)
		}
	}
}

// named says whether a font's name may have c, so that it is safe within CSS.
func named(c byte) bool { return letter(c) || digit(c) || c == ' ' || c == '-' || c == '_' }

// endFont keeps the entry, if one has begun.
func (p *parser) endFont() {
	if p.fontNumber >= 0 && len(p.fonts) < mostFonts {
		p.newFont.name = string(bytes.TrimSpace([]byte(p.newFont.name)))
		p.fonts[p.fontNumber] = p.newFont
	}
	p.newFont, p.fontNumber = font{}, -1
}

// colorEnd takes text of the colour table: a semicolon ends an entry.
func (p *parser) colorEnd(text []byte) {
	for range bytes.Count(text, []byte(";")) {
		if len(p.colors) < mostColors {
			p.colors = append(p.colors, p.color)
		}
		p.color = color{}
	}
}

// colorOf is the colour of a number. The reader's own choice is none.
func (p *parser) colorOf(n int) (color, bool) {
	if n < 0 || n >= len(p.colors) {
		return color{}, false
	}
	return p.colors[n], p.colors[n].given
}

// lists are the list table and the one that overrides it. RTF 1.9.1, "List Tables".
type lists struct {
	byID  map[int]list
	byUse map[int]list // by \ls
	new   list
	id    int // of the override that is being defined
}

func (l *lists) init() { l.byID, l.byUse = make(map[int]list), make(map[int]list) }

func (l *lists) begin(in destination) {
	if in == inListTable {
		l.new = nil
	}
}

func (l *lists) level(in destination) {
	if in == inListTable && len(l.new) < mostLevels {
		l.new = append(l.new, level{style: decimals, start: 1})
	}
}

func (l *lists) style(s listStyle) {
	if len(l.new) > 0 {
		l.new[len(l.new)-1].style = s
	}
}

func (l *lists) start(n int) {
	if len(l.new) > 0 {
		l.new[len(l.new)-1].start = n
	}
}

// listID is \listidN: it ends an entry of the list table, or begins one of the other.
func (p *parser) listID(n int, _ bool) {
	switch p.state.to {
	case inListTable:
		if len(p.lists.byID) < mostLists {
			p.lists.byID[n] = p.lists.new
		}
		p.lists.new = nil
	case inOverrides:
		p.lists.id = n
	}
}

// use is \lsN: in the override table its name, in text the list of the paragraph.
func (p *parser) use(n int, _ bool) {
	switch {
	case p.state.to != inOverrides:
		p.state.para.list = max(n, 0)
	case len(p.lists.byUse) < mostLists:
		p.lists.byUse[n] = p.lists.byID[p.lists.id]
	}
}

// oldStyle is how \*\pn numbers a paragraph.
func oldStyle(s listStyle) action {
	return func(p *parser, _ int, _ bool) { p.old.style = s }
}

// numbering is how a paragraph is numbered, and noList if it is not.
func (p *parser) numbering(para paragraph) level {
	if para.list == 0 {
		return level{style: para.old.style, start: para.old.start}
	}
	if l := p.lists.byUse[para.list]; para.level < len(l) {
		return l[para.level]
	}
	return level{style: bullets, start: 1}
}
