package maildir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
)

// TestMain lets the test binary be other processes, too; see [runHelper].
func TestMain(m *testing.M) {
	if name := os.Getenv("MAILDIR_TEST_HELPER"); name != "" {
		os.Exit(runHelper(name))
	}
	goleak.VerifyTestMain(m)
}

const (
	anna   = "anna@sakes.example"
	ben    = "ben@sakes.example"
	cyrus  = "cyrus@other.example"
	secret = "correct horse"
)

// cheapCosts keep tests quick; the hashes are real.
var cheapCosts = argon2id.Costs{Memory: 64, Passes: 1, Threads: 1}

func cheapHash(password string) string {
	return argon2id.NewAt(cheapCosts, []byte(password)).String()
}

// world is a store on a folder of its own, with three accounts.
type world struct {
	*Store
	t    *testing.T
	root string
}

func accountsText() string {
	hash := cheapHash(secret)
	return `# the office
accounts:
  - address: ` + anna + `
    password: ` + hash + `
    name: Anna Sakes
    aliases: [info@sakes.example]
    send_as: [sales@sakes.example]
  - address: ` + ben + `
    password: ` + hash + `
  - address: ` + cyrus + `
    password: ` + hash + `
    aliases: ["@other.example"]
`
}

// newWorld makes a store; settings are added to its own.
func newWorld(t *testing.T, settings map[string]any, options ...Option) *world {
	t.Helper()
	root := filepath.Join(t.TempDir(), "mail")
	if err := os.MkdirAll(root, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "accounts.yaml"), accountsText())
	return openWorld(t, root, settings, options...)
}

func openWorld(t *testing.T, root string, settings map[string]any, options ...Option) *world {
	t.Helper()
	w := &world{Store: New(options...), t: t, root: root}
	if err := w.Configure(t.Context(), w.settings(settings)); err != nil {
		t.Fatalf("Configure: %v", err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func (w *world) settings(more map[string]any) backends.Settings {
	all := map[string]any{"root": w.root}
	for k, v := range more {
		all[k] = v
	}
	raw, err := json.Marshal(all)
	if err != nil {
		w.t.Fatal(err)
	}
	return backends.Settings{Store: "office", Hostname: "mail.sakes.example", Domains: []string{"sakes.example"}, Raw: raw}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func password(user string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(secret)}
}

func (w *world) deliver(d backends.Delivery, content string) []backends.Verdict {
	w.t.Helper()
	d.Size = int64(len(content))
	verdicts, err := w.Deliver(w.t.Context(), d, strings.NewReader(content))
	if err != nil {
		w.t.Fatalf("Deliver: %v", err)
	}
	return verdicts
}

// take delivers and sees to it that it was taken.
func (w *world) take(key, content string, to ...string) {
	w.t.Helper()
	for _, v := range w.deliver(backends.Delivery{Key: key, Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(to...)}, content) {
		if v.Failure != nil {
			w.t.Fatalf("Deliver to %s: %v", v.Recipient, v.Failure)
		}
	}
}

func (w *world) open(user, folder string) backends.Maildrop {
	w.t.Helper()
	m, err := w.Open(w.t.Context(), backends.OpenRequest{Credential: password(user), Folder: folder})
	if err != nil {
		w.t.Fatalf("Open %s: %v", user, err)
	}
	w.t.Cleanup(func() { _ = m.Close() })
	return m
}

func list(t *testing.T, m backends.Maildrop) []backends.Entry {
	t.Helper()
	var all []backends.Entry
	for e, err := range m.List(t.Context()) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		all = append(all, e)
	}
	return all
}

func fetch(t *testing.T, m backends.Maildrop, id backends.MessageID) string {
	t.Helper()
	text, err := tryFetch(t.Context(), m, backends.FetchRequest{ID: id})
	if err != nil {
		t.Fatalf("Fetch %s: %v", id, err)
	}
	return text
}

func tryFetch(ctx context.Context, m backends.Maildrop, request backends.FetchRequest) (string, error) {
	c, err := m.Fetch(ctx, request)
	if err != nil {
		return "", err
	}
	defer c.Close()
	var b bytes.Buffer
	_, err = io.Copy(&b, c)
	return b.String(), err
}

// messages opens an inbox and reads all of it.
func (w *world) messages(user string) []string {
	w.t.Helper()
	m := w.open(user, "")
	defer m.Close()
	var all []string
	for _, e := range list(w.t, m) {
		text := fetch(w.t, m, e.ID)
		if !e.Exact || int64(len(text)) != e.Size {
			w.t.Errorf("%s is listed with %d octets (exact: %v) and has %d", e.ID, e.Size, e.Exact, len(text))
		}
		all = append(all, text)
	}
	return all
}

const (
	returnPath = "Return-Path: <sender@far.example>\r\n"
	hello      = "From: sender@far.example\r\nSubject: hello\r\n\r\nHello.\r\n.\r\n..dots\r\n"
)

func TestDeliverListFetchRemove(t *testing.T) {
	for _, lf := range []bool{true, false} {
		w := newWorld(t, map[string]any{"lf": lf})
		w.take("k1", hello, anna)
		w.take("k2", "Subject: two\r\n\r\n\r\n", anna)

		m := w.open(anna, "")
		entries := list(t, m)
		if len(entries) != 2 {
			t.Fatalf("%d messages, want 2", len(entries))
		}
		for i, want := range []string{returnPath + hello, returnPath + "Subject: two\r\n\r\n\r\n"} {
			e := entries[i]
			if got := fetch(t, m, e.ID); got != want {
				t.Errorf("message %d is %q, want %q", i, got, want)
			}
			if !e.Exact || e.Size != int64(len(want)) || e.Seen || time.Since(e.Received) > time.Minute {
				t.Errorf("message %d: %+v", i, e)
			}
		}
		if top, err := tryFetch(t.Context(), m, backends.FetchRequest{ID: entries[0].ID, Top: true, Lines: 1}); err != nil ||
			top != returnPath+"From: sender@far.example\r\nSubject: hello\r\n\r\nHello.\r\n" {
			t.Errorf("top: %q, %v", top, err)
		}
		removed, err := m.Remove(t.Context(), []backends.MessageID{entries[0].ID, "no.such.message"}, backends.DisposalRemove)
		if err != nil || len(removed) != 2 || removed[0].Failure != nil || removed[1].Failure != nil || removed[0].ID != entries[0].ID {
			t.Errorf("Remove: %+v, %v", removed, err)
		}
		if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: entries[0].ID}); backends.KindOf(err) != backends.NotFound {
			t.Errorf("Fetch of what was removed: %v", err)
		}
		if got := w.messages(anna); len(got) != 1 || got[0] != returnPath+"Subject: two\r\n\r\n\r\n" {
			t.Errorf("left: %q", got)
		}
	}
}

