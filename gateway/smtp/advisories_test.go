package smtp

import (
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"testing"
)

// CVE-2023-51764 (Postfix), -51765 (Sendmail), -51766 (Exim): what a server of the other
// opinion sends on as one message arrives as one, or not at all. However the first end is
// spelt, no second message comes of it.
func TestCVE_2023_51764_51765_51766_Smuggling(t *testing.T) {
	inner := "MAIL FROM:<admin@mx.example>\\r\\nRCPT TO:<victim@mx.example>\\r\\nDATA\\r\\nSubject: smuggled\\r\\n\\r\\nx\\r\\n.\\r\\n"
	for _, end := range []string{
		`\n.\n`, `\n.\r\n`, `\r\n.\n`, `\r.\r`, `\r.\r\n`, `\r\n.\r`, `\n.\r`, `\r\n\x00.\r\n`, `\r\n.\x00\r\n`, `\n\n.\n\n`, `\r\r\n.\r\r\n`, `\r\n.\r\r\n`,
	} {
		for _, mode := range []BareNewlines{RejectBareNewlines, NormaliseBareNewlines} {
			t.Run(end, func(t *testing.T) {
				f := &fake{}
				s := testServer(f)
				s.BareNewlines = mode
				conn := talk(t, s)
				conn.play(begin + "> DATA\n< 354\n~ Subject: x\\r\\n\\r\\nx" + end + inner)
				code, _ := conn.reply()
				conn.play("> QUIT\n< 221\n!") // no reply to the inner commands
				taken := f.taken()
				if bare := !strings.Contains(end, `\x00`); bare && mode == RejectBareNewlines {
					if code != 550 || len(taken) != 0 {
						t.Errorf("reply %d, %d messages", code, len(taken))
					}
				} else if code != 250 || len(taken) != 1 || !strings.Contains(taken[0].body, "victim") {
					t.Errorf("reply %d, messages %+v", code, taken)
				} else if rest := strings.ReplaceAll(taken[0].body, "\r\n", ""); strings.ContainsAny(rest, "\r\n") {
					t.Errorf("bare newlines go on: %q", taken[0].body)
				}
			})
		}
	}
}

// The same trick among commands: LF alone ends none, and what is behind it does not run.
func TestCVE_2023_51764_SmugglingInCommands(t *testing.T) {
	f := &fake{}
	conn := talk(t, testServer(f))
	conn.play("< 220\n> EHLO c\n< 250\n~ NOOP\\nMAIL FROM:<a@b.example>\\r\\n\n< 521 5.5.2\n!")
	if calls := f.called(); slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "MAIL") }) {
		t.Errorf("calls: %q", calls)
	}
}

func TestLFCommandsWhereNormalised(t *testing.T) {
	s := testServer(&fake{})
	s.BareNewlines = NormaliseBareNewlines
	conn := talk(t, s)
	conn.play("< 220\n~ EHLO c\\nMAIL FROM:<>\\nQUIT\\n\n< 250\n< 250\n< 221\n!")
}

// CVE-2011-0411, CVE-2021-33515: what is pipelined behind STARTTLS never runs in TLS, and
// nothing that was said before counts after.
func TestCVE_2011_0411_StartTLSInjection(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n~ STARTTLS\\r\\nEHLO evil\\r\\nMAIL FROM:<evil@b.example>\\r\\n\n< 220")
	conn.upgrade()
	conn.play("> NOOP\n< 250 2.0.0 OK\n> RCPT TO:<c@mx.example>\n< 503 5.5.1\n> EHLO c\n< 250\n> QUIT\n< 221\n!")
	for _, call := range f.called() {
		if strings.HasPrefix(call, "MAIL") {
			t.Errorf("ran: %q", call)
		}
	}
}

func TestCVE_2011_0411_RejectedWhereEarlyTalkersAre(t *testing.T) {
	s := testServer(&fake{})
	s.TLSConfig, s.AllowEarlyTalkers = serverTLS(), false
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n~ STARTTLS\\r\\nEHLO evil\\r\\n\n< 554 5.5.0\n!")
}

