package backends

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sample struct {
	Root  string            `json:"root"`
	Quota int64             `json:"quota"`
	Since time.Time         `json:"since"`
	TLS   *sampleTLS        `json:"tls"`
	Users []sampleUser      `json:"users"`
	Extra map[string]uint16 `json:"extra"`
	Pin   []byte            `json:"pin"`
	sampleBase
	hidden string
}

type sampleTLS struct {
	CA     string `json:"ca"`
	Verify bool   `json:"verify"`
}

type sampleUser struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

type sampleBase struct {
	Dialect string `json:"dialect"`
}

func TestSettingsDecode(t *testing.T) {
	table := []struct {
		name, raw string
		problems  []SettingsProblem
	}{
		{name: "nothing", raw: ""},
		{name: "empty", raw: "{}"},
		{name: "all", raw: `{"root":"a","quota":1,"since":"2026-01-02T03:04:05Z","tls":{"ca":"x"},"users":[{"name":"n"}],"extra":{"a":1},"pin":"AAE=","dialect":"d"}`},
		{name: "null is absent", raw: `{"tls":null,"users":null,"quota":null}`},
		{name: "not JSON", raw: `{"root":`, problems: []SettingsProblem{{"", "the settings are not JSON, from octet 8 on", ""}}},
		{name: "a list", raw: `[]`, problems: []SettingsProblem{{"", "expected a mapping, found a list", ""}}},
		{name: "misspelt", raw: `{"rot":"a"}`, problems: []SettingsProblem{{"rot", "there is no such setting", "did you mean root?"}}},
		{name: "other case", raw: `{"Root":"a"}`, problems: []SettingsProblem{{"Root", "there is no such setting", "did you mean root?"}}},
		{name: "not alike", raw: `{"colour":"a"}`, problems: []SettingsProblem{{"colour", "there is no such setting", ""}}},
		{name: "not exported", raw: `{"hidden":"a"}`, problems: []SettingsProblem{{"hidden", "there is no such setting", ""}}},
		{name: "deep and all at once", raw: `{"quota":"s3cret","tls":{"verfy":1,"ca":["s3cret"]},"users":[{"name":"n"},{"password":7}],"extra":{"a":70000}}`, problems: []SettingsProblem{
			{"extra.a", "expected a whole number that is not negative, found one that does not fit", ""},
			{"quota", "expected a whole number, found a text", ""},
			{"tls.ca", "expected a text, found a list", ""},
			{"tls.verfy", "there is no such setting", "did you mean verify?"},
			{"users.1.password", "expected a text, found a number", ""},
		}},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			err := Settings{Raw: []byte(c.raw)}.Decode(&sample{hidden: "x"})
			var got *SettingsError
			if err != nil && !errors.As(err, &got) {
				t.Fatalf("error %T, want *SettingsError", err)
			}
			if got == nil {
				got = &SettingsError{}
			}
			if d := cmp.Diff(c.problems, got.Problems); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSettingsDecodeKeepsDefaults(t *testing.T) {
	into := sample{Root: "default", Quota: 5}
	if err := (Settings{Raw: []byte(`{"quota":7}`)}).Decode(&into); err != nil {
		t.Fatal(err)
	}
	if into.Root != "default" || into.Quota != 7 {
		t.Errorf("root %q, quota %d", into.Root, into.Quota)
	}
}

// FuzzSettingsDecode: whatever passes can be read, and whatever fails says why.
func FuzzSettingsDecode(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"root":1}`, `{"tls":{"ca":null}}`, `{"users":[{}]}`, `{"":{}}`, "\x00", `{"since":"x"}`, `{"pin":"!"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var into sample
		err := Settings{Raw: raw}.Decode(&into)
		var problems *SettingsError
		if err != nil && (!errors.As(err, &problems) || len(problems.Problems) == 0) {
			t.Fatalf("error %v", err)
		}
		if err == nil && len(raw) > 0 && json.Valid(raw) && json.Unmarshal(raw, new(sample)) != nil {
			t.Fatal("passed, and cannot be read")
		}
	})
}
