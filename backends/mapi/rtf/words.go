package rtf

// destinations are those whose text is not the document's, with what it is for. Other destinations are skipped when
// they begin with \*, as their writers want it, and those here as well.
var destinations = map[string]destination{
	"fonttbl": inFontTable, "colortbl": inColorTable, "listtable": inListTable, "listoverridetable": inOverrides,
	"pn": inOldList, "listtext": inListText, "pntext": inListText, "fldinst": inInstruction, "pict": inPicture,
	"htmltag": inHTMLTag, "upr": inChoice, "nesttableprops": inProperties, "shpinst": inProperties, "do": inProperties,
	"shptxt": inBody, "dptxbxtext": inBody, "result": inBody, "fldrslt": inBody,
	"shp": inProperties, "object": inProperties,
}

// skipped are destinations without \* whose text is not shown.
var skipped = set(
	"info", "stylesheet", "header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf",
	"ftnsep", "ftnsepc", "ftncn", "aftnsep", "aftnsepc", "aftncn", "filetbl", "xe", "txe", "rxe", "tc", "tcn", "rtf_unused",
	"title", "subject", "author", "manager", "company", "operator", "category", "keywords", "comment", "doccomm",
	"hlinkbase", "creatim", "revtim", "printim", "buptim", "leveltext", "levelnumbers", "listname", "pntxta", "pntxtb",
	"objdata", "objclass", "objname", "nonesttables", "mhtmltag", "shprslt", "sp", "sn", "sv", "picprop", "blipuid",
	"fontemb", "falt", "panose", "template", "private", "bkmkstart", "bkmkend", "annotation", "atnid", "atnauthor",
)

func set(words ...string) map[string]bool {
	in := make(map[string]bool, len(words))
	for _, word := range words {
		in[word] = true
	}
	return in
}

// characters are control words and symbols that stand for one. RTF 1.9.1, "Special Characters".
var characters = map[string]string{
	"lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•", "endash": "–", "emdash": "—",
	"enspace": "\u2002", "emspace": "\u2003", "qmspace": "\u2005", "zwj": "\u200d", "zwnj": "\u200c",
	"ltrmark": "\u200e", "rtlmark": "\u200f", "zwbo": "\u200b", "zwnbo": "\u2060",
	"~": "\u00a0", "-": "\u00ad", "_": "\u2011", "{": "{", "}": "}", "\\": "\\",
}

// marks are control words that end something, or go on elsewhere.
var marks = map[string]mark{
	"par": endParagraph, "sect": endParagraph, "page": endParagraph, "column": endParagraph, "line": newLine, "lbr": newLine,
	"tab": tabulator, "cell": endCell, "row": endRow, "nestcell": endNestedCell, "nestrow": endNestedRow,
}

// meaning is one of the above, or of actions.
type meaning struct {
	text   string
	mark   mark
	to     destination
	enters bool
	skip   bool
	do     action
}

// meanings are all control words that say something.
var meanings = func() map[string]meaning {
	all := make(map[string]meaning)
	for word, text := range characters {
		all[word] = meaning{text: text}
	}
	for word, m := range marks {
		all[word] = meaning{mark: m}
	}
	for word, to := range destinations {
		all[word] = meaning{to: to, enters: true}
	}
	for word, do := range actions {
		all[word] = meaning{do: do}
	}
	for word := range skipped {
		all[word] = meaning{skip: true}
	}
	return all
}()

// action is what a control word does. An argument that is missing is 0.
type action func(p *parser, n int, given bool)

// toggle is a property that a control word turns on, and the same with 0 off.
func toggle(property func(s *state) *bool) action {
	return func(p *parser, n int, given bool) { *property(&p.state) = !given || n != 0 }
}

// number sets a property to the argument, in bounds.
func number(least, most int, property func(s *state) *int) action {
	return func(p *parser, n int, _ bool) { *property(&p.state) = min(max(n, least), most) }
}

func aligned(how string) action {
	return func(p *parser, _ int, _ bool) { p.state.para.align = how }
}

// script of 1 is above the line, -1 below.
func script(where int8) action {
	return func(p *parser, n int, given bool) {
		p.state.char.script = where
		if given && n == 0 {
			p.state.char.script = 0
		}
	}
}

func documentPage(page int) action {
	return func(p *parser, _ int, _ bool) { p.page = page }
}

// mostTwips is the largest indentation that is shown: 15 inches.
const mostTwips = 21_600

var (
	underline = toggle(func(s *state) *bool { return &s.char.underline })
	strike    = toggle(func(s *state) *bool { return &s.char.strike })
	// pattern is the background that Word uses where it has no name for the colour.
	pattern = number(0, mostColors, func(s *state) *int { return &s.char.background })
)

