package config

import (
	"net/url"
	"strings"

	"gopkg.in/yaml.v3"
)

// defaultStateFolder is beside the configuration file.
const defaultStateFolder = "state"

// State is where the gateway's own state is kept: in a folder, in a SQLite file of this gateway
// alone, or in a PostgreSQL database that several share. One of the two is set.
type State struct {
	Folder string
	// URL is a connection string, postgres://…. It may hold a password.
	URL string

	written string
}

// decodeNode reads a folder or a URL, or a reference to either.
func (s *State) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		d.fail(path, n, "", "expected a folder or postgres://…, found %s", describe(n))
		return
	}
	text, err := d.secrets.resolve(n.Value)
	if err != nil {
		d.fail(path, n, "", "%v", err)
		return
	}
	*s = State{Folder: text, written: n.Value}
	scheme, _, isURL := strings.Cut(text, "://")
	if !isURL {
		return
	}
	s.Folder, s.URL = "", text
	if scheme != "postgres" && scheme != "postgresql" {
		d.fail(path, n, "write postgres://user@host/database, or a folder", "this is no database that can keep the state")
		return
	}
	// What is wrong with it is not told with the text: there may be a password in it.
	if _, err := url.Parse(text); err != nil {
		d.fail(path, n, "write postgres://user@host/database; in a password, %40 for @ and %2F for /", "this is not a URL")
	}
}

// MarshalYAML gives what the file has, without a password.
func (s State) MarshalYAML() (any, error) {
	switch {
	case isReference(s.written):
		return s.written, nil
	case s.URL == "":
		return s.Folder, nil
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return hidden, nil
	}
	if query := u.Query(); query.Has("password") {
		query.Set("password", hidden)
		u.RawQuery = query.Encode()
	}
	return u.Redacted(), nil
}

// state settles where the state is, and what the node's own folder is.
func (d *decoder) state(c *Config) {
	if d.failed["state"] {
		return
	}
	c.State.Folder = d.path(c.State.Folder)
	c.StateFolder = d.path(c.StateFolder)
	switch {
	case c.State.URL == "" && c.StateFolder != "" && c.StateFolder != c.State.Folder:
		d.at("state_folder", "leave it out", "state is a folder already, and this is another one")
	case c.State.URL == "":
		c.StateFolder = c.State.Folder
	case c.StateFolder == "":
		c.StateFolder = d.path(defaultStateFolder)
	}
}
