package routing_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/policy"
)

// sendingTo is a policy by which mail goes to these domains of those that no store has.
func sendingTo(domains ...string) *policy.Current {
	p := policy.Default
	p.Elsewhere = policy.DomainsOf(domains)
	return policy.Always(p)
}

// TestSendTo: whom an account may write to elsewhere its policy says, whatever address it sends as. Mailboxes of the stores
// are not elsewhere.
func TestSendTo(t *testing.T) {
	q := newQueued(t)
	q.options.Policies = sendingTo("far.example")
	s := q.submission()
	defer s.Close()
	for to, want := range map[string]string{
		"zoe@far.example": "250", "zoe@FAR.example": "250", "bob@sakes.example": "250", "postmaster@tea.example": "250",
		"zoe@other.example": "550 5.7.1", "zoe@a.far.example": "550 5.7.1",
	} {
		for _, from := range []string{"alice@sakes.example", ""} {
			if got := send(t, s, from, []string{to}, letter); got != want {
				t.Errorf("from %q to %s: %q, want %q", from, to, got, want)
			}
		}
	}
}

// TestSendToThroughTheStore: the same, where the store sends for its accounts.
func TestSendToThroughTheStore(t *testing.T) {
	g, _, from, _ := numbered(t, true)
	g.options.Policies = sendingTo()
	s := g.submission()
	defer s.Close()
	for to, want := range map[string]string{"bob@far.example": "550 5.7.1", from: "250"} {
		if got := send(t, s, from, []string{to}, letter); got != want {
			t.Errorf("to %s: %q, want %q", to, got, want)
		}
	}
}

// TestSendToFromTheOutbox: what programs put into an account's outbox goes no further than what the account submits. The
// author hears of it.
func TestSendToFromTheOutbox(t *testing.T) {
	q := newQueued(t)
	q.options.Policies = sendingTo("far.example")
	m := outgoing("1", "zoe@far.example", "zoe@other.example", "bob@sakes.example")
	if got := failed(q.mustTakeOver(m, letter)); len(got) != 1 || got["zoe@other.example"] != "5.7.1" {
		t.Errorf("failed are %v", got)
	}
	if n := len(q.waiting("far.example")) + len(q.waiting("other.example")); n != 1 {
		t.Errorf("%d messages wait", n)
	}
	reports := q.waiting("store:sakes")
	told := func(d string) bool { return strings.Contains(d, "5.7.1") && strings.Contains(d, "zoe@other.example") }
	if len(reports) != 2 || !told(contentOf(t, reports[0])) && !told(contentOf(t, reports[1])) {
		t.Errorf("alice is not told: %d messages wait for the store", len(reports))
	}
}

// TestSendToByAccount: the policy is that of the account that has written a message, and of the sender's mailbox where the store does not
// say which account that is.
func TestSendToByAccount(t *testing.T) {
	for name, c := range map[string]struct {
		from, account, address string
		refused                bool
	}{
		"by the account":                   {"alice@sakes.example", "bob@sakes.example", "bob@sakes.example", true},
		"by the account, without a sender": {"", "bob@sakes.example", "bob@sakes.example", true},
		"by the account's id":              {"alice@sakes.example", "17", "", true},
		"by the sender":                    {"bob@sakes.example", "", "", true},
		"by the sender in another form":    {`"Bob"@SAKES.example`, "", "", true},
		"by the sender beside an id":       {"bob@sakes.example", "18", "", true},
		"another account":                  {"bob@sakes.example", "alice@sakes.example", "alice@sakes.example", false},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueued(t)
			q.options.Policies = bobStaysHere(t)
			m := outgoing("1", "zoe@far.example")
			m.From, m.Submitter = c.from, backends.Submitter{Account: c.account, Address: c.address}
			if got := failed(q.mustTakeOver(m, letter)); (len(got) > 0) != c.refused {
				t.Errorf("failed are %v", got)
			}
		})
	}
}

// bobStaysHere are policies by which one mailbox writes to nobody elsewhere.
func bobStaysHere(t *testing.T) *policy.Current {
	t.Helper()
	cfg, err := config.Parse("dipylon.yaml", "/", []byte(`stores:
  - name: sakes
    plugin: maildir
    domains: [sakes.example]
    mailboxes: [{address: bob@sakes.example, policy: {send_to: []}}, {address: "17", policy: {send_to: []}}, {address: alice@sakes.example}]
`), config.Options{Builtins: []string{"maildir"}})
	if err != nil {
		t.Fatal(err)
	}
	policies := &policy.Current{}
	policies.Put(policy.NewTable(cfg))
	return policies
}
