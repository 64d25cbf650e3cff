package routing_test

import (
	"net"
	netsmtp "net/smtp"
	"testing"

	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// TestPriority: what an account submits has the priority that it asks for, as far as its policy goes, in the queue; who
// has no queue, and an MX, do not offer that (RFC 6710 §4.1).
func TestPriority(t *testing.T) {
	for most, want := range map[int]int{-3: -3, 0: 0, 2: 2, 9: 5} {
		q := newQueued(t)
		high := policy.Default
		high.Priority = most
		q.options.Policies = policy.Always(high)
		client := loggedIn(t, serve(t, smtp.Submission, routing.NewSubmission(q.options)))
		if offered, _ := client.Extension("MT-PRIORITY"); !offered {
			t.Error("MT-PRIORITY is not offered")
		}
		id, err := client.Text.Cmd("MAIL FROM:<alice@sakes.example> MT-PRIORITY=5")
		if err != nil {
			t.Fatal(err)
		}
		client.Text.StartResponse(id)
		if _, _, err := client.Text.ReadResponse(250); err != nil {
			t.Fatal(err)
		}
		client.Text.EndResponse(id)
		if err := client.Rcpt("zoe@far.example"); err != nil {
			t.Fatal(err)
		}
		w, err := client.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(letter)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := client.Quit(); err != nil {
			t.Fatal(err)
		}
		if all := q.waiting("far.example"); len(all) != 1 || all[0].Envelope.Priority != want {
			t.Errorf("up to %d: the queue has %+v", most, all)
		}
	}

	g := newGateway(t)
	q := newQueued(t)
	for name, address := range map[string]string{
		"without a queue": serve(t, smtp.Submission, routing.NewSubmission(g.options)), "an MX": serve(t, smtp.MX, routing.NewMX(q.options)),
	} {
		client, err := netsmtp.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		if offered, _ := client.Extension("MT-PRIORITY"); offered {
			t.Errorf("%s: MT-PRIORITY is offered", name)
		}
		if err := client.Quit(); err != nil {
			t.Error(err)
		}
	}
}

// loggedIn is a client in whose session alice has logged in.
func loggedIn(t *testing.T, address string) *netsmtp.Client {
	t.Helper()
	client, err := netsmtp.Dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Auth(netsmtp.PlainAuth("", "alice@sakes.example", "sesame", host)); err != nil {
		t.Fatal(err)
	}
	return client
}
