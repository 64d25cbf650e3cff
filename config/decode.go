package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The tags of a configuration struct's fields:
//
//	yaml:"name"    the key
//	enum:"a b c"   the values that a text may have
//	gone:"d e"     those that it could have in an earlier version
//	min:"1" max:"9" the bounds of a number, a size or a duration, in the field's own form
//
// A node that a type reads itself is read by its decodeNode.
type nodeDecoder interface {
	decodeNode(d *decoder, path string, n *yaml.Node)
}

// decoder walks the nodes of a document into a value, and notes where everything stands and
// what is wrong with it. It goes on after a problem, so that all of them are told at once.
type decoder struct {
	file      string
	secrets   secrets
	positions map[string]Position
	problems  []Problem
	failed    map[string]bool // the paths that have a problem in them
	skipped   map[string]bool // the paths of which nothing was read
}

func newDecoder(file string, secrets secrets) *decoder {
	return &decoder{
		file: file, secrets: secrets,
		positions: make(map[string]Position), failed: make(map[string]bool), skipped: make(map[string]bool),
	}
}

var (
	sizeType     = reflect.TypeFor[Size]()
	durationType = reflect.TypeFor[Duration]()
)

func (d *decoder) position(n *yaml.Node) Position {
	return Position{File: d.file, Line: n.Line, Column: n.Column}
}

// fail notes a problem with a node.
func (d *decoder) fail(path string, n *yaml.Node, suggest, format string, args ...any) {
	d.note(d.position(n), path, suggest, fmt.Sprintf(format, args...))
}

// at notes a problem with a path, at the nearest place that is in the file.
func (d *decoder) at(path, suggest, format string, args ...any) {
	d.note(find(d.positions, d.file, path), path, suggest, fmt.Sprintf(format, args...))
}

func (d *decoder) note(position Position, path, suggest, text string) {
	d.problems = append(d.problems, Problem{Position: position, Path: path, Text: text, Suggest: suggest})
	for ; path != ""; path = outer(path) {
		d.failed[path] = true
	}
}

// find is where a path stands in the file: itself, or the nearest of what it is inside of.
func find(positions map[string]Position, file, path string) Position {
	for ; path != ""; path = outer(path) {
		if p, ok := positions[path]; ok {
			return p
		}
	}
	return Position{File: file}
}

// outer is the path of what a path is inside of.
func outer(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// value reads a node into v, which keeps what it has where the node says nothing.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if _, ok := d.positions[path]; !ok {
		d.positions[path] = d.position(n)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.fail(path, n, "write the value out", "anchors and aliases are not used here")
		d.skipped[path] = true
		return
	}
	if own, ok := v.Addr().Interface().(nodeDecoder); ok {
		own.decodeNode(d, path, n)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !isNull(n) {
			v.Set(reflect.New(v.Type().Elem()))
			d.value(path, n, v.Elem(), tag)
		}
	case reflect.Struct:
		d.fields(path, n, v)
	case reflect.Slice:
		d.list(path, n, v, tag)
	case reflect.Map:
		d.texts(path, n, v)
	default:
		d.scalar(path, n, v, tag)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// fields reads a mapping into a struct. A key with nothing behind it leaves the defaults, and one that
// a field had in an earlier version (its tag "was") names the one of today.
func (d *decoder) fields(path string, n *yaml.Node, v reflect.Value) {
	fields := make(map[string]int)
	renamed := make(map[string]string)
	var names []string
	for i := range v.NumField() {
		if name := yamlName(v.Type().Field(i)); name != "" {
			fields[name] = i
			names = append(names, name)
			if was := v.Type().Field(i).Tag.Get("was"); was != "" {
				renamed[was] = name
			}
		}
	}
	d.pairs(path, n, func(key, value *yaml.Node, inner string) {
		i, ok := fields[key.Value]
		if name, _, cut := strings.Cut(key.Value, ":"); cut && !ok && slices.Contains(names, name) {
			d.fail(join(path, name), key, suggestBlank(name+":"), "the key has no value")
			return
		}
		if now, was := renamed[key.Value]; was && !ok {
			d.fail(inner, key, "", "the key is called %s now", now)
			return
		}
		if !ok {
			d.fail(inner, key, didYouMean(key.Value, names), "there is no such key")
			return
		}
		d.value(inner, value, v.Field(i), v.Type().Field(i).Tag)
	})
}

// yamlName is a field's key, empty for a field that has none.
func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// pairs calls f for each key of a mapping, and notes keys that stand there twice.
func (d *decoder) pairs(path string, n *yaml.Node, f func(key, value *yaml.Node, path string)) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.misfit(path, n, "a mapping")
		d.skipped[path] = true
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			d.fail(path, key, "", "a key must be a plain word")
			continue
		}
		inner := join(path, key.Value)
		if line, twice := seen[key.Value]; twice {
			d.fail(inner, key, "", "the key stands on line %d already", line)
			continue
		}
		seen[key.Value] = key.Line
		d.positions[inner] = d.position(key)
		f(key, value, inner)
	}
}

