package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func unconfigured(s *suite) string {
	if s.New == nil {
		return "the target gives no store that is not configured (New)"
	}
	return ""
}

func configurable(s *suite) string {
	if s.Target.Configure == nil {
		return "the target has no way to try settings (New or Configure)"
	}
	return ""
}

var describeCases = []testcase{
	{"before-configure", []need{unconfigured}, func(t *trial) {
		fresh, err := t.New(t.ctx)
		if err != nil {
			t.Fatalf("New: %w", err)
		}
		t.Cleanup(func() { _ = fresh.Close() })
		t.promptly("Describe before Configure", func() {
			d, err := fresh.Describe(t.ctx)
			if err != nil {
				t.Errorf("Describe before Configure: %w", err)
			} else if d.Name != t.description.Name || d.Version != t.description.Version {
				t.Errorf("it is %s %s before Configure, and %s %s after", d.Name, d.Version, t.description.Name, t.description.Version)
			}
		})
	}},
	{"name-and-version", nil, func(t *trial) {
		if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`).MatchString(t.description.Name) {
			t.Errorf("the name %q is not of lower case letters, digits and hyphens", t.description.Name)
		}
		if strings.TrimSpace(t.description.Version) == "" {
			t.Errorf("it has no version")
		}
	}},
	{"at-once", nil, func(t *trial) {
		// It does not touch the network, so that a second is plenty.
		began := time.Now()
		t.describe()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	}},
	{"the-same-again", nil, func(t *trial) {
		if d := t.describe(); !reflect.DeepEqual(d, t.description) {
			t.Errorf("first it was %+v, then %+v", t.description, d)
		}
	}},
	{"capabilities", nil, capabilitiesAreTrue},
	{"credentials", nil, func(t *trial) {
		for _, k := range t.description.Credentials {
			if k < backends.CredentialPassword || k > backends.CredentialImpersonation {
				t.Errorf("the kind of credential %d is none", k)
			}
		}
		if t.has.Reader && len(t.description.Credentials) == 0 {
			t.Errorf("its maildrops can be read, and it takes no kind of credential")
		}
	}},
	{"mechanisms", nil, func(t *trial) {
		if (len(t.description.Mechanisms) > 0) != t.has.Authenticator {
			t.Errorf("it names the mechanisms %q, and Authenticator is %v", t.description.Mechanisms, t.has.Authenticator)
		}
		for _, m := range t.description.Mechanisms { // RFC 4422 §3.1
			if !regexp.MustCompile(`^[A-Z0-9_-]{1,20}$`).MatchString(m) {
				t.Errorf("%q is not the name of a SASL mechanism", m)
			}
		}
	}},
	{"limits", nil, func(t *trial) {
		l := t.description.Limits
		if l.MessageSize < 0 || l.Recipients < 0 || l.Maildrops < 0 || l.FetchesAtOnce < 0 || l.RemovalsAtATime < 0 {
			t.Errorf("a limit is negative: %+v", l)
		}
	}},
}

func (t *trial) describe() backends.Description {
	d, err := t.store.Describe(t.ctx)
	if err != nil {
		t.Fatalf("Describe: %w", err)
	}
	return d
}

// capabilitiesAreTrue: what is claimed can be called, and what is not claimed cannot be.
func capabilitiesAreTrue(t *trial) {
	said, can := t.description.Capabilities, backends.CapabilitiesOf(t.store)
	check := func(name string, said, can bool) {
		if said && !can {
			t.Errorf("it says that it is a %s, and does not implement it", name)
		}
	}
	check("Reader", said.Reader, can.Reader)
	check("Receiver", said.Receiver, can.Receiver)
	check("Sender", said.Sender, can.Sender)
	check("Outbox", said.Outbox, can.Outbox)
	check("Authenticator", said.Authenticator, can.Authenticator)
	check("judge of senders", said.SendRights, can.SendRights)
	for name, call := range t.smallCalls() {
		has, err := call()
		switch {
		case has && backends.KindOf(err) == backends.Unsupported:
			t.Errorf("it says that it is a %s, and answers: %v", name, err)
		case !has && err == nil:
			t.Errorf("it says that it is no %s, and the call succeeds", name)
		case !has && backends.KindOf(err) != backends.Unsupported:
			t.Errorf("it says that it is no %s, and answers %q, which is not of the kind unsupported", name, err)
		}
	}
}

// smallCalls are harmless calls of each capability that the store implements: whether the
// capability is claimed, and what came of the call.
func (t *trial) smallCalls() map[string]func() (bool, error) {
	calls := make(map[string]func() (bool, error))
	if r, ok := t.store.(backends.Reader); ok {
		calls["Reader"] = func() (bool, error) {
			d, err := r.Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
			if err == nil {
				_ = d.Close()
			}
			return t.has.Reader, err
		}
	}
	if r, ok := t.store.(backends.Receiver); ok {
		calls["Receiver"] = func() (bool, error) {
			_, err := r.Resolve(t.ctx, backends.ResolveQuery{Recipients: backends.To(t.Address)})
			return t.has.Receiver, err
		}
	}
	if r, ok := t.store.(backends.SendRights); ok {
		calls["judge of senders"] = func() (bool, error) {
			_, err := r.MaySend(t.ctx, backends.MaySendQuery{Account: "storetest-no-such-account", Address: t.Address})
			return t.has.SendRights, err
		}
	}
	if o, ok := t.store.(backends.Outbox); ok {
		calls["Outbox"] = func() (bool, error) { return t.has.Outbox, o.Settle(t.ctx, nil) }
	}
	if a, ok := t.store.(backends.Authenticator); ok && len(t.description.Mechanisms) > 0 || ok && !t.has.Authenticator {
		mechanism := append(slices.Clone(t.description.Mechanisms), "PLAIN")[0]
		calls["Authenticator"] = func() (bool, error) {
			e, err := a.Authenticate(t.ctx, mechanism, backends.Peer{})
			if err == nil {
				defer e.Close() //nolint:errcheck // only its beginning is looked at
				_, _, err = e.Next(t.ctx, nil)
			}
			return t.has.Authenticator, err
		}
	}
	return calls
}

var configureCases = []testcase{
	{"good-settings", []need{configurable}, func(t *trial) {
		settings := t.Settings
		settings.Check, settings.StateDir = true, ""
		if err := t.Target.Configure(t.ctx, settings); err != nil {
			t.Errorf("the settings that it runs with: %w", err)
		}
	}},
	{"check-creates-nothing", []need{configurable}, func(t *trial) {
		settings := t.Settings
		settings.Check, settings.StateDir = true, ""
		before := snapshot(settings.BaseDir)
		_ = t.Target.Configure(t.ctx, settings) // good-settings looks at the verdict
		if after := snapshot(settings.BaseDir); !maps.Equal(before, after) {
			t.Errorf("the folder %s has changed: %v", settings.BaseDir, changes(before, after))
		}
		// Where nothing is there yet, the verdict may be either; nothing is made all the same.
		empty, err := os.MkdirTemp("", "storetest")
		if err != nil {
			t.Fatalf("a folder for the case: %w", err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(empty) })
		settings.BaseDir = empty
		_ = t.Target.Configure(t.ctx, settings)
		if after := snapshot(empty); len(after) > 0 {
			t.Errorf("in an empty folder it has made %v", slices.Sorted(maps.Keys(after)))
		}
	}},
	{"not-json", []need{configurable}, func(t *trial) { t.refused("", []byte(`{"storetest": `)) }},
	{"not-a-mapping", []need{configurable}, func(t *trial) { t.refused("", []byte(`["storetest"]`)) }},
	{"unknown-key", []need{configurable}, func(t *trial) {
		t.refused("storetest_unknown", t.spoil(func(m map[string]any) { m["storetest_unknown"] = 1 }))
	}},
	{"misspelt-key", []need{configurable}, func(t *trial) {
		key := t.someKey()
		p := t.refused(key+"x", t.spoil(func(m map[string]any) { m[key+"x"] = m[key]; delete(m, key) }))
		if !strings.Contains(p.Suggest, key) {
			t.Errorf("the suggestion for %q is %q, and should name %q", key+"x", p.Suggest, key)
		}
	}},
	{"wrong-type", []need{configurable}, func(t *trial) {
		key := t.someKey()
		t.refused(key, t.spoil(func(m map[string]any) {
			if _, text := m[key].(string); text {
				m[key] = []any{map[string]any{}}
			} else {
				m[key] = "storetest: of the wrong type"
			}
		}))
	}},
	{"all-at-once", []need{configurable}, func(t *trial) {
		raw := t.spoil(func(m map[string]any) { m["storetest_one"], m["storetest_two"] = 1, 2 })
		t.refused("storetest_one", raw)
		t.refused("storetest_two", raw)
	}},
	{"its-own-bad-settings", []need{configurable, func(s *suite) string {
		if len(s.BadSettings) == 0 {
			return ownNature + "the target names none"
		}
		return ""
	}}, func(t *trial) {
		for path, raw := range t.BadSettings {
			t.refused(path, []byte(raw))
		}
	}},
	{"secrets-are-not-told", []need{configurable}, func(t *trial) {
		raw := t.spoil(func(m map[string]any) { m["storetest_unknown"] = "storetest-secret" })
		settings := t.Settings
		settings.Check, settings.Raw, settings.StateDir = true, raw, ""
		err := t.Target.Configure(t.ctx, settings)
		if err != nil && strings.Contains(err.Error(), "storetest-secret") {
			t.Errorf("the error tells the value of a setting: %v", err)
		}
		for _, secret := range []string{t.Password, t.SecondPassword} {
			if err != nil && len(secret) > 3 && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells a password")
			}
		}
	}},
}

// refused makes sure that settings are refused with a problem at a path, and gives it.
func (t *trial) refused(path string, raw []byte) backends.SettingsProblem {
	settings := t.Settings
	settings.Check, settings.Raw, settings.StateDir = true, raw, ""
	err := t.Target.Configure(t.ctx, settings)
	var wrong *backends.SettingsError
	if !errors.As(err, &wrong) || len(wrong.Problems) == 0 {
		t.Fatalf("settings that are wrong at %q give %v, and should be answered with the problem (Go: *backends.SettingsError)", path, err)
	}
	for _, p := range wrong.Problems {
		if p.Problem == "" {
			t.Errorf("the problem at %q has no words", p.Path)
		}
		if path == "" || p.Path == path || strings.HasPrefix(p.Path, path+".") {
			return p
		}
	}
	t.Errorf("settings that are wrong at %q give: %w", path, err)
	return backends.SettingsProblem{}
}

// spoil gives the settings with a change made to them.
func (t *trial) spoil(change func(map[string]any)) []byte {
	all := make(map[string]any)
	if len(t.Settings.Raw) > 0 {
		if err := json.Unmarshal(t.Settings.Raw, &all); err != nil {
			t.Fatalf("the target's own settings: %w", err)
		}
	}
	change(all)
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatalf("the spoilt settings: %w", err)
	}
	return raw
}

// someKey is a key of the settings that the target runs with, the longest: misspelt, it is
// nearest to itself.
func (t *trial) someKey() string {
	key := ""
	t.spoil(func(all map[string]any) {
		for _, k := range slices.Sorted(maps.Keys(all)) {
			if len(k) > len(key) {
				key = k
			}
		}
	})
	if len(key) < 3 {
		t.notOffered("the target's settings have no key that could be misspelt")
	}
	return key
}

// snapshot is every file under a folder and what it looks like.
func snapshot(dir string) map[string]string {
	all := make(map[string]string)
	if dir == "" {
		return all
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir || len(all) > 10000 {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			all[path] = fmt.Sprint(info.Mode(), info.ModTime().UnixNano())
			if !info.IsDir() {
				all[path] += fmt.Sprint(info.Size())
			}
		}
		return nil
	})
	return all
}

func changes(before, after map[string]string) []string {
	var all []string
	for path := range after {
		if before[path] != after[path] {
			all = append(all, path)
		}
	}
	for path := range before {
		if _, still := after[path]; !still {
			all = append(all, path+" (gone)")
		}
	}
	slices.Sort(all)
	return all
}

var healthCases = []testcase{
	{"ready", nil, func(t *trial) {
		if err := t.store.Health(t.ctx); err != nil {
			t.Errorf("the store that is being tested says: %w", err)
		}
	}},
	{"cancelled", nil, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Health with a context that has ended", func() { _ = t.store.Health(ctx) })
	}},
}

var closeCases = []testcase{
	{"ends-everything", []need{unconfigured, reader}, func(t *trial) {
		other := t.another()
		d, err := other.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			t.Fatalf("opening an inbox: %w", err)
		}
		t.promptly("Close", func() { _ = other.Close() })
		t.promptly("List after the store's Close", func() {
			for _, err := range d.List(t.ctx) {
				if err != nil {
					return
				}
			}
			t.Errorf("List succeeds after the store's Close")
		})
		t.promptly("a maildrop's Close after the store's", func() { _ = d.Close() })
	}},
	{"content-under-way-fails", []need{unconfigured, reader, receiver}, func(t *trial) {
		other := t.another()
		m := t.large(min(t.largest(), 4<<20))
		t.delivered(other.(backends.Receiver).Deliver(t.ctx, t.delivery(m, t.Address), m.reader()))
		d, err := other.(backends.Reader).Open(t.ctx, backends.OpenRequest{Credential: t.credential(t.first())})
		if err != nil {
			t.Fatalf("opening an inbox: %w", err)
		}
		inbox := t.adopt(d)
		entries := inbox.list()
		if len(entries) == 0 {
			t.Fatalf("the message that was delivered is not there")
		}
		c := t.begin(inbox, entries[len(entries)-1].ID)
		t.promptly("Close", func() { _ = other.Close() })
		t.mustBreakOff("a content after the store's Close", c)
	}},
}

// another is a second store with the same settings.
func (t *trial) another() backends.Store {
	other, err := t.New(t.ctx)
	if err != nil {
		t.Fatalf("New: %w", err)
	}
	settings := t.Settings
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		t.Fatalf("a folder for the case: %w", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	settings.StateDir = dir
	if err := other.Configure(t.ctx, settings); err != nil {
		_ = other.Close()
		t.Skipf("a second store cannot be had beside the first: %v", err)
	}
	return other
}
