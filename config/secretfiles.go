package config

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
)

// secretFile is a file that a secret was read from.
type secretFile struct {
	info os.FileInfo // as it was
	sum  [sha256.Size]byte
}

// source is what a configuration was read from.
type source struct {
	text    []byte
	options Options
	secrets map[string]secretFile // by their files' paths
}

// ChangedSecrets are the files behind "file:" that are not as they were when the configuration was read, by size, time and identity, each
// with what it is now: a text that is another one whenever the file is. One that is not there is not among them: it may be about to come
// back.
func (c *Config) ChangedSecrets() map[string]string {
	changed := make(map[string]string)
	for name, was := range c.source.secrets {
		is, err := os.Stat(name)
		if err != nil || is.Size() == was.info.Size() && is.ModTime().Equal(was.info.ModTime()) && os.SameFile(is, was.info) {
			continue
		}
		changed[name] = fmt.Sprintf("%d %d", is.Size(), is.ModTime().UnixNano())
	}
	return changed
}

// Again reads the text that the configuration was made of once more, with what its references stand for now. The file that it came from is
// not read: what somebody has changed there waits for a reload.
func (c *Config) Again() (*Config, error) {
	return Parse(c.file, c.dir, c.source.text, c.source.options)
}

// SameSecrets says whether the files behind "file:" have the same content as those of another reading.
func (c *Config) SameSecrets(other *Config) bool {
	return maps.EqualFunc(c.source.secrets, other.source.secrets, func(a, b secretFile) bool { return a.sum == b.sum })
}
