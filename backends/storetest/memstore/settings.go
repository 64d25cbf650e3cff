package memstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// settings is what stands in the configuration. Absent keys have the values of defaults.
type settings struct {
	Accounts []accountSettings `json:"accounts"`
	// Impersonation lets the gateway act for a user without the user's password.
	Impersonation bool `json:"impersonation"`
	// ReturnPath puts a Return-Path line (RFC 5321 §4.4) in front of what is delivered.
	ReturnPath bool `json:"return_path"`
	// MessageSize is the largest message taken, in octets.
	MessageSize int64 `json:"message_size"`
	// Lease is how long a collected message stays the gateway's when it does not say.
	Lease  Duration `json:"lease"`
	Faults []*Fault `json:"faults"`
	// Lists are addresses whose mail their members get.
	Lists []list `json:"lists"`
}

type list struct {
	Address string   `json:"address"`
	Members []string `json:"members"` // addresses of accounts
}

// preferences are those of [backends.Preferences], in words.
type preferences struct {
	RichText string `json:"rich_text"` // never, always, as-sent
	Format   string `json:"format"`    // mime, uuencode
	Charset  string `json:"charset"`
}

var (
	richTexts = []string{"", "never", "always", "as-sent"} // by backends.RichText
	formats   = []string{"", "mime", "uuencode"}           // by backends.Format
)

func (p preferences) check(wrong *backends.SettingsError, at string) {
	if !slices.Contains(richTexts, p.RichText) {
		wrong.Add(at+"rich_text", "expected never, always or as-sent")
	}
	if !slices.Contains(formats, p.Format) {
		wrong.Add(at+"format", "expected mime or uuencode")
	}
}

func (p preferences) public() backends.Preferences {
	return backends.Preferences{
		RichText: backends.RichText(slices.Index(richTexts, p.RichText)), Format: backends.Format(slices.Index(formats, p.Format)), Charset: p.Charset,
	}
}

type accountSettings struct {
	User     string `json:"user"`
	Password string `json:"password"`
	// Token is a bearer token that is good for the account; empty: none is.
	Token string `json:"token"`
	// Certificate is the SHA-256 of the client certificate that is good for the account, in
	// hexadecimal; empty: none is.
	Certificate string   `json:"certificate"`
	Address     string   `json:"address"`
	Aliases     []string `json:"aliases"`
	DisplayName string   `json:"display_name"`
	// Folders are there beside the inbox, "/" between the parts of a path.
	Folders []string `json:"folders"`
	Quota   int64    `json:"quota"` // octets of all folders; 0: no limit
	// Disabled accounts take mail in and cannot log in.
	Disabled bool `json:"disabled"`
	// SendAs and OnBehalf are addresses that the account may send as, or on behalf of, beside its own.
	SendAs   []string `json:"send_as"`
	OnBehalf []string `json:"on_behalf"`
	// ActAs names the users whose mailboxes this one may open with its own password.
	ActAs []string `json:"act_as"`
	// Preferences are how the account wants messages to be written.
	Preferences preferences `json:"preferences"`
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
	s.checkAccounts(&wrong)
	for i, f := range s.Faults {
		f.check(&wrong, fmt.Sprintf("faults.%d", i))
	}
	return s, wrong.Err()
}

// checkAccounts makes sure that each account is whole, and that each name leads to one.
func (s *settings) checkAccounts(wrong *backends.SettingsError) {
	owners := make(map[string]int)
	for i, a := range s.Accounts {
		at := fmt.Sprintf("accounts.%d.", i)
		a.check(wrong, at)
		for _, n := range a.names(at) {
			name := strings.ToLower(n.name)
			if other, taken := owners[name]; taken && other != i {
				wrong.Add(n.path, "accounts.%d has this name already", other)
			}
			owners[name] = i
		}
	}
	for i, l := range s.Lists {
		for j, member := range l.Members {
			if _, there := owners[strings.ToLower(member)]; !there {
				wrong.Add(fmt.Sprintf("lists.%d.members.%d", i, j), "there is no such address")
			}
		}
		if _, taken := owners[strings.ToLower(l.Address)]; taken || !strings.Contains(l.Address, "@") {
			wrong.Add(fmt.Sprintf("lists.%d.address", i), "expected an address that no account has")
		}
	}
	for i, a := range s.Accounts {
		for j, user := range a.ActAs {
			if !slices.ContainsFunc(s.Accounts, func(other accountSettings) bool { return strings.EqualFold(other.User, user) }) {
				wrong.Add(fmt.Sprintf("accounts.%d.act_as.%d", i, j), "there is no such user")
			}
		}
	}
}

func (a *accountSettings) check(wrong *backends.SettingsError, at string) {
	if a.User == "" {
		wrong.Add(at+"user", "expected a login name")
	}
	if a.Password == "" {
		wrong.Add(at+"password", "expected a password that is not empty")
	}
	if sum, err := hex.DecodeString(a.Certificate); err != nil || len(sum) != 0 && len(sum) != sha256.Size {
		wrong.Add(at+"certificate", "expected a SHA-256 in hexadecimal")
	}
	a.Preferences.check(wrong, at+"preferences.")
	if a.Quota < 0 {
		wrong.Add(at+"quota", "expected octets, 0 for no limit")
	}
	if slices.Contains(a.Folders, "") {
		wrong.Add(at+"folders."+strconv.Itoa(slices.Index(a.Folders, "")), "expected a path; the inbox is always there")
	}
	for _, n := range a.names(at) {
		if n.path != at+"user" && !strings.Contains(n.name, "@") {
			wrong.Add(n.path, "expected an address")
		}
	}
}

// named is a name of an account, and where in the settings it stands.
type named struct{ path, name string }

func (a *accountSettings) names(at string) []named {
	all := []named{{at + "user", a.User}}
	if a.Address != "" {
		all = append(all, named{at + "address", a.Address})
	}
	for i, alias := range a.Aliases {
		all = append(all, named{at + "aliases." + strconv.Itoa(i), alias})
	}
	return all
}

// Duration is a time.Duration that stands in JSON as "1m30s".
type Duration time.Duration

// SettingType implements [backends.SettingTyped].
func (Duration) SettingType() backends.SettingType { return backends.SettingDuration }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf(`expected a duration such as "30s" or "5m"`)
	}
	*d = Duration(v)
	return nil
}
