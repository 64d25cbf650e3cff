package smtp

import (
	"crypto/tls"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
)

func traceSession(s *Server, change func(*session)) *session {
	n := &session{server: s, raw: addressed{remote: &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 1}}, id: "abc"}
	n.helo, n.esmtp = "client.example", true
	n.tx = &transaction{id: "abc.1", recipients: 1, recipient: parsed("<c@mx.example>")}
	if change != nil {
		change(n)
	}
	return n
}

// parsed is a path that is well formed.
func parsed(text string) address.Path {
	path, _, err := address.ParsePath(text)
	if err != nil {
		panic(err)
	}
	return path
}

// addressed is a connection that has nothing but an address.
type addressed struct {
	net.Conn
	remote net.Addr
}

func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestReceived(t *testing.T) {
	now := time.Date(2026, 11, 5, 9, 8, 7, 0, time.FixedZone("", 3600))
	const date = "\r\n\tThu, 5 Nov 2026 09:08:07 +0100\r\n"
	secure := func(n *session) {
		n.tlsState.Store(&tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256})
	}
	for _, c := range []struct {
		name   string
		hide   bool
		change func(*session)
		want   string
	}{
		{
			"plain", false, nil,
			"Received: from client.example ([192.0.2.1])\r\n\tby mx.example with ESMTP\r\n\tid abc.1 for <c@mx.example>;" + date,
		},
		{
			"HELO", false, func(n *session) { n.esmtp = false },
			"Received: from client.example ([192.0.2.1])\r\n\tby mx.example with SMTP\r\n\tid abc.1 for <c@mx.example>;" + date,
		},
		{
			"two recipients are not told", false, func(n *session) { n.tx.recipients = 2 },
			"Received: from client.example ([192.0.2.1])\r\n\tby mx.example with ESMTP\r\n\tid abc.1;" + date,
		},
		{
			"TLS, AUTH, SMTPUTF8, IPv6", false, func(n *session) {
				secure(n)
				n.authed, n.tx.options.UTF8, n.tx.recipient = true, true, parsed("<jürgen@mx.example>")
				n.raw = addressed{remote: &net.TCPAddr{IP: net.ParseIP("2001:db8::1")}}
			},
			"Received: from client.example ([IPv6:2001:db8::1])\r\n\tby mx.example with UTF8SMTPSA (TLS1.3 TLS_AES_128_GCM_SHA256)\r\n\tid abc.1 for <jürgen@mx.example>;" + date,
		},
		{
			"hidden client", true, func(n *session) { secure(n); n.authed = true },
			"Received: by mx.example with ESMTPSA (TLS1.3 TLS_AES_128_GCM_SHA256)\r\n\tid abc.1 for <c@mx.example>;" + date,
		},
		{
			"a name that would inject", false, func(n *session) { n.helo = "a\r\nX: (y);bü" },
			"Received: from a??X:??y??b? ([192.0.2.1])\r\n\tby mx.example with ESMTP\r\n\tid abc.1 for <c@mx.example>;" + date,
		},
		{
			"no TCP", false, func(n *session) { n.raw = addressed{remote: &net.UnixAddr{Name: "x"}} },
			"Received: from client.example ([unknown])\r\n\tby mx.example with ESMTP\r\n\tid abc.1 for <c@mx.example>;" + date,
		},
		{
			"long names are folded", false, func(n *session) {
				n.helo = strings.Repeat("h", 60) + ".example"
				n.tx.recipient = parsed("<" + strings.Repeat("r", 60) + "@mx.example>")
			},
			"Received: from\r\n\t" + strings.Repeat("h", 60) + ".example\r\n\t([192.0.2.1])\r\n\tby mx.example with ESMTP\r\n\tid abc.1 for\r\n\t<" + strings.Repeat("r", 60) + "@mx.example>;" + date,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := traceSession(&Server{Hostname: "mx.example", HideClient: c.hide}, c.change).received(now)
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			for line := range strings.SplitSeq(got, "\r\n") {
				if len(line) > 78 {
					t.Errorf("a line of %d octets: %q", len(line), line)
				}
			}
			if m, err := mail.ReadMessage(strings.NewReader(got + "\r\n")); err != nil || len(m.Header) != 1 {
				t.Errorf("no header: %v", err)
			}
		})
	}
}

func TestReceivedOnTheWay(t *testing.T) {
	f := &fake{}
	conn := talk(t, testServer(f))
	conn.play(begin + "> DATA\n< 354\n> x\n> .\n< 250\n> MAIL FROM:<>\n< 250\n> RCPT TO:<c@mx.example>\n< 250\n~ BDAT 3 LAST\\r\\nx\\r\\n\n< 250")
	form := regexp.MustCompile(`^Received: from c \(\[127\.0\.0\.1\]\)\r\n\tby mx\.example with ESMTP\r\n\tid [a-z2-7]{12}\.([12]) for <c@mx\.example>;\r\n\t.+\r\nx\r\n$`)
	for i, m := range f.taken() {
		if !form.MatchString(m.trace+m.body) || !strings.Contains(m.trace, "id "+m.opts.ID+" ") {
			t.Errorf("%d: %q, ID %s", i, m.body, m.opts.ID)
		}
	}
}
