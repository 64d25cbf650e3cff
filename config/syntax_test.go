package config

import (
	"errors"
	"strings"
	"testing"
)

// TestSyntaxHasItsPlace: what is not YAML is told at the line where it is, not at the one before or at
// the end of the file.
func TestSyntaxHasItsPlace(t *testing.T) {
	for _, test := range []struct {
		name, file string
		line       int
		column     int
		says       string
	}{
		{"a tab", "hostname: a\nstores:\n\t- name: x\n", 3, 1, "tab"},
		{"a tab behind blanks", "hostname: a\nstores:\n  \t- name: x\n", 3, 3, "tab"},
		{"a tab in a mapping", "hostname: a\nstores:\n  - name: x\n\tplugin: y\n", 4, 1, "tab"},
		{"a tab far behind", "hostname: a\n\n\n\tstate: b\n", 4, 1, "tab"},
		{"a double quote", "hostname: \"a\nstate: b\nfoo: c\n", 1, 1, "quote"},
		{"a single quote", "foo: c\nhostname: 'a\nstate: b\n", 2, 1, "quote"},
		{"a quote in a list", "stores:\n  - name: 'a\nfoo: c\n", 2, 3, "quote"},
		{"behind a value", "hostname: a\n  state: b\n", 2, 3, "mapping values"},
		{"two colons", "hostname: a\nstate: b: c\n", 2, 1, "mapping values"},
		{"a list not closed", "foo: c\nlisteners: [1, 2\nb: c\n", 2, 1, "']'"},
		{"an escape", "hostname: \"x\\qy\"\n", 1, 1, "escape"},
		{"no key", "hostname: a\nc\nd: e\n", 2, 1, "':'"},
		{"an apostrophe in quotes", "foo: c\nhostname: 'it's'\nb: c\n", 2, 1, "expected key"},
		{"less indented", "hostname:\n  - b\n - c\n", 3, 2, "expected"},
		{"behind a long quote that is closed", "hostname: \"a\n  b\n  c\"\nfoo:\n\t- x\n", 5, 1, "tab"},
		{"without a last line end", "hostname: a\n\tfoo: b", 2, 1, "tab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse("a.yaml", t.TempDir(), []byte(test.file), Options{})
			wrong, ok := errors.AsType[*Error](err)
			if !ok || len(wrong.Problems) != 1 {
				t.Fatalf("got %v", err)
			}
			p := wrong.Problems[0]
			if p.Line != test.line || p.Column != test.column || !strings.Contains(p.Text, test.says) || !strings.HasPrefix(p.Text, "this is not YAML: ") {
				t.Errorf("got %v", p)
			}
		})
	}
}
