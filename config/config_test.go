package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what was found into the golden files")

// options are the surroundings of a test: nothing of this machine is in them.
func options() Options {
	return Options{
		Builtins: []string{"exchange", "imap", "maildir"},
		Env: func(name string) (string, bool) {
			value, ok := map[string]string{"STORE_PASSWORD": "open sesame", "EMPTY": ""}[name]
			return value, ok
		},
		Hostname: func() (string, error) { return "gate", nil },
	}
}

// TestProblems reads each testdata/problems/*.txtar: its dipylon.yaml, with its other files
// beside it, has the problems of its file "problems". An empty one means that it is good.
func TestProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			content := unpack(t, archive, dir)
			_, err = Parse("dipylon.yaml", dir, content["dipylon.yaml"], options())
			got := ""
			if err != nil {
				if _, ok := errors.AsType[*Error](err); !ok {
					t.Fatalf("an error of type %T: %v", err, err)
				}
				got = strings.ReplaceAll(err.Error(), dir, "$DIR") + "\n"
			}
			if *update {
				rewrite(t, file, archive, got)
				return
			}
			if diff := cmp.Diff(string(content["problems"]), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func unpack(t *testing.T, archive *txtar.Archive, dir string) map[string][]byte {
	t.Helper()
	content := make(map[string][]byte)
	for _, f := range archive.Files {
		content[f.Name] = f.Data
		mode := fs.FileMode(0o600)
		if strings.HasPrefix(f.Name, "bin/") {
			mode = 0o700
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, mode); err != nil {
			t.Fatal(err)
		}
	}
	return content
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got string) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name == "problems" {
			archive.Files[i].Data = []byte(got)
		}
	}
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

// parse reads a configuration that is expected to be good.
func parse(t *testing.T, dir, text string) *Config {
	t.Helper()
	cfg, err := Parse("dipylon.yaml", dir, []byte(text), options())
	if err != nil {
		t.Fatalf("a good configuration is refused:\n%v", err)
	}
	return cfg
}

func TestDefault(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Default(dir, options())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Hostname != "dipylon.localhost" || cfg.State.Folder != filepath.Join(dir, "state") || cfg.StateFolder != cfg.State.Folder || !cfg.TLS.SelfSigned() {
		t.Errorf("hostname %q, state %+v, TLS %+v", cfg.Hostname, cfg.State, cfg.TLS)
	}
	if len(cfg.Stores) != 1 || cfg.Stores[0].Plugin.Builtin != "maildir" || string(cfg.Stores[0].Settings.JSON) != `{"root":"mail"}` {
		t.Errorf("stores: %+v", cfg.Stores)
	}
	for _, l := range cfg.Listeners {
		if !strings.HasPrefix(l.Address, "127.0.0.1:1") {
			t.Errorf("%s listens on %s: not an unprivileged port of the loopback address", l.Protocol, l.Address)
		}
	}
	if len(cfg.Listeners) != 5 {
		t.Errorf("%d listeners", len(cfg.Listeners))
	}
}

// TestDefaultsAreWithinBounds writes the defaults out and reads them again, which compares
// each with its bounds.
func TestDefaultsAreWithinBounds(t *testing.T) {
	dir := t.TempDir()
	cfg := parse(t, dir, "stores: [{name: a, plugin: maildir}]")
	written, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(t, dir, string(written)).YAML()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), string(again)); diff != "" {
		t.Errorf("what is shown reads differently (-first +second):\n%s", diff)
	}
}

