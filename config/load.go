package config

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// mostOctets bounds a configuration file.
const mostOctets = 1 << 20

// Options are what reading a configuration depends on, beside the file.
type Options struct {
	// Builtins are the kinds of backend that a store's plugin may name.
	Builtins []string
	// Env looks up the environment, for references to it. nil: os.LookupEnv.
	Env func(name string) (string, bool)
	// Hostname is the machine's name. nil: os.Hostname.
	Hostname func() (string, error)
}

func (o Options) withDefaults() Options {
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Hostname == nil {
		o.Hostname = os.Hostname
	}
	return o
}

// Load reads a file. What is wrong with its content is an [*Error]; what kept it from being
// read (errors.Is fs.ErrNotExist) is an error of another kind.
func Load(path string, options Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostOctets+1))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	return Parse(path, dir, data, options)
}

//go:embed default.yaml
var defaultYAML []byte

// DefaultName is what messages call the configuration of [Default].
const DefaultName = "(built-in configuration)"

// Default is what runs without a file: a Maildir store in the folder mail under dir, the
// gateway's state in the folder state, and unprivileged ports of the loopback address.
func Default(dir string, options Options) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("the default configuration: %w", err)
	}
	return Parse(DefaultName, dir, defaultYAML, options)
}

// Parse reads a configuration that is called name, with paths relative to dir, which is
// absolute. What is wrong with it is an [*Error].
func Parse(name, dir string, data []byte, options Options) (*Config, error) {
	options = options.withDefaults()
	read := make(map[string]secretFile)
	d := newDecoder(name, secrets{dir: dir, env: options.Env, read: read})
	root, problem := document(name, data)
	if problem != nil {
		return nil, sorted([]Problem{*problem})
	}
	cfg := withDefaults(fullName(options.Hostname))
	cfg.file, cfg.dir, cfg.positions = name, dir, d.positions
	cfg.source = source{data, options, read}
	if root != nil {
		d.value("", root, reflect.ValueOf(&cfg).Elem(), "")
	}
	d.check(&cfg, options.Builtins)
	if err := sorted(d.problems); err != nil {
		err.(*Error).Readable = d.readableStores(&cfg) // sorted makes no other
		return nil, err
	}
	return &cfg, nil
}

// readableStores leaves of a configuration the stores that have nothing wrong with them.
func (d *decoder) readableStores(cfg *Config) *Config {
	readable := *cfg
	readable.Stores = nil
	for i, s := range cfg.Stores {
		at := index("stores", i)
		wrong := func(p Problem) bool { return p.Path == at || strings.HasPrefix(p.Path, at+".") }
		if !slices.ContainsFunc(d.problems, wrong) {
			readable.Stores = append(readable.Stores, s)
		}
	}
	return &readable
}

// ParseSettings reads one store's settings alone, as they would stand under its "settings",
// into JSON. What is wrong with them is an [*Error].
func ParseSettings(name, dir string, data []byte, options Options) ([]byte, error) {
	d := newDecoder(name, secrets{dir: dir, env: options.withDefaults().Env})
	root, problem := document(name, data)
	if problem != nil {
		return nil, sorted([]Problem{*problem})
	}
	settings := Settings{JSON: []byte("{}")}
	if root != nil {
		settings.decodeNode(d, "", root)
	}
	return settings.JSON, sorted(d.problems)
}

// Secret gives what a text refers to, or the text itself where it is no reference.
func Secret(text, dir string, options Options) (string, error) {
	return secrets{dir: dir, env: options.withDefaults().Env}.resolve(text)
}

// fullName is the machine's name, where it is one of several parts.
func fullName(hostname func() (string, error)) string {
	name, err := hostname()
	if err != nil || !strings.Contains(name, ".") {
		return ""
	}
	name, err = domain(name)
	if err != nil {
		return ""
	}
	return name
}

// document parses YAML into its one root node, nil where there is nothing in it.
func document(name string, data []byte) (*yaml.Node, *Problem) {
	file := Position{File: name}
	if len(data) > mostOctets {
		return nil, &Problem{Position: file, Text: "the file is longer than " + Size(mostOctets).String()}
	}
	reader := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := reader.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxProblem(name, data, err)
	}
	switch err := reader.Decode(&more); {
	case err == nil:
		return nil, &Problem{Position: Position{name, more.Line, max(more.Column, 1)}, Text: "a second document begins here, and there can be only one"}
	case !errors.Is(err, io.EOF):
		return nil, syntaxProblem(name, data, err)
	}
	if len(doc.Content) != 1 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// Dir is the folder that relative paths of the configuration are relative to.
func (c *Config) Dir() string { return c.dir }

// Name is the file that the configuration came from.
func (c *Config) Name() string { return c.file }

// Position is where a key of a store's settings stands in the file, or the nearest mapping
// that it would stand in. The path has the keys joined with dots; an item of a list is a
// number, "servers.0.host" or "servers[0].host".
func (c *Config) Position(store, path string) Position {
	for i, s := range c.Stores {
		if s.Name != store {
			continue
		}
		at := join(index("stores", i), "settings")
		for key := range strings.SplitSeq(strings.NewReplacer("[", ".", "]", "").Replace(path), ".") {
			next := join(at, key)
			if _, known := c.positions[next]; !known {
				if n, err := strconv.ParseUint(key, 10, 31); err == nil {
					next = index(at, int(n))
				}
			}
			at = next
		}
		return find(c.positions, c.file, strings.TrimSuffix(at, "."))
	}
	return Position{File: c.file}
}

// Place is where a path of the configuration ("listeners[2].address") stands in the file, or the nearest
// mapping that it would stand in.
func (c *Config) Place(path string) Position { return find(c.positions, c.file, path) }

// SettingsError tells problems that a store's backend found in its settings, each with its
// place in the file.
func (c *Config) SettingsError(store string, problems []Problem) error {
	for i, p := range problems {
		problems[i].Position = c.Position(store, p.Path)
		problems[i].Path = "store " + store + ": settings"
		if p.Path != "" {
			problems[i].Path += "." + p.Path
		}
	}
	return sorted(problems)
}

// HasSecrets says whether secrets stand in the file itself, and not only references to them.
func (c *Config) HasSecrets() bool {
	if c.State.URL != "" && !isReference(c.State.written) {
		u, err := url.Parse(c.State.URL)
		if err != nil {
			return true // there is no telling
		}
		if _, set := u.User.Password(); set || u.Query().Has("password") {
			return true
		}
	}
	text, err := c.YAML()
	return err == nil && bytes.Contains(text, []byte(hidden))
}

// YAML is the whole configuration as it is in effect, defaults included. Secrets are not in
// it.
func (c *Config) YAML() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return nil, fmt.Errorf("writing the configuration: %w", err)
	}
	return b.Bytes(), nil
}