// list reads a sequence into a slice.
func (d *decoder) list(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.misfit(path, n, "a list")
		return
	}
	values := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(index(path, i), item, values.Index(i), tag)
	}
	v.Set(values)
}

// texts reads a mapping from names to texts, which may be references to secrets.
func (d *decoder) texts(path string, n *yaml.Node, v reflect.Value) {
	values := reflect.MakeMap(v.Type())
	d.pairs(path, n, func(key, value *yaml.Node, inner string) {
		var text string
		d.scalar(inner, value, reflect.ValueOf(&text).Elem(), "")
		values.SetMapIndex(reflect.ValueOf(key.Value), reflect.ValueOf(text))
	})
	v.Set(values)
}

// scalar reads a single value, and compares it with its bounds.
func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		d.fail(path, n, "", "expected %s, found %s", expected(v, tag), describe(n))
		return
	}
	if enum := strings.Fields(tag.Get("enum")); len(enum) > 0 {
		d.oneOf(path, n, v, enum, strings.Fields(tag.Get("gone")))
		return
	}
	suggest, ok := parseScalar(n, v)
	if !ok {
		d.fail(path, n, suggest, "expected %s, found %s", expected(v, tag), describe(n))
		return
	}
	d.bounds(path, n, v, tag)
}

func (d *decoder) oneOf(path string, n *yaml.Node, v reflect.Value, enum, gone []string) {
	for _, e := range enum {
		if n.Value == e {
			v.SetString(e)
			return
		}
	}
	if slices.Contains(gone, n.Value) {
		d.fail(path, n, "", "%q is not supported any more: remove it", n.Value)
		return
	}
	d.fail(path, n, nearest(n.Value, enum), "%q is not one of %s", clip(n.Value), strings.Join(enum, ", "))
}

// parseScalar sets v to what the node says, or says false, with a hint.
func parseScalar(n *yaml.Node, v reflect.Value) (suggest string, ok bool) {
	switch {
	case v.Type() == sizeType:
		size, err := ParseSize(n.Value)
		v.SetInt(int64(size))
		return "write it as 25MiB", err == nil
	case v.Type() == durationType:
		duration, err := ParseDuration(n.Value)
		v.SetInt(int64(duration))
		return "write it as 30s, 10m or 7d", err == nil
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
		return "put it in quotes", n.ShortTag() == "!!str"
	case v.Kind() == reflect.Bool:
		v.SetBool(n.Value == "true")
		return "", n.ShortTag() == "!!bool" && (n.Value == "true" || n.Value == "false")
	case v.CanInt():
		number, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		v.SetInt(number)
		return "", err == nil && n.ShortTag() == "!!int"
	}
	return "", false
}

// bounds compares a number with the min and max of its field.
func (d *decoder) bounds(path string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	low, high := tag.Get("min"), tag.Get("max")
	if !v.CanInt() {
		return
	}
	if limit, err := parseBound(low, v); err == nil && v.Int() < limit {
		d.fail(path, n, "", "%s is less than %s", n.Value, low)
	}
	if limit, err := parseBound(high, v); err == nil && v.Int() > limit {
		d.fail(path, n, "", "%s is more than %s", n.Value, high)
	}
}

var errNoBound = errors.New("no bound")

// parseBound reads a bound in the form of the field's type.
func parseBound(text string, v reflect.Value) (int64, error) {
	if text == "" {
		return 0, errNoBound
	}
	bound := reflect.New(v.Type()).Elem()
	tag := "!!str"
	if v.Kind() == reflect.Int && v.Type() != sizeType && v.Type() != durationType {
		tag = "!!int"
	}
	if _, ok := parseScalar(&yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: text}, bound); !ok {
		return 0, fmt.Errorf("the bound %q is none", text)
	}
	return bound.Int(), nil
}

// expected names what a field takes.
func expected(v reflect.Value, tag reflect.StructTag) string {
	switch {
	case tag.Get("enum") != "":
		return "one of " + strings.Join(strings.Fields(tag.Get("enum")), ", ")
	case v.Type() == sizeType:
		return "a size"
	case v.Type() == durationType:
		return "a duration"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanInt():
		return "a whole number"
	}
	return "a text"
}

// describe names what a node is.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	case n.ShortTag() == "!!str":
		return fmt.Sprintf("the text %q", clip(n.Value))
	case n.ShortTag() == "!!bool":
		return n.Value
	}
	return "the number " + clip(n.Value)
}

// clip shortens what stands in a message.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:57], "") + "…"
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
