package smtp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends/mail/sasl"
)

// plain is a PLAIN exchange (RFC 4616) for user and sesame.
type plain struct{ asked bool }

func (*plain) Close() error { return nil }

func (p *plain) Next(_ context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	switch {
	case response == nil && !p.asked:
		p.asked = true
		return nil, nil, nil
	case bytes.Equal(response, []byte("\x00user\x00sesame")):
		return nil, &sasl.Accepted{}, nil
	case bytes.Equal(response, []byte("\x00user\x00outage")):
		return nil, nil, errors.New("the directory burns")
	}
	return nil, nil, &Error{Code: 535, Enhanced: "5.7.8", Text: "wrong"}
}

// chatter is an exchange that a test writes down as a function, which says whether it is accepted.
type chatter func(response []byte) (challenge []byte, accepted bool, err error)

func (c chatter) Next(_ context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	challenge, accepted, err := c(response)
	if accepted {
		return challenge, &sasl.Accepted{}, err
	}
	return challenge, nil, err
}

func (chatter) Close() error { return nil }

func plainBackend() *fake {
	return &fake{mechanisms: []string{"PLAIN"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) { return &plain{}, nil }}
}

func TestAuth(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"initial response", `
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 235 2.7.0
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 503 5.5.1`},
		{"challenge", `
			> auth plain
			< 334 
			> AHVzZXIAc2VzYW1l
			< 235 2.7.0`},
		{"cancelled", `
			> AUTH PLAIN
			< 334
			> *
			< 501 5.7.0
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 235`},
		{"an empty initial response", `
			> AUTH PLAIN =
			< 535 5.7.8`},
		{"wrong", `
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535 5.7.8
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 235`},
		{"an outage is no bad password", `
			> AUTH PLAIN AHVzZXIAb3V0YWdl
			< 454 4.7.0 a local error`},
		{"no base64", `
			> AUTH PLAIN AHVzZXIAc2VzYW1l!
			< 501 5.5.2
			> AUTH PLAIN
			< 334
			> ====
			< 501 5.5.2
			> AUTH PLAIN  =
			< 501 5.5.2
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 235`},
		{"no such mechanism", `
			> AUTH LOGIN
			< 504 5.5.4
			> AUTH
			< 501 5.5.4`},
		{"in a transaction", `
			> MAIL FROM:<a@b.example> AUTH=e+3Dmc2@example.com
			< 250
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 503 5.5.1
			> RSET
			< 250
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 235`},
		{"AUTH= of MAIL", `
			> MAIL FROM:<a@b.example> AUTH=a+00b
			< 501 5.5.4
			> MAIL FROM:<a@b.example> AUTH=
			< 501 5.5.4
			> MAIL FROM:<a@b.example> AUTH=<>
			< 250`},
		{"three failures are enough", `
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			< 421 4.7.0
			!`},
		{"EHLO does not make failures good", `
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			> EHLO c
			< 250
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			> RSET
			< 250
			> AUTH PLAIN AHVzZXIAd3Jvbmc=
			< 535
			< 421 4.7.0
			!`},
		{"AUTH needs EHLO", `
			> HELO c
			< 250
			> AUTH PLAIN AHVzZXIAc2VzYW1l
			< 503 5.5.1`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testServer(plainBackend())
			s.AllowInsecureAuth = true
			conn := talk(t, s)
			conn.play("< 220\n> EHLO c\n< 250")
			conn.play(c.script)
		})
	}
}

// RFC 4954 §4 asks for 12288 octets; OAuth tokens and Kerberos tickets need them.
func TestAuthLongLines(t *testing.T) {
	var got []byte
	f := &fake{mechanisms: []string{"XOAUTH2"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) {
		return chatter(func(response []byte) ([]byte, bool, error) {
			got = response
			return nil, response != nil, nil
		}), nil
	}}
	s := testServer(f)
	s.AllowInsecureAuth = true
	token := bytes.Repeat([]byte("x"), 9000)
	line := base64.StdEncoding.EncodeToString(token) // 12000
	for _, script := range []string{
		"> AUTH XOAUTH2 " + line + "\n< 235",
		"> AUTH XOAUTH2\n< 334\n> " + line + "\n< 235",
	} {
		got = nil
		conn := talk(t, s)
		conn.play("< 220\n> EHLO c\n< 250\n" + script + "\n> NOOP\n< 250")
		if !bytes.Equal(got, token) {
			t.Errorf("got %d octets", len(got))
		}
		s = &Server{Backend: f, Hostname: "mx.example", AllowEarlyTalkers: true, AllowInsecureAuth: true}
	}
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n> AUTH XOAUTH2\n< 334\n> " + strings.Repeat("x", 12300) + "\n< 500 5.5.6\n> NOOP\n< 250")
}

