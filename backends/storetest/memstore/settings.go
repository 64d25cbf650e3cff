package memstore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// settings is what stands in the configuration. Absent keys have the values of defaults.
type settings struct {
	Accounts []accountSettings `json:"accounts"`
	// Acting lets the gateway act for a user without the user's password.
	Acting bool `json:"acting"`
	// ReturnPath puts a Return-Path line (RFC 5321 §4.4) in front of what is delivered.
	ReturnPath bool `json:"return_path"`
	// MessageSize is the largest message taken, in octets.
	MessageSize int64 `json:"message_size"`
	// Lease is how long a collected message stays the gateway's when it does not say.
	Lease  Duration `json:"lease"`
	Faults []*Fault `json:"faults"`
}

type accountSettings struct {
	User        string   `json:"user"`
	Password    string   `json:"password"`
	Address     string   `json:"address"`
	Aliases     []string `json:"aliases"`
	DisplayName string   `json:"display_name"`
	// Folders are there beside the inbox, "/" between the parts of a path.
	Folders []string `json:"folders"`
	Quota   int64    `json:"quota"` // octets of all folders; 0: no limit
	// Disabled accounts take mail in and cannot log in.
	Disabled bool `json:"disabled"`
	// ActAs names the users whose mailboxes this one may open with its own password.
	ActAs []string `json:"act_as"`
}

func defaults() settings {
	return settings{MessageSize: 50 << 20, Lease: Duration(5 * time.Minute)}
}

// read decodes and checks the settings, and finds all that is wrong with them at once.
func read(given backends.Settings) (settings, error) {
	s := defaults()
	if err := given.Decode(&s); err != nil {
		return s, err
	}
	var wrong backends.SettingsError
	if s.MessageSize < 0 {
		wrong.Add("message_size", "expected octets, 0 for no limit")
	}
	if s.Lease <= 0 {
		wrong.Add("lease", "expected a time longer than nothing")
	}
	s.checkNames(&wrong)
	for i, f := range s.Faults {
		f.check(&wrong, fmt.Sprintf("faults.%d", i))
	}
	return s, wrong.Err()
}

// checkNames makes sure that each name and address leads to one account.
func (s *settings) checkNames(wrong *backends.SettingsError) {
	owner := make(map[string]int)
	for i, a := range s.Accounts {
		at := func(key string) string { return fmt.Sprintf("accounts.%d.%s", i, key) }
		if a.User == "" {
			wrong.Add(at("user"), "expected a login name")
		}
		if a.Password == "" {
			wrong.Add(at("password"), "expected a password that is not empty")
		}
		if a.Quota < 0 {
			wrong.Add(at("quota"), "expected octets, 0 for no limit")
		}
		names := map[string]string{at("user"): a.User, at("address"): a.Address}
		for j, alias := range a.Aliases {
			names[fmt.Sprintf("%s.%d", at("aliases"), j)] = alias
		}
		for _, path := range slices.Sorted(maps.Keys(names)) {
			name := strings.ToLower(names[path])
			if other, taken := owner[name]; taken && other != i {
				wrong.Add(path, "accounts.%d has this name already", other)
			}
			if name != "" {
				owner[name] = i
			}
		}
	}
}

// Duration is a time.Duration that stands in JSON as "1m30s".
type Duration time.Duration

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`expected a duration such as "30s" or "5m"`)
	}
	*d = Duration(v)
	return nil
}
