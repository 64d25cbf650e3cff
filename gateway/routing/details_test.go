package routing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
)

// TestSenderWithADetail: an account may send as its own address with a detail where its store says that
// this is its address, too, and is never refused for good because the store could not say.
func TestSenderWithADetail(t *testing.T) {
	const sender = "alice+scan@sakes.example"
	answer := func(account string, failure *backends.Failure) func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
		return func(_ context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
			return []backends.Verdict{{Recipient: q.Recipients[0].Address, Account: account, Failure: failure}}, nil
		}
	}
	hers := answer("alice-id", nil)
	for _, c := range []struct {
		name    string
		resolve func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error)
		from    string
		want    string
		asked   bool
	}{
		{"hers", hers, sender, "250", true},
		{"hers in capitals", hers, "ALICE+Scan@Sakes.example", "250", true},
		{"with another separator", hers, "alice-scan@sakes.example", "250", true},
		{"hers, and her mailbox is full", answer("alice-id", backends.Fail(backends.OverQuota, "full")), sender, "250", true},
		{"somebody else's", answer("bob-id", nil), sender, "550 5.7.1", true},
		{"nobody's own: a catch-all takes it", answer("", nil), sender, "550 5.7.1", true},
		{"nobody's", answer("", backends.Fail(backends.NotFound, "no")), sender, "550 5.7.1", true},
		{"an outage", answer("", backends.Fail(backends.Temporary, "down")), sender, "451 4.3.0", true},
		{"the call fails", func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
			return nil, backends.Fail(backends.Temporary, "down")
		}, sender, "451 4.3.0", true},
		{"the store cannot say", func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
			return nil, backends.Fail(backends.Unsupported, "no")
		}, sender, "550 5.7.1", true},
		{"of another question", func(context.Context, backends.ResolveQuery) ([]backends.Verdict, error) {
			return []backends.Verdict{{Recipient: "x@sakes.example", Account: "alice-id"}}, nil
		}, sender, "451 4.4.2", true},
		{"another name", hers, "alicescan@sakes.example", "550 5.7.1", false},
		{"another domain of the store", hers, "alice+scan@tea.example", "550 5.7.1", false},
		{"an address that the store may not speak for", hers, "alice+scan@freemail.example", "550 5.7.1", false},
		{"a stranger", hers, "bob+scan@sakes.example", "550 5.7.1", false},
	} {
		for _, where := range []string{"MAIL", "From"} {
			t.Run(c.name+"/"+where, func(t *testing.T) {
				g := newGateway(t)
				g.sakes.account = backends.Account{ID: "alice-id", Addresses: []string{"alice@sakes.example", "alice@freemail.example"}}
				asked := 0
				g.sakes.onResolve = func(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
					if !q.Accounts {
						return []backends.Verdict{{Recipient: q.Recipients[0].Address}}, nil
					}
					asked++
					return c.resolve(ctx, q)
				}
				path := c.from
				if where == "From" {
					path = "alice@sakes.example"
				}
				message := strings.Replace(letter, "alice@sakes.example", c.from, 1)
				got := send(t, g.submission(), path, []string{"bob@sakes.example"}, message)
				if got != c.want || (asked > 0) != c.asked || asked > 1 {
					t.Errorf("got %s, asked %d times", got, asked)
				}
			})
		}
	}
}

// TestDetailsAreBounded: nobody has the store look for addresses without end, and a known one is not
// looked for again.
func TestDetailsAreBounded(t *testing.T) {
	g := newGateway(t)
	asked := 0
	g.sakes.onResolve = func(_ context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
		if q.Accounts {
			asked++
		}
		return []backends.Verdict{{Recipient: q.Recipients[0].Address, Account: "alice-id"}}, nil
	}
	s := g.submission()
	say := func(detail string) string {
		from := "alice+" + detail + "@sakes.example"
		return send(t, s, from, []string{"bob@sakes.example"}, strings.Replace(letter, "alice@sakes.example", from, 1))
	}
	for i := range routing.LookupsMost {
		if got := say(fmt.Sprint(i)); got != "250" {
			t.Fatalf("detail %d: %s", i, got)
		}
	}
	if got := say("0"); got != "250" {
		t.Errorf("one that is known: %s", got)
	}
	if got := say("more"); !strings.HasPrefix(got, "4") {
		t.Errorf("one too many: %s", got)
	}
	if asked != routing.LookupsMost {
		t.Errorf("the store was asked %d times", asked)
	}
}
