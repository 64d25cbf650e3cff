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

// TestMissingBlank: YAML takes "hostname:mail" for a text, and objects to something else, on another line
// perhaps. What is told is the blank, where it belongs, and not the value, which may be a secret.
func TestMissingBlank(t *testing.T) {
	key := func(name string) string { return `a blank is missing behind "` + name + `:"` }
	const dash = `a blank is missing behind "-"`
	for _, test := range []struct {
		file, want string // the problem begins with
	}{
		{"hostname:secret\nstate: b\n", "a.yaml:1:1: this is not YAML (" + key("hostname")},
		{"state: b\nhostname:secret\n", "a.yaml:2:1: this is not YAML (" + key("hostname")},
		{"state: b\nhostname:secret\n\n# a comment\nfoo: c\n", "a.yaml:2:1: this is not YAML (" + key("hostname")},
		{"hostname:secret\n", "a.yaml:1:1: expected a mapping (" + key("hostname")},
		{"hostname:secret\nstate:b\n", "a.yaml:1:1: expected a mapping (" + key("hostname")},
		{"stores:\n  -name: x\n   plugin: y\n", "a.yaml:2:3: this is not YAML (" + dash},
		{"stores:\n  -name: x\nstate: b\n", "a.yaml:2:3: stores: expected a list (" + dash},
		{"stores:\n  - name: a\n  -name: b\n", "a.yaml:3:3: this is not YAML (" + dash},
		{"stores:\n  - name:secret\n    plugin: y\n", "a.yaml:2:5: this is not YAML (" + key("name")},
		{"stores:\n  - name: x\n    plugin:secret\nstate: b\n", "a.yaml:3:5: this is not YAML (" + key("plugin")},
		{"stores:\n  - name: a\n    domains:\n      -a.example\n", "a.yaml:4:7: stores[0].domains: expected a list (" + dash},
		{"stores:\n  - name: a\n    settings:\n      password:secret\n", "a.yaml:4:7: stores[0].settings: expected a mapping (" + key("password")},
		{"tls: {certificate:secret, key: b}\n", "a.yaml:1:7: tls.certificate: the key has no value (" + key("certificate")},
		{"listeners:\n  - protocol:secret\n", "a.yaml:2:5: listeners[0]: expected a mapping (" + key("protocol")},
		// These are what they say.
		{"hostname: a\nstores: \"b:c\"\n", `a.yaml:2:9: stores: expected a list, found the text "b:c"`},
		{"hostname: a\nstores: http://b\n", `a.yaml:2:9: stores: expected a list, found the text "http://b"`},
	} {
		t.Run(test.file, func(t *testing.T) {
			_, err := Parse("a.yaml", t.TempDir(), []byte(test.file), Options{})
			if err == nil || !strings.Contains("\n"+err.Error(), "\n"+test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v\nwant %s", err, test.want)
			}
		})
	}
}
