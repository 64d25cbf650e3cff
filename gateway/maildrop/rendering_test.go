package maildrop_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// policiesOf are the policies of a configuration's one store.
func policiesOf(t *testing.T, mailboxes string) *policy.Table {
	t.Helper()
	cfg, err := config.Parse("dipylon.yaml", "/", []byte("stores:\n  - name: sakes\n    plugin: maildir\n    mailboxes:\n"+mailboxes), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	return policy.NewTable(cfg)
}

// twoForms are mailboxes with different forms of messages.
const twoForms = `
      - {address: alice-id, policy: {encoding: uuencode, body: text, charset: Latin1, rich_text: true}}
      - {address: bob-id, policy: {sessions: 3}}
`

var alicesForm = backends.Rendering{Encoding: backends.EncodingUUENCODE, Body: backends.BodyText, Charset: "ISO-8859-1", RichText: true}

// inForm is a message as a store that renders has it: the form stands in its header.
func inForm(body string, form backends.Rendering) string {
	if form == (backends.Rendering{}) {
		return body
	}
	return fmt.Sprintf("X-Form: %s %s %s %t\r\n", form.Encoding, form.Body, form.Charset, form.RichText) + body
}

// newRenderer is a gateway over a store that renders, with ten messages and the users alice and bob.
func newRenderer(t *testing.T, measures bool, change ...func(*maildrop.Options)) *gateway {
	g := newGateway(t, append([]func(*maildrop.Options){withIndex(newIndex(t))}, change...)...)
	g.store.others, g.store.renders = []string{"bob"}, inForm
	g.store.said.Reading = backends.Reading{
		Encodings: []backends.Encoding{backends.EncodingUUENCODE}, Bodies: []backends.BodyForm{backends.BodyText},
		Renderer: "1", Measures: measures,
	}
	for i := range 10 {
		g.store.add(fmt.Sprint("m", i), letter+strings.Repeat("x\r\n", i))
	}
	return g
}

// as logs a user in.
func (g *gateway) as(user string) *pop3.Login {
	g.t.Helper()
	drop, err := g.session().Password(g.t.Context(), user, []byte("sesame"))
	if err != nil {
		g.t.Fatal(err)
	}
	return drop
}

// list has a user ask for all sizes, and makes sure that they are those of one form (I6). It returns
// the unique-ids, and whether the store was asked for sizes beside its list.
func (g *gateway) list(user string, form backends.Rendering) (ids string, asked bool) {
	g.t.Helper()
	drop := g.as(user)
	for n := 1; n <= drop.Len(); n++ {
		want := int64(len(inForm(g.store.bodies[g.store.entries[n-1].ID], form)))
		if size, err := drop.Size(g.t.Context(), n); err != nil || size != want {
			g.t.Errorf("%s: message %d has %d octets (%v), wanted %d", user, n, size, err, want)
		}
	}
	ids = uidls(drop)
	if err := drop.Close(); err != nil {
		g.t.Error(err)
	}
	return ids, g.asked(form)
}

// readAll has a user read all messages and their tops, and makes sure that they are in one form.
func (g *gateway) readAll(user string, form backends.Rendering) {
	g.t.Helper()
	drop := g.as(user)
	for n := 1; n <= drop.Len(); n++ {
		want := inForm(g.store.bodies[g.store.entries[n-1].ID], form)
		if got, err := read(g.t, drop, n, -1); err != nil || got != want {
			g.t.Errorf("%s: message %d is %q (%v), wanted %q", user, n, got, err, want)
		}
		if got, err := read(g.t, drop, n, 0); err != nil || !strings.HasPrefix(got, inForm("", form)) {
			g.t.Errorf("%s: the top of message %d is %q (%v)", user, n, got, err)
		}
	}
	if err := drop.Close(); err != nil {
		g.t.Error(err)
	}
	if !g.asked(form) {
		g.t.Errorf("%s: nothing was asked for", user)
	}
}

// asked says whether the store was asked for anything since the last time, and makes sure that it was
// in one form.
func (g *gateway) asked(form backends.Rendering) (anything bool) {
	g.t.Helper()
	g.store.mu.Lock()
	defer g.store.mu.Unlock()
	forms := make(map[backends.Rendering]bool)
	for _, r := range g.store.requests {
		forms[r.Rendering] = true
	}
	for _, r := range g.store.measures {
		forms[r.Rendering] = true
	}
	g.store.requests, g.store.measures = nil, nil
	for other := range forms {
		if other != form {
			g.t.Errorf("the store was asked for the form %+v, wanted %+v", other, form)
		}
	}
	return len(forms) > 0
}

// TestRenderings: each mailbox has its messages in the form of its own policy, with the sizes of that
// form and the unique-ids of every form.
func TestRenderings(t *testing.T) {
	t.Parallel()
	for _, measures := range []bool{false, true} {
		t.Run(fmt.Sprintf("measures=%t", measures), func(t *testing.T) {
			t.Parallel()
			policies := &policy.Current{}
			policies.Put(policiesOf(t, twoForms))
			g := newRenderer(t, measures, func(o *maildrop.Options) { o.Policies = policies })
			alices, asked := g.list("alice", alicesForm)
			if !asked {
				t.Error("nothing was asked for the sizes of alice's form, and the list has those of the usual one")
			}
			bobs, asked := g.list("bob", backends.Rendering{})
			if asked {
				t.Error("sizes were asked for that the list has")
			}
			if alices != bobs {
				t.Errorf("the unique-ids are %q in one form and %q in another", alices, bobs)
			}
			g.readAll("alice", alicesForm)
			g.readAll("bob", backends.Rendering{})
		})
	}
}

// TestRenderingChanges: sizes that are remembered count for one form. Another policy has them found
// again and leaves the unique-ids, and a session keeps the policy that it began with.
func TestRenderingChanges(t *testing.T) {
	t.Parallel()
	policies := &policy.Current{}
	policies.Put(policiesOf(t, twoForms))
	g := newRenderer(t, true, func(o *maildrop.Options) { o.Policies = policies })
	before, _ := g.list("alice", alicesForm)
	if _, asked := g.list("alice", alicesForm); asked {
		t.Error("the sizes of the first session are not remembered")
	}

	text := backends.Rendering{Body: backends.BodyText}
	old := g.login()
	policies.Put(policiesOf(t, "      - {address: alice-id, policy: {body: text}}\n"))
	if got, err := read(t, old, 1, -1); err != nil || got != inForm(letter, alicesForm) {
		t.Errorf("a session that began before the change has %q (%v)", got, err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	g.asked(alicesForm)

	after, asked := g.list("alice", text)
	if !asked {
		t.Error("sizes of another form were used")
	}
	if after != before {
		t.Errorf("the unique-ids were %q and are %q", before, after)
	}
	if _, asked := g.list("alice", text); asked {
		t.Error("the sizes of the new form are not remembered")
	}
	g.readAll("alice", text)
}

// TestRenderingOfStores: a store is asked for what it can give. One that keeps messages as they came is
// asked for them, and its sizes are believed.
func TestRenderingOfStores(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reading backends.Reading
		want    backends.Rendering
	}{
		"messages as they came": {backends.Reading{Measures: true}, backends.Rendering{}},
		"no such encoding": {
			backends.Reading{Bodies: []backends.BodyForm{backends.BodyText}},
			backends.Rendering{Body: backends.BodyText, Charset: "ISO-8859-1", RichText: true},
		},
		"no such body": {
			backends.Reading{Encodings: []backends.Encoding{backends.EncodingUUENCODE}},
			backends.Rendering{Encoding: backends.EncodingUUENCODE, Charset: "ISO-8859-1", RichText: true},
		},
		"neither": {backends.Reading{Renderer: "7"}, backends.Rendering{Charset: "ISO-8859-1", RichText: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRenderer(t, false, with(func(p *policy.Policy) { p.Rendering = alicesForm }))
			g.store.said.Reading = tt.reading
			if _, asked := g.list("alice", tt.want); asked != tt.reading.Renders() {
				t.Errorf("sizes were asked for: %t", asked)
			}
			g.readAll("alice", tt.want)
		})
	}
}

// TestInventoryRenders: unique-ids are exported with the sizes and headers that the account's sessions
// have.
func TestInventoryRenders(t *testing.T) {
	t.Parallel()
	for _, measures := range []bool{false, true} {
		policies := &policy.Current{}
		policies.Put(policiesOf(t, twoForms))
		var o maildrop.Options
		g := newRenderer(t, measures, func(given *maildrop.Options) { given.Policies = policies }, func(given *maildrop.Options) { o = *given })
		g.list("alice", alicesForm)
		for user, form := range map[string]backends.Rendering{"alice": alicesForm, "bob": {}} {
			inner, err := g.store.Open(t.Context(), backends.OpenRequest{Credential: backends.Credential{User: user, Secret: []byte("sesame")}})
			if err != nil {
				t.Fatal(err)
			}
			store := stores.Config{Name: "sakes"}.In(storestest.In(g.store)).Store()
			imports, err := maildrop.Inventory(t.Context(), o, store, "", inner)
			if err != nil || len(imports) != 10 {
				t.Fatalf("%s: %d messages (%v)", user, len(imports), err)
			}
			for i, m := range imports {
				if want := int64(len(inForm(g.store.bodies[g.store.entries[i].ID], form))); m.Size != want {
					t.Errorf("%s: %s has %d octets, wanted %d", user, m.UIDL, m.Size, want)
				}
			}
			if !g.asked(form) {
				t.Errorf("%s: no header was looked at", user)
			}
			if err := inner.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
