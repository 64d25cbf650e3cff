package config

import (
	"maps"
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// Plugin says what a store's backend runs as: a built-in, by its name, or a command.
type Plugin struct {
	Builtin string
	// Command is the executable, an absolute path, and its arguments.
	Command []string
	SHA256  string            // of the executable, in hex; empty: not compared
	Env     map[string]string // added to the process's environment; may hold secrets

	env map[string]string // as written
}

// pluginCommand is the long form of a plugin in the file.
type pluginCommand struct {
	Command []string          `yaml:"command"`
	SHA256  string            `yaml:"sha256,omitempty"`
	Env     map[string]string `yaml:"env,omitempty"`
}

var (
	hexSHA256    = lazyregexp.New(`^[0-9a-fA-F]{64}$`)
	environment  = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)
	pluginShapes = `write the name of a built-in, or {command: [/path/to/it]}`
)

func (p *Plugin) decodeNode(d *decoder, path string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		p.Builtin = n.Value
		return
	case n.Kind != yaml.MappingNode:
		d.fail(path, n, pluginShapes, "expected a name or a mapping, found %s", describe(n))
		return
	}
	var long pluginCommand
	d.fields(path, n, reflect.ValueOf(&long).Elem())
	p.Command, p.SHA256, p.env = long.Command, long.SHA256, long.Env
	if long.SHA256 != "" && !hexSHA256.MatchString(long.SHA256) {
		d.at(join(path, "sha256"), "", "expected 64 hexadecimal digits")
	}
	p.Env = make(map[string]string, len(long.Env))
	for _, name := range slices.Sorted(maps.Keys(long.Env)) {
		at := join(join(path, "env"), name)
		if !environment.MatchString(name) {
			d.at(at, "", "this is no name of an environment variable")
		}
		value, err := d.secrets.resolve(long.Env[name])
		if err != nil {
			d.at(at, "", "%v", err)
		}
		p.Env[name] = value
	}
}

// MarshalYAML gives the form that the file has, with secrets hidden.
func (p Plugin) MarshalYAML() (any, error) {
	if p.Builtin != "" {
		return p.Builtin, nil
	}
	env := maps.Clone(p.env)
	for name, value := range env {
		if !isReference(value) && secretKey.MatchString(name) {
			env[name] = hidden
		}
	}
	return pluginCommand{Command: p.Command, SHA256: p.SHA256, Env: env}, nil
}