// actions are the control words for what is kept. Each other word says nothing.
var actions = map[string]action{
	// The document. RTF 1.9.1, "Character Set", "Default Fonts".
	"ansi": documentPage(1252), "mac": documentPage(10000), "pc": documentPage(437), "pca": documentPage(850),
	"ansicpg": func(p *parser, n int, _ bool) {
		if n > 0 {
			p.page = n
		}
	},
	"deff":    func(p *parser, n int, _ bool) { p.defaultFont = n },
	"uc":      number(0, 16, func(s *state) *int { return &s.uc }),
	"u":       func(p *parser, n int, _ bool) { p.unicode(n) },
	"htmlrtf": toggle(func(s *state) *bool { return &s.quiet }),

	// Characters. RTF 1.9.1, "Font (Character) Formatting Properties".
	"plain": func(p *parser, _ int, _ bool) {
		link := p.state.char.link
		p.state.char = plain
		p.state.char.link = link
	},
	"b":          toggle(func(s *state) *bool { return &s.char.bold }),
	"i":          toggle(func(s *state) *bool { return &s.char.italic }),
	"v":          toggle(func(s *state) *bool { return &s.char.hidden }),
	"caps":       toggle(func(s *state) *bool { return &s.char.capitals }),
	"scaps":      toggle(func(s *state) *bool { return &s.char.smallCaps }),
	"ul":         underline,
	"uld":        underline,
	"uldb":       underline,
	"uldash":     underline,
	"uldashd":    underline,
	"uldashdd":   underline,
	"ulth":       underline,
	"ulw":        underline,
	"ulwave":     underline,
	"ulnone":     func(p *parser, _ int, _ bool) { p.state.char.underline = false },
	"strike":     strike,
	"striked":    strike,
	"deleted":    strike,
	"super":      script(1),
	"sub":        script(-1),
	"nosupersub": script(0),
	"f":          (*parser).font,
	"fs":         number(1, 3276, func(s *state) *int { return &s.char.size }),
	"cf":         number(0, mostColors, func(s *state) *int { return &s.char.color }),
	"cb":         pattern,
	"chcbpat":    pattern,
	"highlight":  pattern,

	// Paragraphs. RTF 1.9.1, "Paragraph Formatting Properties".
	"pard":   func(p *parser, _ int, _ bool) { p.state.para = paragraph{} },
	"ql":     aligned(""),
	"qc":     aligned("center"),
	"qr":     aligned("right"),
	"qj":     aligned("justify"),
	"li":     number(0, mostTwips, func(s *state) *int { return &s.para.left }),
	"lin":    number(0, mostTwips, func(s *state) *int { return &s.para.left }),
	"rtlpar": func(p *parser, _ int, _ bool) { p.state.para.rtl = true },
	"ltrpar": func(p *parser, _ int, _ bool) { p.state.para.rtl = false },
	"intbl":  toggle(func(s *state) *bool { return &s.para.inTable }),
	"itap": func(p *parser, n int, _ bool) {
		p.state.para.depth = max(n, 0)
		p.state.para.inTable = n > 0
	},
	"ls":   (*parser).use,
	"ilvl": number(0, mostLevels-1, func(s *state) *int { return &s.para.level }),

	// Fonts and colours. RTF 1.9.1, "Font Table", "Color Table".
	"fcharset": (*parser).charset,
	"cpg":      (*parser).fontPage,
	"red":      func(p *parser, n int, _ bool) { p.color.red, p.color.given = uint8(n), true },
	"green":    func(p *parser, n int, _ bool) { p.color.green, p.color.given = uint8(n), true },
	"blue":     func(p *parser, n int, _ bool) { p.color.blue, p.color.given = uint8(n), true },

	// Lists. RTF 1.9.1, "List Tables", "Bullets and Numbering".
	"list":         func(p *parser, _ int, _ bool) { p.lists.begin(p.state.to) },
	"listlevel":    func(p *parser, _ int, _ bool) { p.lists.level(p.state.to) },
	"levelnfc":     func(p *parser, n int, _ bool) { p.lists.style(styleOf(n)) },
	"levelnfcn":    func(p *parser, n int, _ bool) { p.lists.style(styleOf(n)) },
	"levelstartat": func(p *parser, n int, _ bool) { p.lists.start(n) },
	"listid":       (*parser).listID,
	"listoverride": func(p *parser, _ int, _ bool) { p.lists.id = 0 },
	"pnlvlblt":     oldStyle(bullets),
	"pndec":        oldStyle(decimals),
	"pncard":       oldStyle(decimals),
	"pnord":        oldStyle(decimals),
	"pnucrm":       oldStyle(upperRoman),
	"pnlcrm":       oldStyle(lowerRoman),
	"pnucltr":      oldStyle(upperLetters),
	"pnlcltr":      oldStyle(lowerLetters),
	"pnstart":      func(p *parser, n int, _ bool) { p.old.start = n },

	// Pictures. RTF 1.9.1, "Pictures".
	"pngblip":    pictureType("image/png"),
	"jpegblip":   pictureType("image/jpeg"),
	"emfblip":    pictureType("image/emf"),
	"wmetafile":  pictureType("image/wmf"),
	"dibitmap":   pictureType("image/x-ms-dib"), // a bitmap without the header of a file
	"wbitmap":    pictureType("application/octet-stream"),
	"macpict":    pictureType("image/x-pict"),
	"pmmetafile": pictureType("application/octet-stream"),
	"picwgoal":   pictureSize(func(p *Picture) *int { return &p.Width }),
	"pichgoal":   pictureSize(func(p *Picture) *int { return &p.Height }),

	"footnote":   (*parser).footnote,
	"objattph":   (*parser).attachment,
	"shppict":    func(p *parser, _ int, _ bool) { p.hasPicture = true },
	"nonshppict": (*parser).secondPicture,
	"ud":         (*parser).chosen,
}
