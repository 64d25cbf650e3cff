package policy

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
)

func parse(t *testing.T, yaml string) *config.Config {
	t.Helper()
	cfg, err := config.Parse("dipylon.yaml", "/", []byte(yaml), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

const stores = `
stores:
  - name: sakes
    plugin: maildir
    domains: [sakes.example]
    policy: {deleted: trash, idle: 20m, encoding: uuencode, charset: UTF-8, rich_text: true}
    mailboxes:
      - {address: ada@sakes.example, policy: {deleted: keep, keep: 2d, order: newest, messages: 9, sessions: 1, send_to: [far.example], body: text, charset: latin1, encoding: mime}}
      - {address: legacy-id, policy: {pop3: false, submission: false}}
`

func TestTable(t *testing.T) {
	b := NewTable(parse(t, "policy: {notices: remove, session: 2h, mark_read: true}"+stores))
	store := Policy{
		Rendering: backends.Rendering{Encoding: backends.EncodingUUENCODE, RichText: true},
		POP3:      true, Submission: true, Disposal: backends.DisposalTrash, NoticeRemoves: true, MarkRead: true,
		Idle: 20 * time.Minute, Session: 2 * time.Hour, Sessions: 16,
	}
	ada, off, gateway := store, store, store
	ada.Disposal, ada.Keep, ada.Newest, ada.Messages, ada.Sessions = backends.DisposalRemove, 48*time.Hour, true, 9, 1
	off.POP3, off.Submission = false, false
	ada.Elsewhere = DomainsOf([]string{"far.example"})
	ada.Rendering = backends.Rendering{Body: backends.BodyText, Charset: "ISO-8859-1", RichText: true}
	gateway.Rendering = backends.Rendering{}
	gateway.Disposal, gateway.Idle = backends.DisposalRemove, 10*time.Minute
	for name, c := range map[string]struct {
		store   string
		account backends.Account
		want    Policy
	}{
		"by the primary address":   {"sakes", backends.Account{ID: "17", Address: "Ada@sakes.example"}, ada},
		"by another address":       {"sakes", backends.Account{ID: "17", Address: "a@sakes.example", Addresses: []string{"a@sakes.example", "ada@sakes.example"}}, ada},
		"by the id":                {"sakes", backends.Account{ID: "legacy-id"}, off},
		"nothing particular":       {"sakes", backends.Account{ID: "18", Address: "bob@sakes.example"}, store},
		"a store that is not here": {"gone", backends.Account{ID: "ada@sakes.example"}, gateway},
	} {
		if got := *b.Of(c.store, c.account); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
	}
}

// TestDefault: what is built in is what an empty configuration has.
func TestDefault(t *testing.T) {
	b := NewTable(parse(t, "stores: [{name: a, plugin: maildir}]"))
	if got := *b.Of("a", backends.Account{ID: "x"}); got != Default {
		t.Errorf("got %+v, want %+v", got, Default)
	}
	if got := *(&Current{}).Of("a", backends.Account{}); got != Default {
		t.Errorf("an empty Current has %+v", got)
	}
}

// TestRenderings: each word of a form means that form to a store, whatever the case and the alias of its
// charset's name.
func TestRenderings(t *testing.T) {
	for yaml, want := range map[string]backends.Rendering{
		"encoding: mime, body: best, charset: utf-8, rich_text: false": {},
		"charset: UTF-8":       {},
		"charset: iso_8859-15": {Charset: "ISO-8859-15"},
		"charset: KOI8-R":      {Charset: "KOI8-R"},
		"charset: koi8-r":      {Charset: "KOI8-R"},
		"charset: ISO-2022-CN": {Charset: "iso-2022-cn"}, // a name for which there is no table here
		"encoding: uuencode":   {Encoding: backends.EncodingUUENCODE},
		"body: text":           {Body: backends.BodyText},
		"body: html":           {Body: backends.BodyHTML},
		"body: both":           {Body: backends.BodyTextAndHTML},
		"body: enriched":       {Body: backends.BodyTextEnriched},
		"rich_text: true":      {RichText: true},
		"wrap: 72":             {Wrap: 72},
		"calendar: text, calendar_link: \"https://a.example/\"": {Calendar: backends.CalendarText},
		"calendar: link, calendar_link: \"https://a.example/\"": {Calendar: backends.CalendarLink, CalendarLink: "https://a.example/"},
	} {
		b := NewTable(parse(t, "policy: {"+yaml+"}\nstores: [{name: a, plugin: maildir}]"))
		got := b.Of("a", backends.Account{ID: "x"}).Rendering
		if got != want {
			t.Errorf("%s: %+v, want %+v", yaml, got, want)
		}
		if EncodingOf(got.Encoding.String()) != got.Encoding || BodyOf(got.Body.String()) != got.Body || CalendarOf(got.Calendar.String()) != got.Calendar {
			t.Errorf("%s: %s and %s are not the words for it", yaml, got.Encoding, got.Body)
		}
	}
}

func TestExpire(t *testing.T) {
	for yaml, want := range map[string]string{
		"stores: [{name: a, plugin: maildir}]":                                                                       "NEVER",
		"policy: {age: 30d}\nstores: [{name: a, plugin: maildir}]":                                                   "30",
		"policy: {age: 12h}\nstores: [{name: a, plugin: maildir}]":                                                   "1",
		"stores: [{name: a, plugin: maildir, policy: {age: 7d}}]":                                                    "NEVER USER",
		"policy: {age: 30d}\nstores: [{name: a, plugin: maildir, mailboxes: [{address: x, policy: {age: 1d}}]}]":     "30 USER",
		"policy: {age: 30d}\nstores: [{name: a, plugin: maildir, mailboxes: [{address: x, policy: {pop3: false}}]}]": "30",
	} {
		if got := NewTable(parse(t, yaml)).Expire(); got != want {
			t.Errorf("%s\nEXPIRE %s, want %s", yaml, got, want)
		}
	}
}

func TestSessions(t *testing.T) {
	s := &Sessions{}
	leave, err := s.Enter("a", "x", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Enter("a", "x", 1); !errors.Is(err, &backends.Failure{Kind: backends.InUse}) {
		t.Errorf("a second session: %v", err)
	}
	for _, other := range [][2]string{{"b", "x"}, {"a", "y"}} {
		if _, err := s.Enter(other[0], other[1], 1); err != nil {
			t.Errorf("another account: %v", err)
		}
	}
	leave()
	leave()
	if _, err := s.Enter("a", "x", 1); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
	if len(s.count) != 3 {
		t.Errorf("%d accounts are counted", len(s.count))
	}
}

func TestDomains(t *testing.T) {
	for _, c := range []struct {
		patterns    []string
		has, hasNot []string
	}{
		{[]string{"*"}, []string{"far.example", "[192.0.2.1]"}, nil},
		{nil, nil, []string{"far.example", ""}},
		{[]string{"far.example"}, []string{"far.example"}, []string{"a.far.example", "xfar.example", "[192.0.2.1]"}},
		{[]string{".far.example"}, []string{"a.far.example", "b.a.far.example"}, []string{"far.example", "xfar.example"}},
		{[]string{"far.example", "*"}, []string{"other.example"}, nil},
	} {
		d := DomainsOf(c.patterns)
		for _, domain := range c.has {
			if !d.Has(domain) {
				t.Errorf("%q does not have %s", c.patterns, domain)
			}
		}
		for _, domain := range c.hasNot {
			if d.Has(domain) {
				t.Errorf("%q has %s", c.patterns, domain)
			}
		}
	}
}
