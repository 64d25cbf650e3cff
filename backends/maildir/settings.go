package maildir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// settings are the store's own, checked.
type settings struct {
	root         string
	accounts     string
	quota        int64 // octets a mailbox; 0: none
	messageLimit int64 // octets of a message; 0: none
	lf           bool  // messages are kept with LF line ends
	actFor       bool
	separator    string
	postmaster   address // zero: the first account

	host    string
	domains map[string]bool
}

// The defaults, for settings that are not there.
const (
	defaultRoot      = "mail"
	defaultAccounts  = "accounts.yaml"
	defaultSeparator = "+"
)

// reader reads one key of the settings.
type reader func(raw json.RawMessage) error

var errText = errors.New("expected a text")

// readSettings checks settings without touching anything.
func readSettings(in backends.Settings) (settings, error) {
	s := settings{root: defaultRoot, lf: true, separator: defaultSeparator, host: in.Hostname, domains: map[string]bool{}}
	for _, d := range in.Domains {
		s.domains[d] = true
	}
	found := readKeys(in.Raw, map[string]reader{
		"root":             text(&s.root),
		"accounts":         text(&s.accounts),
		"quota":            octets(&s.quota),
		"message_limit":    octets(&s.messageLimit),
		"lf":               boolean(&s.lf),
		"act_for":          boolean(&s.actFor),
		"detail_separator": s.readSeparator,
		"postmaster":       s.readPostmaster,
	})
	if s.root == "" {
		s.root = defaultRoot
	}
	s.root = absolute(in.BaseDir, s.root)
	if s.accounts == "" {
		s.accounts = filepath.Join(s.root, defaultAccounts)
	}
	s.accounts = absolute(in.BaseDir, s.accounts)
	if p := checkRoot(s.root); p != nil {
		found = append(found, *p)
	}
	if p := checkAccounts(s.accounts); p != nil {
		found = append(found, *p)
	}
	if len(found) > 0 {
		return s, &backends.SettingsError{Problems: found}
	}
	return s, nil
}

func (s *settings) readSeparator(raw json.RawMessage) error {
	if err := text(&s.separator)(raw); err != nil {
		return err
	}
	if len(s.separator) > 1 || strings.ContainsAny(s.separator, "@\"") {
		return errors.New(`expected one character such as "+", or "" for none`)
	}
	return nil
}

func (s *settings) readPostmaster(raw json.RawMessage) (err error) {
	var written string
	if err := text(&written)(raw); err != nil {
		return err
	}
	if s.postmaster, err = parseAddress(written); err != nil {
		return fmt.Errorf("expected an account's address: %w", err)
	}
	return nil
}

func text(to *string) reader {
	return func(raw json.RawMessage) error {
		if json.Unmarshal(raw, to) != nil {
			return errText
		}
		return nil
	}
}

func boolean(to *bool) reader {
	return func(raw json.RawMessage) error {
		if json.Unmarshal(raw, to) != nil {
			return errors.New("expected true or false")
		}
		return nil
	}
}

func octets(to *int64) reader {
	return func(raw json.RawMessage) (err error) {
		var number json.Number
		if json.Unmarshal(raw, &number) == nil {
			*to, err = parseOctets(number.String())
			return err
		}
		var written string
		if json.Unmarshal(raw, &written) != nil {
			return errOctets
		}
		*to, err = parseOctets(written)
		return err
	}
}

// readKeys reads a JSON object whose keys are all known. A null counts as not there.
func readKeys(raw []byte, readers map[string]reader) (found []backends.SettingsProblem) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return []backends.SettingsProblem{{Problem: "expected a mapping of keys to values"}}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		read, known := readers[key]
		if !known {
			p := backends.SettingsProblem{Path: key, Problem: "there is no such setting"}
			if nearest := nearestKey(key, readers); nearest != "" {
				p.Suggest = "did you mean " + nearest + "?"
			}
			found = append(found, p)
			continue
		}
		if string(values[key]) == "null" {
			continue
		}
		if err := read(values[key]); err != nil {
			found = append(found, backends.SettingsProblem{Path: key, Problem: err.Error()})
		}
	}
	return found
}

func absolute(base, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// checkRoot says what stands in the way of using, or making, the root folder.
func checkRoot(root string) *backends.SettingsProblem {
	problem := func(format string, args ...any) *backends.SettingsProblem {
		return &backends.SettingsProblem{Path: "root", Problem: fmt.Sprintf(format, args...)}
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err != nil:
			return problem("%v", err)
		case !info.IsDir():
			return problem("%s is not a folder", dir)
		}
		if err := canHold(dir); err != nil {
			return problem("the folder %s cannot be written to: %v", dir, err)
		}
		return nil
	}
}

func checkAccounts(path string) *backends.SettingsProblem {
	f := accountsFile{path: path, now: clock}
	if err := f.load(); err != nil {
		return &backends.SettingsProblem{Path: "accounts", Problem: err.Error()}
	}
	return nil
}
