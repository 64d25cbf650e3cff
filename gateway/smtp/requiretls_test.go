package smtp

import (
	"slices"
	"testing"
)

// TestRequireTLS: REQUIRETLS is offered and taken by TLS alone, and where the backend goes by it (RFC 8689 §2).
func TestRequireTLS(t *testing.T) {
	const mail = "MAIL FROM:<a@b.example> REQUIRETLS"
	for _, c := range []struct {
		name          string
		requires, tls bool
	}{{"by TLS", true, true}, {"in the clear", true, false}, {"the backend does not", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			backend := &fake{requires: c.requires}
			s := testServer(backend)
			s.TLSConfig = serverTLS()
			conn := talk(t, s)
			conn.play(begin)
			if c.tls {
				conn.play("> STARTTLS\n< 220")
				conn.upgrade()
			}
			offered := c.requires && c.tls
			conn.send("EHLO c\r\n")
			if _, lines := conn.reply(); slices.Contains(lines, "REQUIRETLS") != offered {
				t.Errorf("EHLO: %q", lines)
			}
			if !offered {
				conn.play("> " + mail + "\n< 555 5.5.4")
				return
			}
			conn.play("> " + mail + "=yes\n< 501 5.5.4\n> " + mail + "\n< 250\n> RSET\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> QUIT\n< 221\n!")
			// The first one is of the beginning.
			if got := backend.mails; len(got) != 3 || !got[1].RequireTLS || got[2].RequireTLS {
				t.Errorf("the backend was told %+v", got)
			}
		})
	}
}
