package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const policyYAML = `policy:
  order: newest
  keep: 30d
stores:
  - name: sakes
    plugin: maildir
    domains: [sakes.example]
    policy:
      deleted: trash
      pop3: false
    mailboxes:
      - address: Ada@sakes.example
        policy: {pop3: true, deleted: keep}
      - {address: bob@sakes.example}
  - {name: other, plugin: maildir, domains: [other.example]}
`

// TestPolicyOf: each value is that of the nearest level that has one, and it is said which.
func TestPolicyOf(t *testing.T) {
	cfg, err := Parse("dipylon.yaml", "/", []byte(policyYAML), options())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ store, mailbox, want string }{
		{"sakes", "ada@SAKES.example", "pop3=true mailbox dipylon.yaml:13:18, order=newest gateway dipylon.yaml:2:3, deleted=keep mailbox dipylon.yaml:13:30, keep=30d gateway dipylon.yaml:3:3, idle=10m default"},
		{"sakes", "bob@sakes.example", "pop3=false store dipylon.yaml:10:7, order=newest gateway dipylon.yaml:2:3, deleted=trash store dipylon.yaml:9:7, keep=30d gateway dipylon.yaml:3:3, idle=10m default"},
		{"sakes", "nobody@sakes.example", "pop3=false store dipylon.yaml:10:7, order=newest gateway dipylon.yaml:2:3, deleted=trash store dipylon.yaml:9:7, keep=30d gateway dipylon.yaml:3:3, idle=10m default"},
		{"other", "ada@sakes.example", "pop3=true default, order=newest gateway dipylon.yaml:2:3, deleted=remove default, keep=30d gateway dipylon.yaml:3:3, idle=10m default"},
	} {
		policy, values := cfg.PolicyOf(c.store, c.mailbox)
		var told []string
		for i, v := range values {
			if field := reflect.ValueOf(policy).Field(i).Elem().Interface(); !reflect.DeepEqual(field, v.Value) {
				t.Errorf("%s of %s is %v, and said to be %v", v.Name, c.mailbox, field, v.Value)
			}
			if !strings.Contains("pop3 order deleted keep idle", v.Name) {
				continue
			}
			text := fmt.Sprintf("%s=%v %s", v.Name, v.Value, v.Level)
			if v.Position.Line > 0 {
				text += " " + v.Position.String()
			}
			told = append(told, text)
		}
		if got := strings.Join(told, ", "); got != c.want {
			t.Errorf("%s of %s:\n got %s\nwant %s", c.mailbox, c.store, got, c.want)
		}
		if len(values) != reflect.TypeFor[Policy]().NumField() {
			t.Errorf("%d values are told", len(values))
		}
	}
}

// TestSendTo: the patterns are those of routes, at each level.
func TestSendTo(t *testing.T) {
	at := func(gateway, store, mailbox string) string {
		return "policy: {send_to: [" + gateway + "]}\nstores:\n  - name: sakes\n    plugin: maildir\n    domains: [sakes.example]\n    policy: {send_to: [" + store +
			"]}\n    mailboxes:\n      - {address: ada@sakes.example, policy: {send_to: [" + mailbox + "]}}\n"
	}
	cfg, err := Parse("dipylon.yaml", "/", []byte(at(`"*"`, "", "Bücher.example, .far.example")), options())
	if err != nil {
		t.Fatal(err)
	}
	for mailbox, want := range map[string][]string{"ada@sakes.example": {"xn--bcher-kva.example", ".far.example"}, "bob@sakes.example": {}} {
		if p, _ := cfg.PolicyOf("sakes", mailbox); !slices.Equal(*p.SendTo, want) {
			t.Errorf("%s may send to %q", mailbox, *p.SendTo)
		}
	}
	for path, text := range map[string]string{
		"policy.send_to[0]":                        at("a b", "", ""),
		"stores[0].policy.send_to[1]":              at("", `far.example, "*.far.example"`, ""),
		"stores[0].mailboxes[0].policy.send_to[0]": at("", "", "ada@far.example"),
	} {
		if _, err := Parse("dipylon.yaml", "/", []byte(text), options()); err == nil || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
