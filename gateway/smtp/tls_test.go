package smtp

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"
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
		< 503 5.5.1 say EHLO
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
