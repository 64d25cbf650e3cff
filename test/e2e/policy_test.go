//go:build linux

package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
)

// TestPolicy has a mailbox whose policy stands at all three levels: it is told with its places,
// applied, and changed by a reload for the sessions that begin after it.
func TestPolicy(t *testing.T) {
	t.Parallel()
	store := harness.MaildirStore("mail", harness.Domain)
	store["policy"] = harness.Mapping{"messages": 2, "mark_read": true, "charset": "koi8-r"}
	store["mailboxes"] = []harness.Mapping{
		{"address": "erika@" + harness.Domain, "policy": harness.Mapping{"order": "newest"}},
		{"address": "eva@" + harness.Domain, "policy": harness.Mapping{"deleted": "keep", "keep": "1h"}},
		{"address": "max@" + harness.Domain, "policy": harness.Mapping{"pop3": false, "submission": false}},
	}
	g := harness.Start(t, harness.Options{
		Stores: []harness.Mapping{store},
		More:   harness.Mapping{"policy": harness.Mapping{"idle": "15m"}},
	})
	erika, max, eva := g.AddUser(t, "erika"), g.AddUser(t, "max"), g.AddUser(t, "eva")
	for _, user := range []harness.User{erika, eva} {
		deliver(t, g, user, simple("one"), simple("two"), simple("three"))
	}
	subjects := func(p *harness.POP3) string {
		t.Helper()
		n, _, err := p.Stat()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for i := 1; i <= n; i++ {
			message, err := p.Retr(i)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, regexp.MustCompile(`Subject: (\w+)`).FindStringSubmatch(string(message))[1])
		}
		return strings.Join(all, " ")
	}
	before := login(t, g, erika)
	if got := subjects(before); got != "three two" {
		t.Errorf("erika has %q", got)
	}
	p := login(t, g, eva)
	if got := subjects(p); got != "two three" {
		t.Errorf("eva has %q", got)
	}
	if err := p.Dele(2); err != nil {
		t.Fatal(err)
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
	p = login(t, g, eva)
	if got := subjects(p); got != "one two" { // what was deleted is hidden, and was the newest
		t.Errorf("after a deletion eva has %q", got)
	}
	p.Quit()
	stored, err := filepath.Glob(filepath.Join(g.Dir, "mail", "*", "eva", "*", "*"))
	if err != nil || len(stored) != 3 {
		t.Errorf("the store has %q, %v", stored, err)
	}
	_, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), max.Address, max.Password)
	refusal(t, err, "-ERR [SYS/PERM] this mailbox cannot be read with POP3")
	_, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), max.Address, "wrong")
	refusal(t, err, "-ERR [AUTH]")
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	refusal(t, s.Auth(max.Address, max.Password), "this mailbox may not send mail here")
	s.Close()

	out, err := g.Command("policy", "show", "--config", g.ConfigFile, erika.Address).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`(?m)^order +newest +mailbox +\S+dipylon\.yaml:\d+:\d+$`, `(?m)^messages +2 +store +\S+dipylon\.yaml:\d+:\d+$`,
		`(?m)^idle +15m +gateway +\S+dipylon\.yaml:\d+:\d+$`, `(?m)^deleted +remove +default +-$`,
		`(?m)^encoding +mime +default +-$`, `(?m)^charset +koi8-r +store +\S+dipylon\.yaml:\d+:\d+$`,
		`(?m)^limits\.per_address +50 +default +-$`,
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the policy does not have %s:\n%s", want, out)
		}
	}

	g.Configure(t, func(o *harness.Options) {
		o.Stores[0]["mailboxes"] = []harness.Mapping{{"address": erika.Address, "policy": harness.Mapping{"messages": 0}}}
	})
	g.Reload(t)
	if got := subjects(before); got != "three two" {
		t.Errorf("the session from before has %q", got)
	}
	before.Quit()
	read, err := filepath.Glob(filepath.Join(g.Dir, "mail", "*", "erika", "cur", "*:2,S"))
	if err != nil || len(read) != 2 {
		t.Errorf("marked as read in the store are %q (%v), and two were fetched", read, err)
	}
	p = login(t, g, erika)
	if got := subjects(p); got != "one two three" {
		t.Errorf("after the reload erika has %q", got)
	}
	p.Quit()
	p = login(t, g, max)
	p.Quit()
}