func TestCVE_2021_33515_EnvelopeDoesNotCrossTLS(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play(begin + "> STARTTLS\n< 220")
	conn.upgrade()
	conn.play("> EHLO c\n< 250\n> DATA\n< 503 5.5.1\n> MAIL FROM:<x@y.example>\n< 250\n> DATA\n< 554 5.5.1")
}

// Postfix 20260724: MAIL and RCPT are both forgotten after an error of BDAT.
func TestStateDesync_BdatError(t *testing.T) {
	f := &fake{}
	conn := talk(t, testServer(f))
	conn.play(begin + "~ BDAT 2 LAST\\r\\n\\nx\n< 550 5.5.2\n> DATA\n< 503 5.5.1\n~ BDAT 1 LAST\\r\\nx\n< 503 5.5.1\n" +
		"> MAIL FROM:<second@b.example>\n< 250\n> DATA\n< 554 5.5.1 no valid recipients\n> RCPT TO:<other@mx.example>\n< 250\n> DATA\n< 354\n> .\n< 250")
	if m := f.taken()[0]; m.from != "second@b.example" || len(m.to) != 1 || m.to[0] != "other@mx.example" {
		t.Errorf("got %+v", m)
	}
}

// Postfix 20260803: a message refused at its end takes its envelope with it, so that the
// second mail of a connection goes through every check again.
func TestStateDesync_RefusedAtEndOfData(t *testing.T) {
	n := 0
	f := &fake{}
	f.mail = func(string, MailOptions) error { n++; return nil }
	conn := talk(t, testServer(f))
	conn.play(begin + "> DATA\n< 354\n~ \\n\\r\\n.\\r\\n\n< 550\n> RCPT TO:<c@mx.example>\n< 503\n> DATA\n< 503\n" +
		"> MAIL FROM:<b@b.example>\n< 250\n> RCPT TO:<d@mx.example>\n< 250\n> DATA\n< 354\n> .\n< 250")
	if m := f.taken()[0]; n != 2 || m.from != "b@b.example" || m.to[0] != "d@mx.example" {
		t.Errorf("%d times asked, got %+v", n, m)
	}
}

// Postfix 20260812: VRFY's SMTPUTF8 is VRFY's alone.
func TestStateDesync_VrfyUTF8(t *testing.T) {
	conn := talk(t, testServer(&fake{}))
	conn.play(`
		< 220
		> EHLO c
		< 250
		> VRFY jürgen
		< 553 5.6.7
		> VRFY jürgen SMTPUTF8
		< 252
		> MAIL FROM:<jürgen@b.example>
		< 553 5.6.7
		> MAIL FROM:<a@b.example>
		< 250
		> VRFY jürgen SMTPUTF8
		< 252
		> RCPT TO:<jürgen@mx.example>
		< 553 5.6.7`)
}

// Postfix 20260529: a command without an end is not read for ever.
func TestUnboundedCommand(t *testing.T) {
	s := testServer(&fake{})
	conn := talk(t, s)
	conn.play("< 220")
	block := strings.Repeat("x", 64<<10)
	for range 40 {
		if _, err := io.WriteString(conn.conn, block); err != nil {
			break
		}
	}
	conn.play("< 421 4.7.0\n!")
}

// Postfix 20260602: a NUL in xtext reaches nobody.
func TestParameterBytes(t *testing.T) {
	s := testServer(plainBackend())
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250")
	for _, value := range []string{"a+00b", "a+0Ab", "a+0Db", "a+7Fb", "+", "a+4", "a+4g", "+e4", "a=b", "+FF"} {
		conn.play("> MAIL FROM:<a@b.example> AUTH=" + value + "\n< 501 5.5.4")
	}
}

// A browser that was made to POST a mail to us (cross-protocol scripting), and TLS on a port
// that begins in the clear.
func TestOtherProtocols(t *testing.T) {
	for _, first := range []string{
		`GET / HTTP/1.1\r\nHost: x\r\n\r\n`, `POST / HTTP/1.1\r\n\r\nEHLO c\r\nMAIL FROM:<>\r\n`, `PRI * HTTP/2.0\r\n\r\n`,
		`Host: mx.example\r\nMAIL FROM:<>\r\n`, `\x16\x03\x01\x02\r\n`,
	} {
		t.Run(first, func(t *testing.T) {
			conn := talk(t, testServer(&fake{}))
			conn.play("< 220\n~ " + first + "\n< 421 4.7.0\n!")
		})
	}
}

