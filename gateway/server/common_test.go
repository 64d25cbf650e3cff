package server

import (
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/spool"
)

// TestTogether: why a provider's mail waits is told with a time that is to come, or without one; a route that is there no more
// needs no attention.
func TestTogether(t *testing.T) {
	dir := rootsIn(t)
	cfg := parse(t, dir, oneStore+"routes: [{name: away, domains: ['*'], to: smtp, hosts: ['127.0.0.1:1'], user: a@one.example, as_sender: true,"+
		" oauth: {provider: microsoft, tenant: t, client_id: a, client_secret: secret}}]\n")
	g, ended, end := run(t, cfg)
	defer func() { end(); <-ended; _ = g.Shutdown(t.Context()) }()
	body, err := buffer.Fill(buffer.Options{Storage: g.spool.Storage()}, strings.NewReader("Subject: x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	const destination = "route:away:george@one.example"
	err = g.spool.Accept(t.Context(), spool.Message{
		Key: "k", Envelope: backends.Envelope{From: "george@one.example"},
		Recipients: []spool.Recipient{{Recipient: backends.Recipient{Address: "judy@far.example"}, Destination: destination}},
	}, body)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "all wait", func() bool { return len(g.commonConcerns()) == 1 })
	if why := g.whyTogether(destination); !strings.Contains(why, "waits until "+time.Now().Format("2006")) {
		t.Error(why)
	}
	g.triedAgain()
	if why := g.whyTogether(destination); strings.Contains(why, "1970") || !strings.Contains(why, "tries now") {
		t.Error(why)
	}
	if err := g.Reload(t.Context(), parse(t, dir, oneStore)); err != nil {
		t.Fatal(err)
	}
	if all := g.commonConcerns(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}
