package smtpclient_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// TestNotices: what the sender wants to be told goes on to a server that has DSN, and to no other one.
func TestNotices(t *testing.T) {
	envelope := smtpclient.Envelope{
		ReversePath: "ada@sakes.example", ID: "QQ 31+4=1", Return: "HDRS", Recipients: []string{"a@s", "b@s", "c@s", "not an address", "d@s"},
		Notices: []smtpclient.Notice{
			{Notify: "NEVER"},
			{Notify: "SUCCESS,DELAY", Original: "rfc822;Bob+x@example.org"},
			{},
			{Notify: "FAILURE"},
			{Original: "utf-8;γιώργος@example.org"},
		},
	}
	for _, tt := range []struct {
		offers []string
		want   []string
	}{
		{[]string{"DSN", "PIPELINING"}, []string{
			"MAIL FROM:<ada@sakes.example> RET=HDRS ENVID=QQ+2031+2B4+3D1", "RCPT TO:<a@s> NOTIFY=NEVER",
			"RCPT TO:<b@s> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2Bx@example.org", "RCPT TO:<c@s>",
			`RCPT TO:<d@s> ORCPT=utf-8;\x{3B3}\x{3B9}\x{3CE}\x{3C1}\x{3B3}\x{3BF}\x{3C2}@example.org`,
		}},
		{nil, []string{"MAIL FROM:<ada@sakes.example>", "RCPT TO:<a@s>", "RCPT TO:<b@s>", "RCPT TO:<c@s>", "RCPT TO:<d@s>"}},
	} {
		server := (&fakesmtp.Server{Offers: tt.offers}).Start(t)
		if _, err := dial(t, server.Address, smtpclient.Options{}).Send(t.Context(), envelope, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
		commands := server.Commands()
		if diff := cmp.Diff(tt.want, commands[1:len(tt.want)+1]); diff != "" {
			t.Error(diff)
		}
	}
}

// TestRequireTLS: REQUIRETLS is said over TLS alone (RFC 8689 §2).
func TestRequireTLS(t *testing.T) {
	good, _ := certificate(t)
	for policy, want := range map[smtpclient.Policy]string{smtpclient.Clear: "MAIL FROM:<>", smtpclient.Required: "MAIL FROM:<> REQUIRETLS"} {
		server := (&fakesmtp.Server{TLS: good, Offers: []string{"REQUIRETLS"}}).Start(t)
		c := dial(t, server.Address, smtpclient.Options{TLS: smtpclient.TLS{Policy: policy}})
		if _, err := c.Send(t.Context(), smtpclient.Envelope{RequireTLS: true, Recipients: []string{"a@s"}}, strings.NewReader(letter)); err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(server.Commands(), "\n"); !strings.Contains(all, want+"\n") {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

// TestTimeouts: each wait has a bound of its own.
func TestTimeouts(t *testing.T) {
	const long, short = 20 * time.Second, 50 * time.Millisecond
	for name, tt := range map[string]struct {
		set    func(*smtpclient.Timeouts)
		script string
		at     string
	}{
		"greeting": {func(o *smtpclient.Timeouts) { o.Greeting = short }, "hang", "greeting"},
		"EHLO":     {func(o *smtpclient.Timeouts) { o.Command = short }, "S: 220 x\nC: EHLO *\nhang", "i/o timeout"},
		"MAIL":     {func(o *smtpclient.Timeouts) { o.Mail = short }, hello + "\nC: MAIL *\nC: RCPT *\nhang", "i/o timeout"},
		"RCPT":     {func(o *smtpclient.Timeouts) { o.Rcpt = short }, hello + "\nC: MAIL *\nC: RCPT *\nS: 250 ok\nhang", "i/o timeout"},
		"DATA":     {func(o *smtpclient.Timeouts) { o.Data = short }, hello + "\nC: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\nC: DATA\nhang", "i/o timeout"},
		"end": {
			func(o *smtpclient.Timeouts) { o.End = short },
			hello + "\nC: MAIL *\nC: RCPT *\nS: 250 ok\nS: 250 ok\nC: DATA\nS: 354 go\ncontent\nhang", "no answer to the end of the content",
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := server(t, tt.script)
			timeouts := smtpclient.Within(long)
			timeouts.End = long
			tt.set(&timeouts)
			begun := time.Now()
			c, err := smtpclient.Dial(t.Context(), "tcp", address, smtpclient.Options{Hello: "gate.example", Timeouts: timeouts})
			if err == nil {
				defer c.Close()
				var outcomes []smtpclient.Outcome
				if outcomes, err = c.Send(t.Context(), smtpclient.Envelope{Recipients: []string{"a@s"}}, strings.NewReader(letter)); err == nil {
					err = outcomes[0].Err
				}
			}
			if took := time.Since(begun); err == nil || !strings.Contains(err.Error(), tt.at) || took > long/2 {
				t.Errorf("%v, after %s", err, took)
			}
		})
	}
}

// TestDialer: whoever knows where a name leads says so, and the server is known by the name.
func TestDialer(t *testing.T) {
	server := (&fakesmtp.Server{}).Start(t)
	asked := ""
	c, err := smtpclient.Dial(t.Context(), "tcp", "mx.example:25", smtpclient.Options{
		Hello: "gate.example", Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			asked = network + " " + address
			return new(net.Dialer).DialContext(ctx, network, server.Address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if asked != "tcp mx.example:25" || c.Server() != "mx.example" {
		t.Errorf("asked for %q, which is %s", asked, c.Server())
	}
}
