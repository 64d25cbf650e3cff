package config

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// Settings is the mapping that a store's backend reads itself.
type Settings struct {
	// JSON is the mapping with every reference replaced by what it stands for. It holds
	// secrets.
	JSON []byte
	// written is the mapping as it stands in the file.
	written *yaml.Node
}

// decodeNode makes JSON of a mapping and notes where each of its keys stands.
func (s *Settings) decodeNode(d *decoder, path string, n *yaml.Node) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.misfit(path, n, "a mapping")
		return
	}
	var b bytes.Buffer
	d.json(&b, path, n)
	s.JSON, s.written = b.Bytes(), n
}

// json writes a node as JSON. Keys keep their order.
func (d *decoder) json(b *bytes.Buffer, path string, n *yaml.Node) {
	if _, ok := d.positions[path]; !ok {
		d.positions[path] = d.position(n)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(path, n, "write the value out", "anchors and aliases are not used here")
		b.WriteString("null")
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		first := true
		d.pairs(path, n, func(key, value *yaml.Node, inner string) {
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.Write(quoted(key.Value))
			b.WriteByte(':')
			d.json(b, inner, value)
		})
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			d.json(b, index(path, i), item)
		}
		b.WriteByte(']')
	default:
		b.Write(d.jsonScalar(path, n))
	}
}

func quoted(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string always has a JSON form
		return []byte(`""`)
	}
	return text
}

// jsonNumber is a number that YAML and JSON write alike.
var jsonNumber = lazyregexp.New(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func (d *decoder) jsonScalar(path string, n *yaml.Node) []byte {
	switch n.ShortTag() {
	case "!!null":
		return []byte("null")
	case "!!bool":
		var value bool
		if n.Decode(&value) == nil {
			return strconv.AppendBool(nil, value)
		}
	case "!!int", "!!float":
		return d.jsonNumber(path, n)
	case "!!binary":
		d.fail(path, n, "use a reference: file:path", "binary values are not used here")
		return []byte("null")
	}
	value, err := d.secrets.resolve(n.Value)
	if err != nil {
		d.fail(path, n, "", "%v", err)
	}
	return quoted(value)
}

func (d *decoder) jsonNumber(path string, n *yaml.Node) []byte {
	if jsonNumber.MatchString(n.Value) {
		return []byte(n.Value)
	}
	var whole int64
	if n.Decode(&whole) == nil {
		return strconv.AppendInt(nil, whole, 10)
	}
	var f float64
	if n.Decode(&f) != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		d.fail(path, n, "", "%s is not a number that can be handed to the backend", clip(n.Value))
		return []byte("null")
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64)
}

// secretKey is a key whose value is not shown.
var secretKey = lazyregexp.New(`(?i)passw|secret|token|credential|private|api_?key|seal_?key|^key$`)

const hidden = "(hidden)"

// MarshalYAML gives the mapping as it is written, references unresolved, and hides what
// looks like a secret that stands there in full.
func (s Settings) MarshalYAML() (any, error) {
	if s.written == nil {
		return map[string]any{}, nil
	}
	return hideSecrets(s.written, false), nil
}

// hideSecrets copies a tree.
func hideSecrets(n *yaml.Node, hide bool) *yaml.Node {
	c := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style}
	if n.Kind == yaml.ScalarNode && hide && !isNull(n) && (!isReference(n.Value) || strings.HasPrefix(n.Value, "literal:")) {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: hidden}
	}
	for i, item := range n.Content {
		inner := hide
		if n.Kind == yaml.MappingNode {
			inner = i%2 == 1 && (hide || secretKey.MatchString(n.Content[i-1].Value))
		}
		c.Content = append(c.Content, hideSecrets(item, inner))
	}
	return c
}
