package routing_test

import (
	"testing"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// TestSwap: a transaction goes on with the table that it began with.
func TestSwap(t *testing.T) {
	g := newGateway(t)
	session := g.mx()
	if err := session.Mail(t.Context(), address.Path{}, mailOptions()); err != nil {
		t.Fatal(err)
	}
	g.options.Router.Swap(g.table(stores.Config{Name: "new", Domains: []string{"new.example"}}.In(storestest.In(receiver{g.sakes}))))
	if err := session.Rcpt(t.Context(), path(t, "bob@sakes.example"), rcptOptions()); err != nil {
		t.Errorf("the transaction lost its table: %v", err)
	}
	session.Reset()
	if got := send(t, session, "", []string{"bob@sakes.example"}, letter); got != "550 5.7.1" {
		t.Errorf("the next transaction: %s", got)
	}
	if got := send(t, session, "", []string{"bob@new.example"}, letter); got != "250" {
		t.Errorf("the next transaction: %s", got)
	}
}
