package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

func TestSettings(t *testing.T) {
	base := t.TempDir()
	writeFile(t, filepath.Join(base, "file"), "")
	writeFile(t, filepath.Join(base, "bad.yaml"), "accounts:\n  - adress: a@b.example\n")
	for _, c := range []struct {
		name, raw string
		want      settings
		problems  []string // path: part of the problem, or of the suggestion
	}{
		{name: "nothing", raw: "", want: settings{ownSettings: ownSettings{
			Root: base + "/mail", Accounts: base + "/mail/accounts.yaml", LF: true, DetailSeparator: "+",
		}}},
		{name: "everything", raw: `{"root": "r", "accounts": "a.yaml", "quota": "1GiB", "message_limit": 1000, "lf": false,
			"act_for": true, "detail_separator": "", "postmaster": "Anna@Sakes.Example"}`, want: settings{ownSettings: ownSettings{
			Root: base + "/r", Accounts: base + "/a.yaml", Quota: 1 << 30, MessageLimit: 1000, ActFor: true,
			Postmaster: postmasterAddress{address{"anna", "sakes.example"}},
		}}},
		{name: "absolute paths", raw: `{"root": "` + base + `/x", "accounts": "` + base + `/y"}`, want: settings{ownSettings: ownSettings{
			Root: base + "/x", Accounts: base + "/y", LF: true, DetailSeparator: "+",
		}}},
		{name: "null is nothing", raw: `{"quota": null, "root": null, "lf": null}`, want: settings{ownSettings: ownSettings{
			Root: base + "/mail", Accounts: base + "/mail/accounts.yaml", LF: true, DetailSeparator: "+",
		}}},
		{name: "unknown key", raw: `{"qouta": "1GiB"}`, problems: []string{"qouta: did you mean quota?"}},
		{name: "all at once", raw: `{"quota": "much", "lf": "yes", "detail_separator": "++", "postmaster": "anna"}`, problems: []string{
			"quota: number of octets", "lf: true or false", "detail_separator: one character", "postmaster: address",
		}},
		{name: "negative quota", raw: `{"quota": -1}`, problems: []string{"quota: number of octets"}},
		{name: "no JSON", raw: `{`, problems: []string{": not JSON"}},
		{name: "no mapping", raw: `[]`, problems: []string{": expected a mapping"}},
		{name: "root is a file", raw: `{"root": "file"}`, problems: []string{"root: not a folder"}},
		{name: "root in a file", raw: `{"root": "file/mail", "accounts": "a"}`, problems: []string{"root: not a directory"}},
		{name: "bad accounts", raw: `{"accounts": "bad.yaml"}`, problems: []string{`accounts: line 2: unknown key "adress"`}},
		{name: "accounts are a folder", raw: `{"accounts": "."}`, problems: []string{"accounts: is a directory"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := readSettings(backends.Settings{Raw: []byte(c.raw), BaseDir: base})
			if len(c.problems) == 0 {
				if err != nil || got.ownSettings != c.want.ownSettings {
					t.Errorf("%+v, %v; want %+v", got.ownSettings, err, c.want.ownSettings)
				}
				return
			}
			found, ok := errors.AsType[*backends.SettingsError](err)
			if !ok {
				t.Fatalf("%v is no SettingsError", err)
			}
			for _, want := range c.problems {
				if !tells(found, want) {
					t.Errorf("%v does not tell %q", found, want)
				}
			}
		})
	}
}

func tells(found *backends.SettingsError, want string) bool {
	path, part, _ := strings.Cut(want, ": ")
	for _, p := range found.Problems {
		if p.Path == strings.TrimSuffix(path, ":") && strings.Contains(p.Problem+" "+p.Suggest, part) {
			return true
		}
	}
	return false
}

func TestCheckCreatesNothing(t *testing.T) {
	base := t.TempDir()
	in := backends.Settings{Raw: []byte(`{"root": "deep/mail"}`), BaseDir: base, Check: true}
	s := New()
	if err := s.Configure(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(base); len(left) != 0 {
		t.Errorf("a check has made %v", left)
	}
	in.Check = false
	if err := s.Configure(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(base, "deep", "mail"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the root folder: %v, %v", info, err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("a new store is not healthy: %v", err)
	}
}

func TestOctets(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "12B": 12, "1KiB": 1024, "1kb": 1000, "1.5 GiB": 3 << 29, "2TB": 2e12, " 5 MB ": 5e6,
		"": -1, "x": -1, "-1": -1, "1 GiBB": -1, "1.2.3": -1, "GiB": -1, "9e99": -1, "99999999999 TiB": -1, "1K": -1, "NaN": -1, "inf": -1,
	} {
		got, err := parseOctets(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}
