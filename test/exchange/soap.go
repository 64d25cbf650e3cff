package exchange

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Namespaces of Exchange Web Services, MS-OXWSCDATA §2.2.
const (
	soapNS     = "http://schemas.xmlsoap.org/soap/envelope/"
	typesNS    = "http://schemas.microsoft.com/exchange/services/2006/types"
	messagesNS = "http://schemas.microsoft.com/exchange/services/2006/messages"
	errorsNS   = "http://schemas.microsoft.com/exchange/services/2006/errors"
)

// node is an element: m:FindItem, with its attributes, children and text.
type node struct {
	name     string // with the prefix that stands for its namespace here: soap, t, m
	attrs    map[string]string
	children []*node
	text     string
}

var prefixes = map[string]string{soapNS: "soap:", typesNS: "t:", messagesNS: "m:"}

// parseXML reads a document.
func parseXML(octets []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(octets))
	root := &node{}
	open := []*node{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		at := open[len(open)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: prefixes[token.Name.Space] + token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					n.attrs[a.Name.Local] = a.Value
				}
			}
			at.children = append(at.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			at.text += string(token)
		case xml.Directive:
			return nil, fmt.Errorf("a document type")
		}
	}
	if len(root.children) != 1 {
		return nil, fmt.Errorf("%d roots", len(root.children))
	}
	return root.children[0], nil
}

// child returns the child of a name, and nil if there is none.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for _, c := range n.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// at follows names.
func (n *node) at(names ...string) *node {
	for _, name := range names {
		n = n.child(name)
	}
	return n
}

// names are those of the children.
func (n *node) names() (all []string) {
	for _, c := range n.children {
		all = append(all, c.name)
	}
	return all
}

// ordered says whether the children are some of these, each once, in this order: a sequence of XML Schema. Those that end with ! have to
// be there.
func (n *node) ordered(sequence ...string) bool {
	left := n.names()
	for _, one := range sequence {
		name, must := strings.CutSuffix(one, "!")
		if len(left) > 0 && left[0] == name {
			left = left[1:]
		} else if must {
			return false
		}
	}
	return len(left) == 0
}

// only says whether an element has no attributes but these.
func (n *node) only(attributes ...string) bool {
	for name := range n.attrs {
		if !slices.Contains(attributes, name) {
			return false
		}
	}
	return true
}

func esc(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
