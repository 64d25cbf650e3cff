package config

import (
	"reflect"
	"strings"

	"golang.org/x/text/encoding/ianaindex"
	"gopkg.in/yaml.v3"
)

// Charset is the name of a charset in the IANA registry (RFC 2978), in any case, or an alias there.
type Charset string

// decodeNode reads a name, and refuses one that the registry does not have.
func (c *Charset) decodeNode(d *decoder, path string, n *yaml.Node) {
	var name string
	d.scalar(path, n, reflect.ValueOf(&name).Elem(), "")
	if d.failed[path] {
		return
	}
	if _, err := ianaindex.MIME.Encoding(name); err != nil {
		d.fail(path, n, "write it as utf-8, iso-8859-1 or windows-1252", "%q is no name of a charset in the IANA registry", clip(name))
		return
	}
	*c = Charset(name)
}

// Name is MIME for one that may not be set, and "" then.
func (c *Charset) Name() string {
	if c == nil {
		return ""
	}
	return c.MIME()
}

// MIME is the name that a message has for the charset (RFC 2045 §5.1): the preferred one of its aliases,
// or this one in lower case where it is not known which are the same.
func (c Charset) MIME() string {
	encoding, err := ianaindex.MIME.Encoding(string(c))
	if err == nil && encoding != nil {
		if name, err := ianaindex.MIME.Name(encoding); err == nil {
			return name
		}
	}
	return strings.ToLower(string(c))
}
