package maildir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// ownSettings are the settings as the administrator writes them.
type ownSettings struct {
	Root            string            `json:"root"`
	Accounts        string            `json:"accounts"`
	Quota           octetCount        `json:"quota"`
	MessageLimit    octetCount        `json:"message_limit"`
	LF              bool              `json:"lf"`
	ActFor          bool              `json:"act_for"`
	DetailSeparator separator         `json:"detail_separator"`
	Postmaster      postmasterAddress `json:"postmaster"`
	Outbox          bool              `json:"outbox"`
}

// The defaults, for settings that are not there.
const (
	defaultRoot      = "mail"
	defaultAccounts  = "accounts.yaml"
	defaultSeparator = "+"
)

// settings are the store's own, checked.
type settings struct {
	ownSettings
	host    string
	domains map[string]bool
}

// readSettings checks settings without touching anything. Paths become absolute.
func readSettings(in backends.Settings) (settings, error) {
	s := settings{host: in.Hostname, domains: map[string]bool{}}
	s.LF, s.DetailSeparator = true, defaultSeparator
	for _, d := range in.Domains {
		s.domains[d] = true
	}
	var found backends.SettingsError
	if wrong, ok := errors.AsType[*backends.SettingsError](in.Decode(&s.ownSettings)); ok {
		found.Problems = wrong.Problems
	}
	if s.Root == "" {
		s.Root = defaultRoot
	}
	s.Root = absolute(in.BaseDir, s.Root)
	if s.Accounts == "" {
		s.Accounts = filepath.Join(s.Root, defaultAccounts)
	}
	s.Accounts = absolute(in.BaseDir, s.Accounts)
	if err := checkRoot(s.Root); err != nil {
		found.Add("root", "%v", err)
	}
	if err := (&accountsFile{path: s.Accounts, now: clock}).load(); err != nil {
		found.Add("accounts", "%v", err)
	}
	return s, found.Err()
}

// octetCount is a number of octets, with a unit or without.
type octetCount int64

// SettingType implements [backends.SettingTyped].
func (octetCount) SettingType() backends.SettingType { return backends.SettingOctets }

// UnmarshalJSON reads 1073741824 or "1GiB".
func (o *octetCount) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	n, err := parseOctets(text)
	*o = octetCount(n)
	return err
}

// separator stands between a user and a detail (RFC 5233).
type separator string

// UnmarshalText takes one character or none.
func (s *separator) UnmarshalText(text []byte) error {
	if len(text) > 1 || strings.ContainsAny(string(text), "@\"\\") {
		return errors.New(`expected one character such as "+", or "" for none`)
	}
	*s = separator(text)
	return nil
}

// postmasterAddress is an account's address; the zero value: the first account's.
type postmasterAddress struct{ address }

// SettingType implements [backends.SettingTyped].
func (postmasterAddress) SettingType() backends.SettingType { return backends.SettingText }

// UnmarshalText reads an address.
func (p *postmasterAddress) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		return nil
	}
	if p.address, err = parseAddress(string(text)); err != nil {
		return fmt.Errorf("expected the address of an account: %w", err)
	}
	return nil
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
func checkRoot(root string) error {
	for dir := root; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is not a folder", dir)
		}
		if err := canHold(dir); err != nil {
			return fmt.Errorf("the folder %s cannot be written to: %w", dir, err)
		}
		return nil
	}
}
