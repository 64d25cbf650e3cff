package config

import (
	"reflect"
	"slices"
)

// allKeys are the keys of a configuration, at any depth.
func allKeys() []string {
	seen := make(map[string]bool)
	var keys []string
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t == reflect.TypeFor[Plugin]() {
			t = reflect.TypeFor[pluginCommand]()
		}
		if t.Kind() != reflect.Struct || seen[t.String()] {
			return
		}
		seen[t.String()] = true
		for i := range t.NumField() {
			f := t.Field(i)
			if name := yamlName(f); name != "" {
				keys = append(keys, name)
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	slices.Sort(keys)
	return slices.Compact(keys)
}
