package routing_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// TestStoreSpeaksForItsOwnDomains has a store say that an account may send as other stores' users
// and as anybody elsewhere: it is believed only as far as the administrator has listed that.
func TestStoreSpeaksForItsOwnDomains(t *testing.T) {
	for _, test := range []struct {
		name      string
		addresses []string // that the store gives alice
		listed    []string
		from      string
		want      string
		warned    bool
	}{
		{"its own domain", []string{"alice@sakes.example"}, nil, "alice@sakes.example", "250", false},
		{"all of its own domain", []string{"@shared.example"}, nil, "anybody@shared.example", "250", false},
		{"a free mailer", []string{"@freemail.example"}, nil, "president@freemail.example", "550 5.7.1", true},
		{"an address of a free mailer", []string{"alice@freemail.example"}, nil, "alice@freemail.example", "550 5.7.1", true},
		{"another store's domain", []string{"@tea.example"}, nil, "eve@tea.example", "550 5.7.1", true},
		{"another store's account", []string{"eve@tea.example"}, nil, "eve@tea.example", "550 5.7.1", true},
		{"a subdomain of its own", []string{"@x.sakes.example"}, nil, "alice@x.sakes.example", "550 5.7.1", true},
		{"an address literal", []string{"alice@[192.0.2.1]"}, nil, "alice@[192.0.2.1]", "550 5.7.1", true},
		{"its primary address alone", []string{"alice@freemail.example"}, []string{"sakes.example"}, "alice@freemail.example", "550 5.7.1", true},
		{"a listed domain", []string{"alice@freemail.example"}, []string{"freemail.example"}, "Alice@Freemail.example", "250", false},
		{"a listed domain, another address", []string{"alice@freemail.example"}, []string{"freemail.example"}, "bob@freemail.example", "550 5.7.1", false},
		{"a listed address", []string{"@freemail.example"}, []string{"ann@freemail.example"}, "ann@freemail.example", "250", false},
		{"another one than is listed", []string{"@freemail.example"}, []string{"ann@freemail.example"}, "bob@freemail.example", "550 5.7.1", true},
		{"listed, and not given by the store", nil, []string{"freemail.example"}, "alice@freemail.example", "550 5.7.1", false},
	} {
		for _, sends := range []bool{false, true} {
			t.Run(test.name+map[bool]string{true: ", through the store"}[sends], func(t *testing.T) {
				g := newGateway(t, func(g *gateway) {
					table := g.table(
						stores.Config{Name: "sakes", Domains: []string{"sakes.example", "shared.example"}, SendAs: test.listed, Default: true, Sends: sends}.In(storestest.In(sender{receiver{g.sakes}})),
						stores.Config{Name: "tea", Domains: []string{"tea.example"}}.In(storestest.In(receiver{g.tea})),
					)
					g.options.Router.Swap(table)
				})
				g.sakes.account = backends.Account{ID: "alice-id", Address: "alice@sakes.example", Addresses: test.addresses}
				message := strings.Replace(letter, "alice@sakes.example", test.from, 1)
				if got := send(t, g.submission(), test.from, []string{"bob@sakes.example"}, message); got != test.want {
					t.Errorf("the reverse-path: got %s, want %s", got, test.want)
				}
				if warned := strings.Contains(g.log.String(), "send_as"); warned != test.warned {
					t.Errorf("the administrator is told: %v, want %v", warned, test.warned)
				}
				if got := send(t, g.submission(), "", []string{"bob@sakes.example"}, message); got != test.want {
					t.Errorf("From: got %s, want %s", got, test.want)
				}
			})
		}
	}
}
