package backends

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends/spelling"
)

// Decode reads Raw into the struct that into points to, by its json tags, and is strict: a
// key that the struct does not have, or a value of the wrong type, is a problem with its path
// and, where a known key is spelt much the same, a suggestion. What is wrong comes back all at
// once as a [*SettingsError]; no value stands in it. Fields whose key is absent are left
// as they are, so that into may hold the defaults.
func (s Settings) Decode(into any) error {
	raw := s.Raw
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	var found SettingsError
	var syntax *json.SyntaxError
	if err := json.Unmarshal(raw, new(json.RawMessage)); errors.As(err, &syntax) {
		found.Add("", "the settings are not JSON, from octet %d on", syntax.Offset)
		return found.Err()
	}
	found.value(raw, reflect.TypeOf(into).Elem(), "")
	if err := found.Err(); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		found.Add("", "the settings cannot be read")
	}
	return found.Err()
}

// Add notes a problem.
func (e *SettingsError) Add(path, format string, args ...any) {
	e.Problems = append(e.Problems, SettingsProblem{Path: path, Problem: fmt.Sprintf(format, args...)})
}

// Err is the error itself, or nil when no problem was noted.
func (e *SettingsError) Err() error {
	if e == nil || len(e.Problems) == 0 {
		return nil
	}
	return e
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	octets          = reflect.TypeFor[[]byte]()
)

// value compares one value with the type that it is to be read into.
func (e *SettingsError) value(raw json.RawMessage, t reflect.Type, path string) {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		return
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler)
	switch {
	case own || t == octets:
		e.leaf(raw, t, path)
	case t.Kind() == reflect.Struct:
		e.object(raw, settingsKeys(t), path)
	case t.Kind() == reflect.Map:
		var values map[string]json.RawMessage
		if e.read(raw, &values, "a mapping", path) {
			for _, key := range slices.Sorted(maps.Keys(values)) {
				e.value(values[key], t.Elem(), joinPath(path, key))
			}
		}
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		var values []json.RawMessage
		if e.read(raw, &values, "a list", path) {
			for i, value := range values {
				e.value(value, t.Elem(), joinPath(path, strconv.Itoa(i)))
			}
		}
	default:
		e.leaf(raw, t, path)
	}
}

func (e *SettingsError) object(raw json.RawMessage, known map[string]reflect.Type, path string) {
	var values map[string]json.RawMessage
	if !e.read(raw, &values, "a mapping", path) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if t, ok := known[key]; ok {
			e.value(values[key], t, joinPath(path, key))
			continue
		}
		p := SettingsProblem{Path: joinPath(path, key), Problem: "there is no such setting"}
		if near := spelling.Nearest(key, slices.Sorted(maps.Keys(known))); near != "" {
			p.Suggest = "did you mean " + near + "?"
		}
		e.Problems = append(e.Problems, p)
	}
}

func (e *SettingsError) leaf(raw json.RawMessage, t reflect.Type, path string) {
	err := json.Unmarshal(raw, reflect.New(t).Interface())
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &wrong):
		found := kindOf(raw)
		if want := wanted(t); found == "a number" && want != "a text" && want != "true or false" {
			found = "one that does not fit"
		}
		e.Add(path, "expected %s, found %s", wanted(t), found)
	default:
		e.Add(path, "%v", err)
	}
}

// read reads a mapping or a list one level deep.
func (e *SettingsError) read(raw json.RawMessage, into any, want, path string) bool {
	if json.Unmarshal(raw, into) == nil {
		return true
	}
	e.Add(path, "expected %s, found %s", want, kindOf(raw))
	return false
}

// settingsKeys are the keys of a struct, embedded structs included.
func settingsKeys(t reflect.Type) map[string]reflect.Type {
	keys := make(map[string]reflect.Type)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			maps.Copy(keys, settingsKeys(f.Type))
		case name == "-" || !f.IsExported():
		case name == "":
			keys[f.Name] = f.Type
		default:
			keys[name] = f.Type
		}
	}
	return keys
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a text"
}

func kindOf(raw json.RawMessage) string {
	switch raw[0] {
	case '{':
		return "a mapping"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "nothing"
	}
	return "a number"
}
