package smtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestStartTLS(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play(begin + "> STARTTLS\n< 220")
	conn.upgrade()
	conn.play(`
		> RCPT TO:<c@mx.example>
		< 503 5.5.1
		> MAIL FROM:<>
		< 503 5.5.1 bad sequence of commands: EHLO
		> STARTTLS
		< 503 5.5.1
		> EHLO c
		< 250
		> MAIL FROM:<a@b.example>
		< 250
		> RCPT TO:<c@mx.example>
		< 250
		> DATA
		< 354
		> .
		< 250
		> QUIT
		< 221
		!`)
	if trace := f.taken()[0].trace; !strings.Contains(trace, "with ESMTPS (TLS1.3 TLS_") {
		t.Errorf("trace: %q", trace)
	}
}

func TestStartTLSComesBeforeAuth(t *testing.T) {
	s := testServer(plainBackend())
	s.TLSConfig, s.AllowInsecureAuth = serverTLS(), true
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n> AUTH PLAIN AHVzZXIAc2VzYW1l\n< 235\n> STARTTLS\n< 503 5.5.1")
}

func TestStartTLSWithoutHandshake(t *testing.T) {
	s := testServer(&fake{})
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n> STARTTLS\n< 220\n> MAIL FROM:<a@b.example>")
	// An alert, perhaps, and the end: no reply in plaintext.
	rest := make([]byte, 100)
	n, _ := conn.r.Read(rest)
	if n > 0 && rest[0] != 21 {
		t.Errorf("got %q", rest[:n])
	}
	shutdown(t, s)
}

func TestImplicitTLS(t *testing.T) {
	s := testServer(&fake{})
	s.TLSConfig, s.ImplicitTLS = serverTLS(), true
	conn := talk(t, s)
	conn.upgrade()
	conn.play("< 220\n> EHLO c\n< 250\n> STARTTLS\n< 503\n> QUIT\n< 221\n!")
}

func TestImplicitTLSNeedsACertificate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(&fake{})
	s.ImplicitTLS = true
	if err := s.Serve(t.Context(), l); err == nil {
		t.Error("it serves without")
	}
}

// A session ticket of one listener is worth nothing at another (Postfix 20260805): there
// are none.
func TestNoTicketsAcrossListeners(t *testing.T) {
	config := clientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	shared := serverTLS()
	for range 2 {
		s := testServer(&fake{})
		s.TLSConfig, s.ImplicitTLS = shared, true
		address := onTCP(t, s)
		for range 2 {
			conn, err := tls.Dial("tcp", address, config)
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			c.play("< 220\n> QUIT\n< 221\n!")
			if conn.ConnectionState().DidResume {
				t.Error("resumed")
			}
		}
	}
}

// TestReasons: why a session ended is told by the same word wherever it happens.
func TestReasons(t *testing.T) {
	const startTLS = "< 220\n> EHLO c\n< 250\n> STARTTLS\n< 220"
	leave := func(c *client) { c.conn.Close() }
	for _, test := range []struct {
		name, script string
		implicit     bool
		do           func(*client)
		reason       string
	}{
		{"left before the handshake", startTLS, false, leave, "tls"},
		{"no handshake", startTLS + "\n> NOOP", false, leave, "tls"},
		{"left in the handshake", startTLS + "\n~ \x16\x03\x01\x02\x00\x01", false, leave, "tls"},
		{"the certificate is refused", startTLS, false, func(c *client) {
			_ = tls.Client(c.conn, &tls.Config{ServerName: "elsewhere.example"}).Handshake()
		}, "tls"},
		{"nothing is said to STARTTLS", startTLS, false, func(c *client) { _, _ = io.Copy(io.Discard, c.conn) }, "tls"},
		{"no implicit handshake", "> QUIT", true, leave, "tls"},
		{"left in implicit TLS", "", true, leave, "tls"},
		{"nothing is said to implicit TLS", "", true, func(c *client) { _, _ = io.Copy(io.Discard, c.conn) }, "tls"},
		{"left after the greeting", "< 220", false, leave, "gone"},
		{"left in AUTH", "< 220\n> EHLO c\n< 250\n> AUTH PLAIN\n< 334", false, leave, "gone"},
		{"left in the message", begin + "> DATA\n< 354\n> x", false, leave, "gone"},
		{"left in a chunk", begin + "~ BDAT 5\\r\\nhell", false, leave, "gone"},
		{"left in a chunk that nobody wants", "< 220\n~ BDAT 5\\r\\nhell", false, leave, "gone"},
		{"QUIT", "< 220\n> QUIT\n< 221", false, leave, "quit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log syncBuffer
			s := testServer(plainBackend())
			s.TLSConfig, s.ImplicitTLS, s.AllowInsecureAuth = serverTLS(), test.implicit, true
			s.Timeouts.Handshake = 500 * time.Millisecond
			s.Log = zerolog.New(&log)
			conn := talk(t, s)
			conn.play(test.script)
			test.do(conn)
			var told string
			for told == "" && t.Context().Err() == nil { // the test's own time-out ends it
				for line := range strings.Lines(log.String()) {
					if strings.Contains(line, `"event":"session_end"`) {
						told = line
					}
				}
				runtime.Gosched()
			}
			if !strings.Contains(told, `"reason":"`+test.reason+`"`) {
				t.Errorf("want %s: %s", test.reason, told)
			}
		})
	}
}

// recorded keeps what was read.
type recorded struct {
	net.Conn
	octets bytes.Buffer
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.octets.Write(b[:n])
	return n, err
}

// TestTLSEndsProperly: a close_notify alert comes behind the last reply, so that the client can tell an end that was
// meant from one that somebody has made (RFC 8446 §6.1; in TLS 1.2 an alert is known by its record's type).
func TestTLSEndsProperly(t *testing.T) {
	for last, command := range map[string]string{"221": "QUIT", "421": "BDAT x LAST"} {
		t.Run(last, func(t *testing.T) {
			s := testServer(&fake{})
			s.TLSConfig, s.ImplicitTLS, s.Limits.Errors = serverTLS(), true, 1
			raw := &recorded{Conn: dial(t, onTCP(t, s)).conn}
			config := clientTLS()
			config.MaxVersion = tls.VersionTLS12
			conn := tls.Client(raw, config)
			c := newClient(t, conn)
			c.play("< 220\n> EHLO c\n< 250\n> " + command)
			if _, err := io.Copy(io.Discard, c.r); err != nil {
				t.Fatal(err)
			}
			var record []byte
			for in := bufio.NewReader(&raw.octets); ; {
				header := make([]byte, 5)
				if _, err := io.ReadFull(in, header); err != nil {
					break
				}
				record = make([]byte, int(header[3])<<8|int(header[4]))
				if _, err := io.ReadFull(in, record); err != nil {
					t.Fatal(err)
				}
				record = append(header, record...)
			}
			const alert = 21
			if len(record) == 0 || record[0] != alert {
				t.Errorf("the last record is %x, no alert", record)
			}
		})
	}
}
