package rtf

// destination is what the text of a group is for. RTF 1.9.1, "Destinations".
type destination uint8

const (
	inBody        destination = iota
	inProperties              // control words count, and text does not
	inFontTable               // \fonttbl
	inColorTable              // \colortbl
	inListTable               // \*\listtable
	inOverrides               // \*\listoverridetable
	inOldList                 // \*\pn: how Word 95 and WordPad number a paragraph
	inListText                // \listtext, \pntext: the number as it is shown
	inInstruction             // \*\fldinst
	inPicture                 // \pict
	inHTMLTag                 // \*\htmltag
	inChoice                  // \upr: a text, and the same in Unicode
)

// Bounds of what a document may have the parser keep. What is beyond them is shown without what they are for.
const (
	mostGroups      = 20_000 // that are open: text in deeper ones has the format of the last of them
	mostFonts       = 4096
	mostColors      = 4096
	mostLists       = 1024
	mostLevels      = 9 // of a list: Word has no more
	mostInstruction = 4096
	mostListText    = 64
	mostName        = 64 // of a font
)

// state is what a group takes over from the one around it, and loses at its end. RTF 1.9.1, "Groups".
type state struct {
	to    destination
	uc    int  // how many characters stand in for one in Unicode, \uc
	quiet bool // \htmlrtf: not of the document that is encapsulated
	note  bool // in a footnote
	char  char
	para  paragraph
}

// char is how characters look. Two texts with the same are one run.
type char struct {
	bold, italic, underline, strike, hidden, capitals, smallCaps bool

	script     int8 // above the line, or below
	font       int  // its number, or -1 for the document's
	size       int  // in half points
	color      int  // in the colour table, of which 0 is the reader's choice
	background int
	link       *link
}

// defaultSize is 12 points. RTF 1.9.1, "Font (Character) Formatting Properties", \fs.
const defaultSize = 24

var plain = char{font: -1, size: defaultSize}

// paragraph is what \pard resets.
type paragraph struct {
	align   string // as CSS says it
	left    int    // the indentation, in twips
	rtl     bool
	inTable bool
	depth   int // of tables in tables, \itap; 0 says that \intbl alone counts
	list    int // of the list override table, \ls; 0 for none
	level   int
	old     oldList
}

// oldList is a paragraph's numbering by \*\pn. RTF 1.9.1, "Bullets and Numbering".
type oldList struct {
	style listStyle
	start int
}

// tables says how deep in tables the paragraph is.
func (p paragraph) tables() int {
	if !p.inTable {
		return 0
	}
	return min(max(p.depth, 1), mostTables)
}

// mostTables is how deep tables in tables are told apart.
const mostTables = 8

// font is an entry of the font table. RTF 1.9.1, "Font Table".
type font struct {
	name string
	page int // 0: the document's
}

// color is an entry of the colour table. RTF 1.9.1, "Color Table".
type color struct {
	red, green, blue uint8
	given            bool // otherwise the reader chooses
}

// listStyle is how a level is numbered: the values of \levelnfc that are told apart.
type listStyle uint8

const (
	noList listStyle = iota
	decimals
	upperRoman
	lowerRoman
	upperLetters
	lowerLetters
	bullets
)

// styleOf is the style for \levelnfcN. RTF 1.9.1, "List Levels".
func styleOf(n int) listStyle {
	switch n {
	case 1:
		return upperRoman
	case 2:
		return lowerRoman
	case 3:
		return upperLetters
	case 4:
		return lowerLetters
	case 23, 255:
		return bullets
	}
	return decimals
}

// level is a level of a list.
type level struct {
	style listStyle
	start int
}

// list is an entry of the list table.
type list []level

// link is what a HYPERLINK field points to. It is compared by its address.
type link struct {
	url   string
	spent int // octets of HTML for it: it is opened anew in each paragraph
}
