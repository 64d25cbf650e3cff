package main

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
)

// TestExampleSettings: with the comments' marks taken away the example has the settings that the
// backend knows, with values of their types.
func TestExampleSettings(t *testing.T) {
	mark := regexp.MustCompile(`(?m)^  #(  |[a-z])`)
	empty := regexp.MustCompile(`(?m)^( *(?:# )?[a-z_]+):$`)
	for _, b := range builtins() {
		t.Run(b.kind, func(t *testing.T) {
			store := b.new(zerolog.Nop())
			d, err := store.Describe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if err := writeSettings(&out, d); err != nil {
				t.Fatal(err)
			}
			text := mark.ReplaceAllString(out.String(), "  $1")
			_, settings, _ := strings.Cut(text, "\nsettings:\n")
			raw, err := config.ParseSettings("settings.yaml", t.TempDir(), []byte(settings), config.Options{})
			if err != nil {
				t.Fatalf("%v in\n%s", err, settings)
			}
			err = store.Configure(t.Context(), backends.Settings{Store: "s", Hostname: "h.example", Domains: []string{"d.example"}, BaseDir: t.TempDir(), Raw: raw, Check: true})
			if wrong, ok := errors.AsType[*backends.SettingsError](err); ok {
				for _, p := range wrong.Problems {
					if strings.Contains(p.Problem, "no such setting") || strings.Contains(p.Problem, "found") {
						t.Errorf("%s: %s in\n%s", p.Path, p.Problem, settings)
					}
				}
			}
			if len(empty.FindAllString(out.String(), -1)) == 0 {
				t.Error("no setting is without a default")
			}
		})
	}
}

func TestWriteSettings(t *testing.T) {
	var out strings.Builder
	err := writeSettings(&out, backends.Description{Name: "mine", Version: "1.0.0", Settings: []backends.Setting{
		{Path: "url", Doc: "Where it is.", Required: true},
		{Path: "mode", Doc: "How.", Default: "fast", Values: []string{"fast", "safe"}},
		{Path: "user.name", Doc: "Who.", Default: "nobody in particular"},
		{Path: "user.key", Doc: "The key.", Secret: true},
		{Path: "hosts[]", Doc: "Others."},
		{Path: "accounts[].user", Doc: "A user.", Required: true},
		{Path: "accounts[].quota", Doc: "Octets.", Default: "1GiB"},
		{Path: "keys.*", Doc: "By name."},
	}})
	const want = `# The settings of mine 1.0.0. A line that begins with "#" and a key shows what holds without it.
settings:
  # Where it is.
  url:
  # How. One of: fast, safe.
  #mode: fast
  #user:
  #  # Who. Without it: nobody in particular.
  #  name:
  #  # The key. A secret: better file:PATH or env:NAME.
  #  key:
  # Others.
  #hosts: []
  accounts:
    # A user.
    - user:
      # Octets.
      #quota: 1GiB
  #keys:
  #  # By name.
  #  KEY:
`
	if err != nil || out.String() != want {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestWriteOddSettings: whatever a plugin says of its settings, the example is YAML in which each of them
// stands, and the default of a secret does not.
func TestWriteOddSettings(t *testing.T) {
	for _, s := range []backends.Setting{
		{Path: "a: b", Default: "x"},
		{Path: `"`, Default: "x"},
		{Path: "- a", Default: "x"},
		{Path: "#a"},
		{Path: "a#"},
		{Path: "@a", Default: "-"},
		{Path: "{a}", Default: "?"},
		{Path: "a..b"},
		{Path: "."},
		{Path: "[]"},
		{Path: "a[][]"},
		{Path: "[].a"},
		{Path: "a", Default: "~"},
		{Path: "a", Default: "-1"},
		{Path: "a", Default: "- 1"},
		{Path: "a", Default: "---"},
		{Path: "a", Default: "<<"},
		{Path: "a", Default: "=", Doc: "a: [\"b", Values: []string{"# x", "{"}},
		{Path: strings.Repeat("a.", 127) + "a"},
	} {
		s.Required = true
		var out strings.Builder
		if err := writeSettings(&out, backends.Description{Name: "mine", Settings: []backends.Setting{s}}); err != nil {
			t.Fatal(err)
		}
		var read struct{ Settings map[string]any }
		if err := yaml.Unmarshal([]byte(out.String()), &read); err != nil || len(read.Settings) != 1 {
			t.Errorf("%+v: %v in\n%s", s, err, out.String())
		}
	}
}

// TestWriteSettingsOfBoth: a setting that is also a key with others below it loses none of them.
func TestWriteSettingsOfBoth(t *testing.T) {
	var out strings.Builder
	err := writeSettings(&out, backends.Description{Name: "mine", Version: "1", Settings: []backends.Setting{
		{Path: "a", Doc: "The whole.", Default: "x"}, {Path: "a.b", Doc: "A part.", Required: true},
	}})
	const want = "  # The whole. Without it: x.\n  a:\n    # A part.\n    b:\n"
	if err != nil || !strings.HasSuffix(out.String(), "settings:\n"+want) {
		t.Errorf("%v in\n%s", err, out.String())
	}
}