// A mechanism's last word goes out before 235 does (RFC 4954 §4; SCRAM has one).
func TestAuthLastWord(t *testing.T) {
	for _, c := range []struct{ name, response, want string }{
		{"empty response", "", "235 2.7.0"},
		{"another response", "eA==", "501 5.5.2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{mechanisms: []string{"SCRAM"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) {
				told := false
				return chatter(func(response []byte) ([]byte, bool, error) {
					switch {
					case !told:
						told = true
						return []byte("v=x"), false, nil
					case len(response) == 0:
						return nil, true, nil
					}
					return nil, false, &Error{Code: 501, Enhanced: "5.5.2", Text: "malformed"}
				}), nil
			}}
			s := testServer(f)
			s.AllowInsecureAuth = true
			conn := talk(t, s)
			conn.play("< 220\n> EHLO c\n< 250\n> AUTH SCRAM eA==\n< 334 dj14\n> " + c.response + "\n< " + c.want)
		})
	}
}

func TestAuthWithoutEnd(t *testing.T) {
	f := &fake{mechanisms: []string{"LOOP"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) {
		return chatter(func([]byte) ([]byte, bool, error) { return []byte("more"), false, nil }), nil
	}}
	s := testServer(f)
	s.AllowInsecureAuth = true
	conn := talk(t, s)
	conn.play("< 220\n> EHLO c\n< 250\n> AUTH LOOP eA==")
	for range mostExchanges {
		conn.play("< 334\n> eA==")
	}
	conn.play("< 454 4.7.0\n> NOOP\n< 250")
}

// Submission takes no mail without a login, and no login without TLS.
func TestSubmission(t *testing.T) {
	s := testServer(plainBackend())
	s.Role = Submission
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play(`
		< 220
		> EHLO c
		< 250
		> MAIL FROM:<a@b.example>
		< 530 5.7.0 Must issue a STARTTLS command first
		> AUTH PLAIN AHVzZXIAc2VzYW1l
		< 538 5.7.11
		> STARTTLS
		< 220`)
	conn.upgrade()
	conn.play(`
		> MAIL FROM:<a@b.example>
		< 503 5.5.1
		> EHLO c
		< 250
		> MAIL FROM:<a@b.example>
		< 530 5.7.0 Authentication required
		> AUTH PLAIN AHVzZXIAc2VzYW1l
		< 235
		> MAIL FROM:<a@b.example>
		< 250
		> RCPT TO:<c@d.example>
		< 250
		> DATA
		< 354
		> .
		< 250`)
}

// closing is an exchange that notes how often it is closed.
type closing struct {
	chatter
	closed *int
}

func (c closing) Close() error { *c.closed++; return nil }

// TestAuthClosesExchanges has each exchange closed once, however it ends.
func TestAuthClosesExchanges(t *testing.T) {
	answer := func(response []byte) ([]byte, bool, error) {
		switch string(response) {
		case "good":
			return nil, true, nil
		case "bad":
			return nil, false, &Error{Code: 535, Enhanced: "5.7.8", Text: "wrong"}
		}
		return []byte{}, false, nil
	}
	for name, script := range map[string]string{
		"succeeds":     "> AUTH X\n< 334\n> Z29vZA==\n< 235",
		"fails":        "> AUTH X YmFk\n< 535",
		"is cancelled": "> AUTH X\n< 334\n> *\n< 501",
		"is garbage":   "> AUTH X\n< 334\n> !\n< 501",
	} {
		t.Run(name, func(t *testing.T) {
			closed := 0
			f := &fake{mechanisms: []string{"X"}, auth: func(string) (sasl.Exchange[sasl.Accepted], error) { return closing{answer, &closed}, nil }}
			s := testServer(f)
			s.AllowInsecureAuth = true
			conn := talk(t, s)
			conn.play("< 220\n> EHLO c\n< 250\n" + script + "\n> QUIT\n< 221\n!")
			if closed != 1 {
				t.Errorf("closed %d times", closed)
			}
		})
	}
}
