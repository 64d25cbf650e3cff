package rtf

import "strings"

// tagSink gives back the HTML that a document was made from. MS-OXRTFEX §2.2.3.2.
type tagSink struct{ output *output }

// markup is what text may not become. MS-OXRTFEX §2.2.3.2 has names for other characters too, such as &rsquo;: here
// they are themselves, which is the same text.
var markup = strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;")

func (s *tagSink) text(text string, in *state) {
	if in.to != inHTMLTag {
		text = markup.Replace(text) // whatever is markup is in \*\htmltag
	}
	s.output.write(text)
}

func (s *tagSink) mark(m mark, _ *state) { plainMark(s.output, m) }

// plainMark writes what has a meaning in what is encapsulated.
func plainMark(o *output, m mark) {
	switch m {
	case endParagraph, newLine:
		o.write("\r\n")
	case tabulator:
		o.write("\t")
	}
}

func (s *tagSink) picture(Picture, *state) {}

func (s *tagSink) attachment(a Attachment, _ *state) { s.output.write(placeholder(a)) }

// placeholder is an attachment in HTML.
func placeholder(a Attachment) string {
	switch {
	case a.ContentID != "":
		return `<img src="cid:` + attribute(a.ContentID) + `" alt="` + attribute(a.Name) + `" />`
	case a.Name != "":
		return `&lt;&lt;` + attribute(a.Name) + `&gt;&gt;`
	}
	return ""
}

func (s *tagSink) close() {}

// plainSink gives back the text that a document was made from. MS-OXRTFEX §2.2.3.3.
type plainSink struct{ output *output }

func (s *plainSink) text(text string, _ *state) { s.output.write(text) }

func (s *plainSink) mark(m mark, _ *state) { plainMark(s.output, m) }

func (s *plainSink) picture(Picture, *state) {}

func (s *plainSink) attachment(a Attachment, _ *state) {
	if a.Name != "" {
		s.output.write("<<", a.Name, ">>")
	}
}

func (s *plainSink) close() {}