func TestNotConfiguredAndClosed(t *testing.T) {
	calls := func(s *Store) map[string]error {
		ctx := t.Context()
		_, login := s.Login(ctx, password(anna))
		_, open := s.Open(ctx, backends.OpenRequest{Credential: password(anna)})
		_, resolve := s.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(anna)})
		_, deliver := s.Deliver(ctx, backends.Delivery{Key: "k", Recipients: backends.To(anna)}, strings.NewReader(hello))
		return map[string]error{"Login": login, "Open": open, "Resolve": resolve, "Deliver": deliver, "Health": s.Health(ctx)}
	}
	fresh := New()
	if d, err := fresh.Describe(t.Context()); err != nil || d.Name != "maildir" || !d.ExactSizes {
		t.Errorf("Describe before Configure: %+v, %v", d, err)
	}
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	m := w.open(anna, "")
	e := list(t, m)[0]
	c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: e.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = w.Close()
	for state, s := range map[string]*Store{"not configured": fresh, "closed": w.Store} {
		for call, err := range calls(s) {
			if backends.KindOf(err) != backends.Temporary {
				t.Errorf("%s, %s: %v", state, call, err)
			}
		}
	}
	if _, err := io.ReadAll(c); backends.KindOf(err) != backends.Temporary {
		t.Errorf("a content of a closed store: %v", err)
	}
	if _, err := m.Remove(t.Context(), []backends.MessageID{e.ID}, backends.DisposalRemove); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Remove in a closed store: %v", err)
	}
}

func TestConfigureOnce(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.Configure(t.Context(), w.settings(nil)); backends.KindOf(err) != backends.Permanent {
		t.Errorf("a second Configure: %v", err)
	}
	check := w.settings(map[string]any{"qouta": 1})
	check.Check = true
	if _, ok := errors.AsType[*backends.SettingsError](w.Configure(t.Context(), check)); !ok {
		t.Error("a check of bad settings passes")
	}
}
