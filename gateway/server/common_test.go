package server

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/queue"
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
	const destination = "route:away:george@one.example"
	add := func(key string) {
		t.Helper()
		body, err := buffer.Fill(buffer.Options{Storage: g.spool.Storage()}, strings.NewReader("Subject: x\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = g.spool.Accept(t.Context(), spool.Message{
			Key: key, Received: time.Now(), Envelope: backends.Envelope{From: "george@one.example"},
			Recipients: []spool.Recipient{{Recipient: backends.Recipient{Address: "judy@far.example"}, Destination: destination}},
		}, body)
		if err != nil {
			t.Fatal(err)
		}
	}
	add("k")
	within(t, "all wait", func() bool { return len(g.commonConcerns()) == 1 })
	waiting := func(recipients int64) {
		t.Helper()
		var all []queue.Statistic
		var err error
		within(t, "all of it waits", func() bool {
			all, err = (&queue.Spool{Spool: g.spool, Log: zerolog.Nop(), Waits: g.whyWaiting}).Stats(t.Context(), 10)
			return err == nil && len(all) == 1 && all[0].State == "waiting" && all[0].Recipients == recipients
		})
		if !all[0].Due.After(time.Now()) {
			t.Errorf("the next attempt was at %s", all[0].Due)
		}
	}
	waiting(1)
	add("due before the others are tried")
	waiting(2)
	if w := g.waitsTogether(destination); !strings.Contains(w.Why, "waits until "+time.Now().Format("2006")) {
		t.Error(w)
	}
	g.triedAgain()
	if w := g.waitsTogether(destination); strings.Contains(w.Why, "1970") || !strings.Contains(w.Why, "tries now") || !w.Until.IsZero() {
		t.Error(w)
	}
	if err := g.Reload(t.Context(), parse(t, dir, oneStore)); err != nil {
		t.Fatal(err)
	}
	if all := g.commonConcerns(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}
