//go:build linux

package e2e

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// TestBehindABalancer puts HAProxy in front of the gateway: clients are who HAProxy says they are,
// for the log, for the limit of connections and for the Received line; its health checks find
// the gateway well, and nobody else gets in.
func TestBehindABalancer(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{
		PlaintextLogin: true,
		Listener:       harness.Mapping{"proxy": harness.Mapping{"from": []string{"127.0.0.1"}}},
		More:           harness.Mapping{"limits": harness.Mapping{"per_address": 2}},
	})
	user := g.AddUser(t, "erika")
	at := peers.StartHAProxy(t,
		peers.Balanced{Server: g.Address("pop3"), Version: 1},
		peers.Balanced{Server: g.Address("pop3s"), Version: 2},
		peers.Balanced{Server: g.Address("smtp"), Version: 2},
	)
	// from connects as a client with an address of its own.
	from := func(client, server string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
		conn, err := d.Dial("tcp", server)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	t.Run("SMTP and its Received line", func(t *testing.T) {
		conn := harness.Over(t, from("127.0.0.7", at[2]))
		conn.ExpectReply(220)
		for _, line := range []string{"EHLO client.example", "MAIL FROM:<a@corpus.example>", "RCPT TO:<" + user.Address + ">"} {
			conn.Send("%s", line)
			conn.ExpectReply(250)
		}
		conn.Send("DATA")
		conn.ExpectReply(354)
		conn.Send("Subject: hello\r\n\r\nhello\r\n.")
		conn.ExpectReply(250)
	})
	t.Run("POP3", func(t *testing.T) {
		conn := harness.Over(t, from("127.0.0.8", at[0]))
		conn.Expect("+OK")
		conn.Ask("USER "+user.Address, "+OK")
		conn.Ask("PASS "+user.Password, "+OK")
		conn.Ask("RETR 1", "+OK")
		if message := string(conn.Multi()); !strings.Contains(message, "[127.0.0.7]") {
			t.Errorf("the Received line does not name the client:\n%s", message)
		}
		conn.Ask("QUIT", "+OK")
		g.Log.Wait(t, 0, `"remote":"127.0.0.8:`, `"protocol":"pop3"`, `"login"`)
	})
	t.Run("TLS begins behind the header", func(t *testing.T) {
		secure := tls.Client(from("127.0.0.9", at[1]), g.Authority.Client())
		conn := harness.Over(t, secure)
		conn.Expect("+OK")
		conn.Ask("QUIT", "+OK")
		g.Log.Wait(t, 0, `"remote":"127.0.0.9:`, `"protocol":"pop3s"`)
	})
	t.Run("the limit is the client's", func(t *testing.T) {
		for range 2 {
			harness.Over(t, from("127.0.0.10", at[0])).Expect("+OK")
		}
		harness.Over(t, from("127.0.0.10", at[0])).Expect("-ERR [SYS/TEMP]")
		harness.Over(t, from("127.0.0.11", at[0])).Expect("+OK")
	})
	t.Run("a stranger", func(t *testing.T) {
		place := g.Log.Len()
		conn := from("127.0.0.2", g.Address("pop3"))
		_, _ = conn.Write([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n"))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || !harness.Closed(err) {
			t.Errorf("it is answered: %d octets, %v", n, err)
		}
		g.Log.Wait(t, place, "only load balancers may connect here", `"remote":"127.0.0.2:`)
	})
	t.Run("a balancer without a header", func(t *testing.T) {
		place := g.Log.Len()
		conn := from("127.0.0.1", g.Address("pop3"))
		_, _ = conn.Write([]byte("USER erika\r\nPASS secret\r\n"))
		if n, err := conn.Read(make([]byte, 1)); n > 0 || !harness.Closed(err) {
			t.Errorf("it is answered: %d octets, %v", n, err)
		}
		g.Log.Wait(t, place, "no PROXY header")
	})
	t.Run("a reload", func(t *testing.T) {
		g.Configure(t, func(o *harness.Options) { o.Listener = nil })
		g.Reload(t)
		harness.Over(t, from("127.0.0.1", g.Address("pop3"))).Expect("+OK")
	})
}

// The beginnings of a balancer's own connections: version 1, and version 2 with the command LOCAL.
const (
	unknown = "PROXY UNKNOWN\r\n"
	local   = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// TestHealthChecksThatSpeak: a session in which a balancer speaks for itself, and says what health checks
// say, is in the log at level debug; one that does more is there as any other, and so is a client's.
func TestHealthChecksThatSpeak(t *testing.T) {
	t.Parallel()
	g := harness.Start(t, harness.Options{
		PlaintextLogin: true,
		Listener:       harness.Mapping{"proxy": harness.Mapping{"from": []string{"127.0.0.1"}}},
		More:           harness.Mapping{"log": harness.Mapping{"level": "debug"}},
	})
	user := g.AddUser(t, "erika")
	const client = "PROXY TCP4 192.0.2.7 192.0.2.1 4711 110\r\n"
	for _, test := range []struct {
		name, listener, header string
		lines                  []string
		level                  string
	}{
		{"QUIT of POP3", "pop3", unknown, []string{"QUIT"}, "debug"},
		{"QUIT of POP3, version 2", "pop3", local, []string{"QUIT"}, "debug"},
		{"CAPA and QUIT", "pop3", local, []string{"CAPA", "QUIT"}, "debug"},
		{"NOOP of POP3", "pop3", unknown, []string{"NOOP", "QUIT"}, "debug"},
		{"off without QUIT", "pop3", local, []string{"CAPA"}, "debug"},
		{"a login", "pop3", local, []string{"USER " + user.Address, "PASS " + user.Password, "QUIT"}, "info"},
		{"a login that is refused", "pop3", unknown, []string{"USER " + user.Address, "PASS wrong", "QUIT"}, "info"},
		{"a guess in one line", "pop3", local, []string{"AUTH PLAIN AGEAYg==", "QUIT"}, "info"},
		{"a command that there is not", "pop3", local, []string{"HELO", "QUIT"}, "info"},
		{"a client's QUIT", "pop3", client, []string{"QUIT"}, "info"},
		{"QUIT of SMTP", "smtp", unknown, []string{"QUIT"}, "debug"},
		{"HELO and QUIT", "smtp", local, []string{"HELO balancer.example", "QUIT"}, "debug"},
		{"EHLO and QUIT", "submission", unknown, []string{"EHLO balancer.example", "QUIT"}, "debug"},
		{"NOOP of SMTP", "smtp", local, []string{"NOOP", "QUIT"}, "debug"},
		{"AUTH", "submission", local, []string{"EHLO balancer.example", "AUTH PLAIN AGEAYg==", "QUIT"}, "info"},
		{"MAIL", "smtp", local, []string{"EHLO balancer.example", "MAIL FROM:<>", "QUIT"}, "info"},
		{"a command that SMTP has not", "smtp", unknown, []string{"CAPA", "QUIT"}, "info"},
		{"a client's EHLO", "smtp", client, []string{"EHLO client.example", "QUIT"}, "info"},
	} {
		t.Run(test.name, func(t *testing.T) {
			place := g.Log.Len()
			conn, err := net.Dial("tcp", g.Address(test.listener))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte(test.header)); err != nil {
				t.Fatal(err)
			}
			c := harness.Over(t, conn)
			c.Expect("")
			for _, line := range test.lines {
				c.Send("%s", line)
				c.Expect("")
			}
			c.Close()
			end := g.Log.Wait(t, place, `"event":"session_end"`)
			if end.Field("level") != test.level {
				t.Errorf("the session's end is told of at level %s: %s", end.Field("level"), end.Text)
			}
		})
	}

	t.Run("HAProxy", func(t *testing.T) {
		place := g.Log.Len()
		pop3 := []string{
			"option tcp-check", "tcp-check expect string +OK", `tcp-check send CAPA\r\n`, "tcp-check expect string UIDL",
			`tcp-check send QUIT\r\n`, "tcp-check expect string +OK",
		}
		peers.StartHAProxy(t,
			peers.Balanced{Server: g.Address("pop3"), Version: 1, Check: pop3},
			peers.Balanced{Server: g.Address("pop3"), Version: 2, Check: pop3},
			peers.Balanced{Server: g.Address("smtp"), Version: 2, Check: []string{"option smtpchk EHLO balancer.example"}},
		)
		for _, protocol := range []string{"pop3", "smtp"} {
			g.Log.Wait(t, place, `"event":"session_end"`, `"protocol":"`+protocol+`"`, `"reason":"quit"`)
		}
		for _, e := range g.Log.Since(place) {
			if e.Field("event") == "session_end" && e.Field("reason") == "quit" && e.Field("level") != "debug" {
				t.Errorf("a health check is news: %s", e.Text)
			}
		}
	})
}

// TestCertificates has two of them, changes one while the gateway runs, and breaks it: a client
// is always shown a certificate for the name it asks for.
func TestCertificates(t *testing.T) {
	t.Parallel()
	g := harness.Prepare(t, harness.Options{})
	first, firstKey := g.Authority.Issue(t, "first", "mail.store.example")
	second, secondKey := g.Authority.Issue(t, "second", "mail.partner.example")
	g.Configure(t, func(o *harness.Options) {
		o.More = harness.Mapping{"tls": harness.Mapping{
			"certificate": first, "key": firstKey,
			"certificates": []harness.Mapping{{"certificate": second, "key": secondKey}},
		}}
	})
	g.Run(t)
	// shown is the serial number of the certificate for a name; clients verify it.
	shown := func(name string) string {
		t.Helper()
		config := g.Authority.Client()
		config.ServerName = name
		conn, err := tls.Dial("tcp", g.Address("pop3s"), config)
		if err != nil {
			t.Fatalf("asking for %s: %v", name, err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	one, two := shown("mail.store.example"), shown("mail.partner.example")
	if one == two {
		t.Fatal("both names have the same certificate")
	}

	place := g.Log.Len()
	g.Authority.Issue(t, "second", "mail.partner.example") // over the old files
	g.Log.Wait(t, place, "the certificate is a new one", "mail.partner.example")
	if now := shown("mail.partner.example"); now == two {
		t.Error("the renewed certificate is not shown")
	} else {
		two = now
	}
	place = g.Log.Len()
	if err := os.WriteFile(second, []byte("-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Log.Wait(t, place, "the certificate's files cannot be used: the old one stays")
	if now := shown("mail.partner.example"); now != two {
		t.Error("the certificate before the broken one is not shown")
	}
	if now := shown("mail.store.example"); now != one {
		t.Error("the other certificate has changed")
	}
	g.Signal(t, syscall.SIGHUP) // a broken file is no configuration
	g.Log.Wait(t, place, "the configuration is not reloaded")
	if now := shown("mail.partner.example"); now != two {
		t.Error("a reload has broken it")
	}

	for protocol, refused := range map[string]bool{"pop3": false, "smtp": true, "http/1.1": true} {
		config := g.Authority.Client()
		config.ServerName, config.NextProtos = "mail.store.example", []string{protocol}
		conn, err := tls.Dial("tcp", g.Address("pop3s"), config)
		if err == nil {
			conn.Close()
		}
		if is := err != nil && strings.Contains(err.Error(), "no application protocol"); is != refused {
			t.Errorf("a client that speaks %s: %v", protocol, err)
		}
	}
}