func TestSettingsBecomeJSON(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pw"), []byte("trailing line ends go\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := parse(t, dir, `
stores:
  - name: a
    plugin: imap
    settings:
      text: "ünïcode \" and \\ and \t"
      yes: yes
      truth: true
      nothing: null
      numbers: [1, -2, 0x10, 0o17, 1_000, 1.5, 1e3, 18446744073709551615]
      2026-11-22: 2026-11-22
      nested: {b: {c: []}, a: {}}
      password: env:STORE_PASSWORD
      empty: env:EMPTY
      file: file:pw
      literal: literal:env:STORE_PASSWORD
      list: [env:STORE_PASSWORD]
`)
	want := `{"text":"ünïcode \" and \\ and \t","yes":"yes","truth":true,"nothing":null,` +
		`"numbers":[1,-2,16,15,1000,1.5,1e3,18446744073709551615],"2026-11-22":"2026-11-22","nested":{"b":{"c":[]},"a":{}},` +
		`"password":"open sesame","empty":"","file":"trailing line ends go","literal":"env:STORE_PASSWORD","list":["open sesame"]}`
	if diff := cmp.Diff(want, string(cfg.Stores[0].Settings.JSON)); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestParseSettings(t *testing.T) {
	dir := t.TempDir()
	got, err := ParseSettings("s.yaml", dir, []byte("host: a\npassword: env:STORE_PASSWORD\n"), options())
	if err != nil || string(got) != `{"host":"a","password":"open sesame"}` {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := ParseSettings("s.yaml", dir, nil, options()); err != nil || string(got) != "{}" {
		t.Errorf("of an empty file: %s, %v", got, err)
	}
	for text, want := range map[string]string{
		"a: 1\na: 2":       "s.yaml:2:1: a: the key stands on line 1 already",
		"- a":              "s.yaml:1:1: expected a mapping, found a list",
		"a: {b: env:NOPE}": "s.yaml:1:8: a.b: the environment has no variable NOPE",
		"a: [":             "s.yaml:1:1: this is not YAML: did not find expected node content",
	} {
		if _, err := ParseSettings("s.yaml", dir, []byte(text), options()); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, mostSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"plain": "plain", "": "", "env:STORE_PASSWORD": "open sesame", "literal:file:x": "file:x",
	} {
		if got, err := Secret(text, dir, options()); err != nil || got != want {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"env:NOPE", "env:", "file:", "file:absent", "file:big", "file:."} {
		if got, err := Secret(text, dir, options()); err == nil {
			t.Errorf("%q is %q", text, got)
		}
	}
}

// TestJoin: problems of several sources are told in the file's order, each once.
func TestJoin(t *testing.T) {
	at := func(line int, text string) Problem { return Problem{Position: Position{"f", line, 1}, Text: text} }
	if err := Join(nil); err != nil {
		t.Errorf("no problems are %v", err)
	}
	err := Join([]Problem{at(3, "c"), at(1, "a"), at(3, "c"), at(2, "b")})
	if want := "f:1:1: a\nf:2:1: b\nf:3:1: c"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestShowHidesSecrets(t *testing.T) {
	dir := t.TempDir()
	unpack(t, &txtar.Archive{Files: []txtar.File{{Name: "bin/backend", Data: []byte("#!/bin/sh\n")}}}, dir)
	cfg := parse(t, dir, `
stores:
  - name: a
    plugin: {command: [bin/backend, --fast], env: {API_TOKEN: hunter1, REFERRED_TOKEN: "env:STORE_PASSWORD", PLAIN: shown}}
    settings:
      host: mail.example
      password: hunter2
      referred_password: env:STORE_PASSWORD
      client_secret: {id: 7, value: hunter3}
      accounts: [{user: me, password: hunter4}]
      token: literal:hunter5
      oauth: {seal_key: hunter6, certificate_key: /etc/app.key, endpoint: https://login.example/token}
`)
	shown, err := cfg.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter", "open sesame"} {
		if bytes.Contains(shown, []byte(secret)) {
			t.Errorf("%q is shown:\n%s", secret, shown)
		}
	}
	for _, visible := range []string{"mail.example", "env:STORE_PASSWORD", "PLAIN: shown", "--fast", "user: me", "/etc/app.key", "https://login.example/token"} {
		if !bytes.Contains(shown, []byte(visible)) {
			t.Errorf("%q is not shown:\n%s", visible, shown)
		}
	}
}

func TestPosition(t *testing.T) {
	cfg := parse(t, t.TempDir(), `stores:
  - name: other
    plugin: maildir
  - name: sakes
    plugin: imap
    settings:
      host: mail.example
      servers:
        - {address: one}
        - {address: two}
      tls:
        ca: x
`)
	for _, test := range []struct{ path, want string }{
		{"host", "dipylon.yaml:7:7"},
		{"servers.1.address", "dipylon.yaml:10:12"},
		{"servers[1].address", "dipylon.yaml:10:12"},
		{"servers.7.address", "dipylon.yaml:8:7"},
		{"tls.ca", "dipylon.yaml:12:9"},
		{"tls.key", "dipylon.yaml:11:7"},
		{"absent", "dipylon.yaml:6:5"},
		{"", "dipylon.yaml:6:5"},
	} {
		t.Run(test.path, func(t *testing.T) {
			if got := cfg.Position("sakes", test.path).String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if got := cfg.Position("other", "root").String(); got != "dipylon.yaml:2:5" {
		t.Errorf("a store without settings is found at %s", got)
	}
	if got := cfg.Position("absent", "root").String(); got != "dipylon.yaml" {
		t.Errorf("a store that is not there is found at %s", got)
	}
	err := cfg.SettingsError("sakes", []Problem{{Path: "tls.ca", Text: "no such file"}, {Path: "host", Text: "expected a name", Suggest: "use an A-label"}})
	want := "dipylon.yaml:7:7: store sakes: settings.host: expected a name (use an A-label)\ndipylon.yaml:12:9: store sakes: settings.tls.ca: no such file"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExample(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Load("dipylon.example.yaml", options())
	if err != nil {
		t.Fatalf("the example is refused:\n%v", err)
	}
	if cfg.Dir() != filepath.Dir(cfg.StateFolder) {
		t.Errorf("the state folder %s is not beside the file, in %s", cfg.StateFolder, cfg.Dir())
	}
	// What the example shows as defaults are the defaults.
	data, err := os.ReadFile("dipylon.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	example := parse(t, dir, string(data))
	plain := parse(t, dir, "stores: [{name: a, plugin: maildir}]")
	for _, part := range []struct{ name, want, got any }{
		{"limits", plain.Limits, example.Limits},
		{"timeouts", plain.Timeouts, example.Timeouts},
		{"policy", plain.Policy, example.Policy},
		{"pop3", plain.POP3, example.POP3},
		{"smtp", plain.SMTP, example.SMTP},
		{"submission", plain.Submission, example.Submission},
		{"log", plain.Log, example.Log},
		{"routes", plain.Routes, example.Routes},
		{"relay", plain.Relay, example.Relay},
		{"listeners", plain.Listeners, example.Listeners},
	} {
		if diff := cmp.Diff(part.want, part.got, cmpopts.EquateComparable(Password{})); diff != "" {
			t.Errorf("%s of the example differ from the defaults (-default +example):\n%s", part.name, diff)
		}
	}
}

// TestExampleHasEveryKey finds each key that a configuration can have in the example.
func TestExampleHasEveryKey(t *testing.T) {
	data, err := os.ReadFile("dipylon.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range allKeys() {
		if !bytes.Contains(data, []byte(key+":")) {
			t.Errorf("the example says nothing of the key %s", key)
		}
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "absent.yaml"), options())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that is fs.ErrNotExist", err)
	}
}

func TestHostnameOfTheMachine(t *testing.T) {
	for _, test := range []struct{ machine, want string }{
		{"gate", "dipylon.localhost"},
		{"gate.sakes.example", "gate.sakes.example"},
		{"GATE.Sakes.Example.", "gate.sakes.example"},
		{"not a name.example", "dipylon.localhost"},
		{"", "dipylon.localhost"},
	} {
		o := options()
		o.Hostname = func() (string, error) { return test.machine, nil }
		cfg, err := Parse("dipylon.yaml", "/", []byte("stores: [{name: a, plugin: maildir}]"), o)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Hostname != test.want {
			t.Errorf("on %q the gateway is called %q, want %q", test.machine, cfg.Hostname, test.want)
		}
	}
}

// FuzzParse: whatever the file, the answer is a configuration that can be shown and read
// again as the same one, or problems with a place each.
func FuzzParse(f *testing.F) {
	for _, glob := range []string{"*.yaml", "testdata/problems/*.txtar"} {
		files, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if strings.HasSuffix(file, ".txtar") {
				data = txtar.Parse(data).Files[0].Data
			}
			f.Add(data)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, err := Parse("f", dir, data, options())
		if err != nil {
			wrong, ok := errors.AsType[*Error](err)
			if !ok || len(wrong.Problems) == 0 {
				t.Fatalf("an error of type %T: %v", err, err)
			}
			for _, p := range wrong.Problems {
				if p.Text == "" || p.File != "f" {
					t.Fatalf("a problem without a text or a file: %+v", p)
				}
			}
			return
		}
		for _, s := range cfg.Stores {
			if !json.Valid(s.Settings.JSON) {
				t.Fatalf("settings are not JSON: %q", s.Settings.JSON)
			}
			cfg.Position(s.Name, fmt.Sprintf("%s.0[1].", data[:min(len(data), 20)]))
		}
		shown, err := cfg.YAML()
		if err != nil {
			t.Fatalf("it cannot be shown: %v", err)
		}
		again, err := Parse("f", dir, shown, options())
		if err != nil {
			t.Fatalf("what is shown cannot be read:\n%v\n%s", err, shown)
		}
		if twice, err := again.YAML(); err != nil || !bytes.Equal(twice, shown) {
			t.Fatalf("what is shown is read as another one (%v):\n%s\n%s", err, shown, twice)
		}
	})
}
