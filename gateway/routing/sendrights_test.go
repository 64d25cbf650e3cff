package routing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// judged is a gateway whose store says who may send as what, with send_as for freemail.example.
func judged(t *testing.T, judgement func(address string) (backends.SendRight, error)) (g *gateway, asked *[]backends.MaySendQuery) {
	t.Helper()
	asked = new([]backends.MaySendQuery)
	g = newGateway(t, func(g *gateway) {
		g.sakes.onMaySend = func(_ context.Context, q backends.MaySendQuery) (backends.SendRight, error) {
			*asked = append(*asked, q)
			return judgement(q.Address)
		}
		g.options.Router.Swap(g.table(
			stores.Config{Name: "sakes", Domains: []string{"sakes.example"}, SendAs: []string{"info@freemail.example"}, Default: true}.In(storestest.In(judge{receiver{g.sakes}})),
		))
	})
	return g, asked
}

// TestMaySend: a store that says who may send as what is asked about what the login has not told, its
// outage is no refusal, and its yes is good for the domains that the administrator has given it.
func TestMaySend(t *testing.T) {
	is := func(right backends.SendRight, err error) func(string) (backends.SendRight, error) {
		return func(string) (backends.SendRight, error) { return right, err }
	}
	for _, c := range []struct {
		name      string
		judgement func(string) (backends.SendRight, error)
		from      string
		want      string
		asked     int
		sender    bool // is named in the message
	}{
		{"as", is(backends.SendAs, nil), "info@sakes.example", "250", 1, false},
		{"on behalf", is(backends.SendOnBehalf, nil), "boss@sakes.example", "250", 1, true},
		{"no", is(backends.SendNo, nil), "boss@sakes.example", "550 5.7.1", 1, false},
		{"a detail", is(backends.SendAs, nil), "alice+scan@sakes.example", "250", 1, false},
		{"a detail that the store does not have", is(backends.SendNo, nil), "alice+scan@sakes.example", "550 5.7.1", 1, false},
		{"no answer", is(0, nil), "boss@sakes.example", "550 5.7.1", 1, false},
		{"an unknown answer", is(77, nil), "boss@sakes.example", "550 5.7.1", 1, false},
		{"an outage", is(0, backends.Fail(backends.Temporary, "down")), "boss@sakes.example", "451 4.3.0", 1, false},
		{"an answer with an outage", is(backends.SendAs, backends.Fail(backends.Temporary, "down")), "boss@sakes.example", "451 4.3.0", 1, false},
		{"the store cannot say", is(backends.SendAs, backends.Fail(backends.Unsupported, "no")), "boss@sakes.example", "550 5.7.1", 1, false},
		{"what the login has told", is(backends.SendNo, nil), "alias@sakes.example", "250", 0, false},
		{"what the administrator has listed", is(backends.SendAs, nil), "info@freemail.example", "250", 1, false},
		{"what he has not", is(backends.SendAs, nil), "alice@freemail.example", "550 5.7.1", 0, false},
		{"another store's domain", is(backends.SendOnBehalf, nil), "alice@tea.example", "550 5.7.1", 0, false},
	} {
		for _, where := range []string{"MAIL", "From"} {
			t.Run(c.name+"/"+where, func(t *testing.T) {
				g, asked := judged(t, c.judgement)
				path := c.from
				if where == "From" {
					path = "alice@sakes.example"
				}
				message := strings.Replace(letter, "alice@sakes.example", c.from, 1)
				got := send(t, g.submission(), path, []string{"bob@sakes.example"}, message)
				if got != c.want || len(*asked) != c.asked {
					t.Errorf("got %s, asked %+v", got, *asked)
				}
				if len(*asked) > 0 && ((*asked)[0].Account != "alice-id" || (*asked)[0].Address != c.from || (*asked)[0].Peer.Session == "") {
					t.Errorf("asked %+v", (*asked)[0])
				}
				if copies := g.sakes.copies["bob@sakes.example"]; len(copies) > 0 && strings.Contains(copies[0], "\r\nSender: alice@sakes.example\r\n") != c.sender {
					t.Errorf("delivered: %s", copies[0])
				}
			})
		}
	}
}

// TestOnBehalfNamesTheSender: who writes on behalf of somebody is named, and names nobody else.
func TestOnBehalfNamesTheSender(t *testing.T) {
	for _, c := range []struct{ name, sender, address, want string }{
		{"none is there", "", "alice@sakes.example", "250"},
		{"the account's own", "Sender: alias@sakes.example\r\n", "alice@sakes.example", "250"},
		{"the author", "Sender: boss@sakes.example\r\n", "alice@sakes.example", "550 5.7.1"},
		{"an account without an address", "", "", "550 5.7.1"},
		{"an account whose address is not believed", "", "alice@freemail.example", "550 5.7.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, _ := judged(t, func(string) (backends.SendRight, error) { return backends.SendOnBehalf, nil })
			g.sakes.account.Address = c.address
			if c.address != "alice@sakes.example" {
				g.sakes.account.Addresses = nil
			}
			message := c.sender + strings.Replace(letter, "alice@sakes.example", "boss@sakes.example", 1)
			if got := send(t, g.submission(), "boss@sakes.example", []string{"bob@sakes.example"}, message); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if copies := g.sakes.copies["bob@sakes.example"]; len(copies) > 0 && strings.Count(copies[0], "\r\nSender: ") != 1 {
				t.Errorf("delivered: %s", copies[0])
			}
		})
	}
}

// TestMaySendIsBounded: nobody has the store judge addresses without end, and one that is known is not
// asked about again.
func TestMaySendIsBounded(t *testing.T) {
	g, asked := judged(t, func(string) (backends.SendRight, error) { return backends.SendNo, nil })
	s := g.submission()
	say := func(name string) string {
		from := name + "@sakes.example"
		return send(t, s, from, []string{"bob@sakes.example"}, strings.Replace(letter, "alice@sakes.example", from, 1))
	}
	for i := range 2 * routing.LookupsMost {
		if got := say(fmt.Sprint("n", i/2)); got != "550 5.7.1" {
			t.Fatalf("sender %d: %s", i, got)
		}
	}
	if got := say("more"); !strings.HasPrefix(got, "4") {
		t.Errorf("one too many: %s", got)
	}
	if len(*asked) != routing.LookupsMost {
		t.Errorf("the store was asked %d times", len(*asked))
	}
}
