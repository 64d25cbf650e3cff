package config

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// These match what a line has before its value where YAML's blank is missing: behind the colon of a
// key, or behind the dash of a list's item. What it does not match, such as a URL, is a text.
var (
	keyWithoutBlank  = lazyregexp.New(`^((?:\s|-\s)*)([A-Za-z_][A-Za-z0-9_]*):[^\s/]`)
	dashWithoutBlank = lazyregexp.New(`^((?:\s|-\s)*)-[A-Za-z_"'{\[]`)
)

// missingBlank says what a line, or a value, lacks a blank behind, and at which octet that stands; empty:
// it lacks none. The value is not told: it may be a secret.
func missingBlank(line string) (behind string, at int) {
	if m := keyWithoutBlank.FindStringSubmatch(line); m != nil && !slices.Contains([]string{"env", "file"}, m[2]) {
		return m[2] + ":", len(m[1])
	}
	if m := dashWithoutBlank.FindStringSubmatch(line); m != nil {
		return "-", len(m[1])
	}
	return "", 0
}

// misfit tells of a node that is not what belongs there.
func (d *decoder) misfit(path string, n *yaml.Node, wanted string) {
	text := n
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 {
		text = n.Content[0]
	}
	if behind, _ := missingBlank(text.Value); behind != "" && text.Style == 0 && text.Kind == yaml.ScalarNode {
		d.fail(path, text, suggestBlank(behind), "expected %s", wanted)
		return
	}
	d.fail(path, n, "", "expected %s, found %s", wanted, describe(n))
}

func suggestBlank(behind string) string { return fmt.Sprintf("a blank is missing behind %q", behind) }
