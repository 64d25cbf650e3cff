package autodiscover

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Bounds of a document.
const (
	depthMost  = 32
	tokensMost = 50_000
	textMost   = 8 << 10 // of one element
)

var (
	errDepth = errors.New("the document is too deep or too long")
	errXML   = errors.New("the answer is no XML document")
)

// element is what an element has, when it ends.
type element struct {
	path []string // local names, from the root to the element's own
	text string
	typ  string // the attribute Type of the nearest element around that has one
}

// is says whether the path ends with these names.
func (e element) is(names ...string) bool {
	if len(e.path) < len(names) {
		return false
	}
	for i, name := range names {
		if e.path[len(e.path)-len(names)+i] != name {
			return false
		}
	}
	return true
}

// walk tells of each element of a document that has text or none, in the order of their ends.
func walk(document []byte, tell func(element)) error {
	in := xml.NewDecoder(bytes.NewReader(document))
	var path, types []string
	var texts [][]byte
	for tokens := 0; ; tokens++ {
		token, err := in.RawToken()
		switch {
		case err == io.EOF && len(path) == 0 && tokens > 0:
			return nil
		case err != nil:
			return errors.Join(errXML, err)
		case tokens > tokensMost || len(path) > depthMost:
			return errDepth
		}
		switch token := token.(type) {
		case xml.StartElement:
			path, types, texts = append(path, token.Name.Local), append(types, typeOf(token, types)), append(texts, nil)
		case xml.CharData:
			if n := len(texts); n > 0 && len(texts[n-1])+len(token) <= textMost {
				texts[n-1] = append(texts[n-1], token...)
			}
		case xml.EndElement:
			n := len(path) - 1
			if n < 0 || path[n] != token.Name.Local {
				return errXML
			}
			tell(element{path: path, text: strings.TrimSpace(string(texts[n])), typ: types[n]})
			path, types, texts = path[:n], types[:n], texts[:n]
		}
	}
}

// typeOf is the attribute Type of an element, or of the one around it.
func typeOf(start xml.StartElement, around []string) string {
	for _, a := range start.Attr {
		if a.Name.Local == "Type" {
			return a.Value
		}
	}
	if len(around) > 0 {
		return around[len(around)-1]
	}
	return ""
}

// escape makes text of XML.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
