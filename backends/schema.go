package backends

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Setting documents one of a store's settings, for people and for what makes examples of it.
// Whether a value is right is for Configure alone to say.
type Setting struct {
	// Path is where in the settings it is, keys joined with dots. A list's item is "[]", a value
	// of a mapping whose keys are free "*": "hosts[]", "accounts[].user", "delivery.accounts.*".
	Path string
	Type SettingType
	// Default is what an absent key means, as YAML or in words; empty: nothing.
	Default string
	// Doc says in one or a few sentences what it is.
	Doc string
	// Values are the only ones that are taken; empty: no such list.
	Values []string
	// Secret values are better given by reference (file:, env:), and are shown to nobody.
	Secret bool
	// Required is without a default that works.
	Required bool
}

// SettingType is what a setting's value looks like.
type SettingType string

// The types of settings. What is in a list or a mapping has the type of one of its values.
const (
	SettingText     SettingType = "text"
	SettingNumber   SettingType = "number"
	SettingBoolean  SettingType = "boolean"
	SettingDuration SettingType = "duration" // 90s, 5m
	SettingOctets   SettingType = "octets"   // 1048576, 10MiB
)

// SettingTyped is a type of a setting's value that does not look like what it is made of.
type SettingTyped interface{ SettingType() SettingType }

var settingTyped = reflect.TypeFor[SettingTyped]()

// SettingNote is what a setting's type does not say of it.
type SettingNote struct {
	Doc      string
	Default  string // in words, where an absent key means more than the type's zero value
	Values   []string
	Secret   bool
	Required bool
}

// SchemaOf documents the settings that [Settings.Decode] reads into a struct like defaults, which
// holds the defaults, in the struct's order. notes are by path; one without a setting is an error
// of the program, and panics.
func SchemaOf(defaults any, notes map[string]SettingNote) []Setting {
	all := schemaOf(reflect.ValueOf(defaults), "")
	left := maps.Clone(notes)
	for i := range all {
		s := &all[i]
		n := left[s.Path]
		delete(left, s.Path)
		s.Doc, s.Values, s.Secret, s.Required = n.Doc, n.Values, n.Secret, n.Required
		if s.Secret {
			s.Default = ""
		}
		s.Default = cmp.Or(s.Default, n.Default)
	}
	if len(left) > 0 {
		panic(fmt.Sprintf("there is no setting %q", slices.Sorted(maps.Keys(left))))
	}
	return all
}

func schemaOf(v reflect.Value, path string) (all []Setting) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			all = append(all, schemaOf(v.Field(i), path)...)
		case f.IsExported() && name != "-" && name != "":
			all = append(all, settingsIn(v.Field(i), joinPath(path, name))...)
		}
	}
	return all
}

// settingsIn documents a value, or what is in it.
func settingsIn(v reflect.Value, path string) []Setting {
	t, of := v.Type(), ""
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
		v = reflect.Zero(t)
	}
	own := t.Implements(settingTyped)
	if !own && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		of = map[reflect.Kind]string{reflect.Slice: "[]", reflect.Map: ".*"}[t.Kind()]
		t = t.Elem()
		v = reflect.Zero(t)
	}
	if t.Kind() == reflect.Struct && !own {
		return schemaOf(v, path+of)
	}
	s := Setting{Path: path + of, Type: typeOf(t)}
	if of == "" && (!v.IsZero() || t.Kind() == reflect.Bool) {
		s.Default = defaultOf(v)
	}
	return []Setting{s}
}

func typeOf(t reflect.Type) SettingType {
	if t.Implements(settingTyped) {
		return reflect.Zero(t).Interface().(SettingTyped).SettingType()
	}
	switch t.Kind() {
	case reflect.Bool:
		return SettingBoolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return SettingNumber
	}
	return SettingText
}

// defaultOf writes a value as somebody would in the configuration.
func defaultOf(v reflect.Value) string {
	if typeOf(v.Type()) == SettingDuration && v.CanInt() {
		return shortDuration(time.Duration(v.Int()))
	}
	return fmt.Sprint(v.Interface())
}

// shortDuration leaves out the units that are zero: 5m rather than 5m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