func TestEarlyTalkers(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"behind EHLO", `~ EHLO c\r\nMAIL FROM:<>\r\n`},
		{"behind HELO", `~ HELO c\r\nMAIL FROM:<>\r\n`},
		{"behind AUTH", `~ AUTH PLAIN\r\nAHVzZXIAc2VzYW1l\r\n`},
		{"behind DATA", begin[len("< 220\n"):] + `~ DATA\r\nx\r\n.\r\n`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testServer(plainBackend())
			s.AllowEarlyTalkers, s.AllowInsecureAuth = false, true
			conn := talk(t, s)
			conn.play("< 220\n" + c.script + "\n< 554 5.5.0\n!")
		})
	}
	t.Run("allowed for submission", func(t *testing.T) {
		s := testServer(plainBackend())
		s.AllowEarlyTalkers, s.Role, s.AllowInsecureAuth = false, Submission, true
		conn := talk(t, s)
		conn.play("< 220\n~ EHLO c\\r\\nAUTH PLAIN AHVzZXIAc2VzYW1l\\r\\nQUIT\\r\\n\n< 250\n< 235\n< 221\n!")
	})
	t.Run("a group that ends in DATA is fine", func(t *testing.T) {
		s := testServer(&fake{})
		s.AllowEarlyTalkers = false
		conn := talk(t, s)
		conn.play("< 220\n> EHLO c\n< 250\n~ MAIL FROM:<>\\r\\nRCPT TO:<c@mx.example>\\r\\nDATA\\r\\n\n< 250\n< 250\n< 354\n~ .\\r\\nMAIL FROM:<>\\r\\nQUIT\\r\\n\n< 250\n< 250\n< 221")
	})
}

func TestEarlyTalkerBeforeTheGreetingInTLS(t *testing.T) {
	s := testServer(&fake{})
	s.AllowEarlyTalkers, s.TLSConfig, s.ImplicitTLS = false, serverTLS(), true
	s.GreetDelay = 5e9
	raw := dial(t, onTCP(t, s))
	conn := tls.Client(raw.conn, clientTLS())
	c := newClient(t, conn)
	c.play("> EHLO bot\n< 554 5.5.0\n!")
}

// Exim, CVE-2026-45185: TLS ends properly in the middle of a chunk, and octets in the clear come
// behind it. The connection ends, and nobody gets anything.
func TestCVE_2026_45185_TLSEndsInAChunk(t *testing.T) {
	for name, script := range map[string]string{
		"in a chunk":        "~ BDAT 10 LAST\\r\\nhel",
		"between chunks":    "~ BDAT 3\\r\\nhel\n< 250",
		"in a command":      "~ BDAT 1",
		"within DATA":       "> DATA\n< 354\n~ Subject: x\\r\\n",
		"in a skipped one":  "> RSET\n< 250\n~ BDAT 10\\r\\nhel",
		"before the octets": "~ BDAT 10 LAST\\r\\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			s := testServer(f)
			s.TLSConfig = serverTLS()
			conn := talk(t, s)
			conn.play("< 220\n> EHLO c\n< 250\n> STARTTLS\n< 220")
			plain := conn.conn
			conn.upgrade()
			conn.play("> EHLO c\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<c@mx.example>\n< 250\n" + script)
			if err := conn.conn.(*tls.Conn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(plain, "lo, in the clear\r\n.\r\nBDAT 0 LAST\r\n") // the server may be gone
			_, _ = io.Copy(io.Discard, conn.conn)
			if taken := f.taken(); len(taken) != 0 {
				t.Errorf("taken: %+v", taken)
			}
			if _, err := plain.Write([]byte("QUIT\r\n")); err == nil {
				if _, err := io.ReadAll(plain); err != nil {
					t.Errorf("the connection goes on: %v", err)
				}
			}
		})
	}
}
