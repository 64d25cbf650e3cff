package backends_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends"
)

type seconds time.Duration

func (seconds) SettingType() backends.SettingType { return backends.SettingDuration }

type inner struct {
	Secret string `json:"secret"`
}

type documented struct {
	inner2
	Name   string            `json:"name"`
	On     bool              `json:"on"`
	Wait   seconds           `json:"wait"`
	Inner  inner             `json:"inner"`
	Users  []inner           `json:"users"`
	Hosts  []string          `json:"hosts"`
	Keys   map[string]string `json:"keys"`
	Some   *[]string         `json:"some"`
	hidden int
	None   int `json:"-"`
}

type inner2 struct {
	Most int `json:"most"`
}

func TestSchemaOf(t *testing.T) {
	got := backends.SchemaOf(
		documented{inner2: inner2{Most: 3}, Name: "x", Wait: seconds(90 * time.Minute), Inner: inner{"do not show"}, hidden: 1, Hosts: []string{"a"}},
		map[string]backends.SettingNote{
			"most": {Doc: "How many."}, "name": {Doc: "A name.", Values: []string{"x", "y"}, Required: true},
			"inner.secret": {Doc: "It.", Secret: true}, "some[]": {Default: "all"},
		})
	want := []backends.Setting{
		{Path: "most", Type: backends.SettingNumber, Default: "3", Doc: "How many."},
		{Path: "name", Type: backends.SettingText, Default: "x", Doc: "A name.", Values: []string{"x", "y"}, Required: true},
		{Path: "on", Type: backends.SettingBoolean, Default: "false"},
		{Path: "wait", Type: backends.SettingDuration, Default: "1h30m"},
		{Path: "inner.secret", Type: backends.SettingText, Doc: "It.", Secret: true},
		{Path: "users[].secret", Type: backends.SettingText},
		{Path: "hosts[]", Type: backends.SettingText},
		{Path: "keys.*", Type: backends.SettingText},
		{Path: "some[]", Type: backends.SettingText, Default: "all"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSchemaOfWithANoteTooMany(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a note on a setting that is not there is taken")
		}
	}()
	backends.SchemaOf(inner{}, map[string]backends.SettingNote{"other": {}})
}
