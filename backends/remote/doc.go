// Package remote is what backends share whose store is a server elsewhere: whom they trust over
// TLS and how they say that they do not, settings that many of them have, the SMTP or LMTP server
// that takes a store's mail in ([Hop]), and what the replies of one are in the contract.
package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Version is the version that a built-in backend says it has: the binary's.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

// Duration is written in settings as Go writes them: "30s".
type Duration time.Duration

// UnmarshalJSON reads a text such as "30s", not negative.
func (d *Duration) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("expected a duration such as \"30s\"")
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("expected a duration such as \"30s\"")
	}
	*d = Duration(v)
	return nil
}

// SettingType implements [backends.SettingTyped].
func (Duration) SettingType() backends.SettingType { return backends.SettingDuration }

// Day is a day that is written as 2027-03-31, or a moment as of RFC 3339. The zero value is none.
type Day struct{ time.Time }

// UnmarshalJSON reads a text.
func (d *Day) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, text); err == nil {
				d.Time = t
				return nil
			}
		}
	}
	return errors.New(`expected a date such as "2027-03-31"`)
}

// SettingType implements [backends.SettingTyped].
func (Day) SettingType() backends.SettingType { return backends.SettingText }

// OneOf notes a problem with a setting that has none of the values it may have.
func OneOf(wrong *backends.SettingsError, path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		wrong.Add(path, "expected one of %s", strings.Join(choices, ", "))
	}
}

// MailboxOf takes the detail away from an address: "ada+lists@x" is ada@x's (RFC 5233).
func MailboxOf(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	local, _, _ := strings.Cut(address[:at], "+")
	return local + address[at:]
}
