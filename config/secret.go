package config

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// mostSecret bounds a file that a reference names, in octets.
const mostSecret = 64 << 10

// secrets reads what references stand for:
//
//	file:PATH     the content of a file, without the line end at its end
//	env:NAME      a variable of the environment
//	literal:TEXT  the text itself, for a value that begins like a reference
type secrets struct {
	dir string                           // what relative paths are relative to
	env func(name string) (string, bool) // as os.LookupEnv
	// read notes the files that were read; nil: nobody wants to know.
	read map[string]secretFile
}

// isReference says whether a text stands for something else.
func isReference(s string) bool {
	return strings.HasPrefix(s, "file:") || strings.HasPrefix(s, "env:") || strings.HasPrefix(s, "literal:")
}

// resolve gives what a text stands for: itself, unless it is a reference.
func (s secrets) resolve(text string) (string, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	switch {
	case !isReference(text):
		return text, nil
	case scheme == "literal":
		return rest, nil
	case scheme == "env":
		value, ok := s.env(rest)
		if !ok {
			return "", fmt.Errorf("the environment has no variable %s", rest)
		}
		return value, nil
	}
	return s.file(rest)
}

func (s secrets) file(name string) (string, error) {
	if name == "" {
		return "", errors.New("the reference names no file")
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.dir, name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", name, reason(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read: %w", name, reason(err))
	}
	data, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("the file %s cannot be read: %w", name, reason(err))
	case len(data) > mostSecret:
		return "", fmt.Errorf("the file %s has more than %d octets", name, mostSecret)
	case !utf8.Valid(data):
		return "", fmt.Errorf("the file %s is not UTF-8 text", name)
	}
	if s.read != nil {
		s.read[name] = secretFile{info, sha256.Sum256(data)}
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	return string(bytes.TrimSuffix(data, []byte("\r"))), nil
}

// reason is an error without the operation and the path that its text would repeat.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
