package smtp

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

func TestConversations(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"a message", `
			> EHLO client.example
			< 250 LIMITS MAILMAX=1000 RCPTMAX=1000
			> MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME
			< 250 2.1.0
			> RCPT TO:<c@mx.example>
			< 250 2.1.5
			> DATA
			< 354
			> Subject: x
			>
			> ..dot
			> .
			< 250 2.0.0 taken
			> QUIT
			< 221 2.0.0
			!`},
		{"pipelined in one write", `
			~ EHLO client.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@mx.example>\r\nRCPT TO:<d@mx.example>\r\nDATA\r\n
			< 250
			< 250 2.1.0
			< 250 2.1.5
			< 250 2.1.5
			< 354
			~ x\r\n.\r\nMAIL FROM:<>\r\nRSET\r\nQUIT\r\n
			< 250 2.0.0
			< 250 2.1.0
			< 250 2.0.0
			< 221`},
		{"commands in any case, spaces behind colons", `
			> ehlo client.example
			< 250
			> mail from: <a@b.example>  size=1
			< 250
			> rcpt to:   <c@mx.example>
			< 250
			> rset
			< 250
			> quit
			< 221`},
		{"white space at the end", `
			> EHLO c  
			< 250
			> MAIL FROM:<a@b.example>  
			< 250
			> RSET   
			< 250
			> QUIT  
			< 221`},
		{"nothing before EHLO", `
			> MAIL FROM:<a@b.example>
			< 503 5.5.1
			> RCPT TO:<a@b.example>
			< 503 5.5.1
			> DATA
			< 503 5.5.1
			> NOOP
			< 250 2.0.0`},
		{"nested MAIL", `
			> EHLO c
			< 250
			> MAIL FROM:<a@b.example>
			< 250
			> MAIL FROM:<c@d.example>
			< 503 5.5.1
			> RCPT TO:<c@mx.example>
			< 250`},
		{"RCPT before MAIL", `
			> EHLO c
			< 250
			> RCPT TO:<c@mx.example>
			< 503 5.5.1`},
		{"DATA without valid recipients", `
			> EHLO c
			< 250
			~ MAIL FROM:<a@b.example>\r\nRCPT TO:<nobody>\r\nDATA\r\n
			< 250
			< 501 5.1.3
			< 554 5.5.1
			> RCPT TO:<c@mx.example>
			< 250`},
		{"a second EHLO forgets", `
			> EHLO c
			< 250
			> MAIL FROM:<a@b.example>
			< 250
			> EHLO c
			< 250
			> RCPT TO:<c@mx.example>
			< 503 5.5.1
			> MAIL FROM:<a@b.example>
			< 250`},
		{"EHLO that is refused forgets nothing", `
			> EHLO c
			< 250
			> MAIL FROM:<a@b.example>
			< 250
			> EHLO
			< 501 5.5.4
			> EHLO a(b)c
			< 501 5.5.4
			> RCPT TO:<c@mx.example>
			< 250`},
		{"HELO has no extensions", `
			> HELO c
			< 250 mx.example
			> MAIL FROM:<a@b.example> SIZE=1
			< 555 5.5.4
			> MAIL FROM:<a@b.example>
			< 250`},
		{"verbs that tell nothing", `
			> EHLO c
			< 250
			> VRFY postmaster
			< 252 2.0.0
			> VRFY
			< 501 5.5.4
			> EXPN list
			< 502 5.5.1
			> HELP
			< 214 2.0.0
			> NOOP whatever this is
			< 250 2.0.0
			> LHLO c
			< 500 5.5.2
			> TURN
			< 500 5.5.2
			> ETRN sakes.example
			< 502 5.5.1
			> ATRN sakes.example
			< 500 5.5.2
			>
			< 500 5.5.2`},
		{"verbs without parameters", `
			> EHLO c
			< 250
			> RSET now
			< 501 5.5.4
			> QUIT now
			< 501 5.5.4
			> DATA now
			< 501 5.5.4
			> STARTTLS now
			< 501 5.5.4`},
		{"no STARTTLS and no AUTH where there is none", `
			> EHLO c
			< 250
			> STARTTLS
			< 502 5.5.1
			> AUTH PLAIN
			< 502 5.5.1
			> MAIL FROM:<a@b.example> AUTH=<>
			< 555 5.5.4`},
		{"parameters", `
			> EHLO c
			< 250
			> MAIL FROM:<a@b.example> FOO=BAR
			< 555 5.5.4
			> MAIL FROM:<a@b.example> SIZE=1 SIZE=2
			< 501 5.5.4
			> MAIL FROM:<a@b.example> SIZE
			< 501 5.5.4
			> MAIL FROM:<a@b.example> SIZE=-1
			< 501 5.5.4
			> MAIL FROM:<a@b.example> BODY=BINARYMIME
			< 501 5.5.4
			> MAIL FROM:<a@b.example> SMTPUTF8=1
			< 501 5.5.4
			> MAIL FROM:<a@b.example>SIZE=1
			< 501 5.5.4
			> MAIL FROM:<a@b.example> SMTPUTF8 BODY=7bit
			< 250
			> RCPT TO:<c@mx.example> NOTIFY=NEVER
			< 555 5.5.4
			> RCPT TO:<c@mx.example>
			< 250`},
		{"SIZE", `
			> EHLO c
			< 250
			> MAIL FROM:<a@b.example> SIZE=4294967297
			< 552 5.3.4
			> MAIL FROM:<a@b.example> SIZE=99999999999999999999
			< 552 5.3.4
			> MAIL FROM:<a@b.example> SIZE=123456789012345678901
			< 501 5.5.4
			> MAIL FROM:<a@b.example> SIZE=52428801
			< 552 5.3.4
			> MAIL FROM:<a@b.example> SIZE=52428800
			< 250`},
		{"SMTPUTF8 only where it is declared", `
			> EHLO c
			< 250
			> MAIL FROM:<jürgen@b.example>
			< 553 5.6.7
			> MAIL FROM:<a@b.example>
			< 250
			> RCPT TO:<jürgen@mx.example>
			< 553 5.6.7
			> RCPT TO:<c@bücher.example>
			< 553 5.6.7
			> RSET
			< 250
			> MAIL FROM:<jürgen@b.example> SMTPUTF8
			< 250
			> RCPT TO:<jürgen@bücher.example>
			< 250`},
		{"paths", `
			> EHLO c
			< 250
			> MAIL FROM:a@b.example
			< 501 5.1.7
			> MAIL FROM:<root>
			< 501 5.1.7
			> MAIL TO:<a@b.example>
			< 501 5.5.4
			> MAIL
			< 501 5.5.4
			> MAIL FROM:<>
			< 250
			> RCPT TO:<>
			< 501 5.1.3
			> RCPT TO:<Postmaster>
			< 250
			> RCPT TO:<@relay.example,@other.example:c@mx.example>
			< 250
			> RCPT TO:<"c d"@mx.example>
			< 250`},
		{"controls in a command", `
			> EHLO c
			< 250
			~ MAIL FROM:<a\x00@b.example>\r\n
			< 500 5.5.2
			~ MAIL FROM:<a\r@b.example>\r\n
			< 500 5.5.2
			~ MAIL FROM:<a\xff@b.example>\r\n
			< 500 5.5.2
			> MAIL FROM:<a@b.example>
			< 250`},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := talk(t, testServer(&fake{}))
			conn.expect("220 mx.example ESMTP")
			conn.play(c.script)
		})
	}
}

func TestEhloKeywords(t *testing.T) {
	plain := []string{"PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"}
	limits := "LIMITS MAILMAX=1000 RCPTMAX=1000"
	for _, c := range []struct {
		name       string
		change     func(*Server)
		mechanisms []string
		want, tls  []string // in the clear, and in TLS
	}{
		{"bare", func(*Server) {}, nil, append(slices.Clone(plain), limits), nil},
		{"TLS without a certificate", func(s *Server) { s.TLSConfig = clientTLS() }, nil, append(slices.Clone(plain), limits), nil},
		{
			"TLS", func(s *Server) { s.TLSConfig = serverTLS() },
			[]string{"PLAIN", "bad name", "SCRAM-SHA-256-PLUS"},
			append(slices.Clone(plain), "STARTTLS", limits),
			append(slices.Clone(plain), "AUTH PLAIN SCRAM-SHA-256-PLUS", limits),
		},
		{
			"insecure AUTH", func(s *Server) { s.AllowInsecureAuth = true },
			[]string{"LOGIN"},
			append(slices.Clone(plain), "AUTH LOGIN", limits), nil,
		},
		{"no limits", func(s *Server) {
			s.Limits = Limits{MessageSize: -1, Recipients: -1, Messages: -1}
		}, nil, []string{"PIPELINING", "SIZE 0", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testServer(&fake{mechanisms: c.mechanisms})
			c.change(s)
			conn := talk(t, s)
			conn.expect("220")
			conn.send("EHLO client.example\r\n")
			_, got := conn.reply()
			if want := append([]string{"mx.example greets client.example"}, c.want...); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if c.tls == nil {
				return
			}
			conn.play("> STARTTLS\n< 220 2.0.0")
			conn.upgrade()
			conn.send("EHLO client.example\r\n")
			if _, got = conn.reply(); !slices.Equal(got[1:], c.tls) {
				t.Errorf("in TLS: got %q\nwant %q", got[1:], c.tls)
			}
		})
	}
}

// What the backend says in an error is told where it is meant for the client, and made
// safe; anything else is not told at all (I10).
func TestErrorsOfTheBackend(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		name string
		err  error
		want string // the whole reply
	}{
		{"as is", &Error{Code: 550, Enhanced: "5.1.1", Text: "no such user"}, "550 5.1.1 no such user\r\n"},
		{"wrapped", fmt.Errorf("inside: %w", &Error{Code: 450, Enhanced: "4.2.1", Text: "in use"}), "450 4.2.1 in use\r\n"},
		{"lines", &Error{Code: 550, Enhanced: "5.7.1", Text: "one\ntwo"}, "550-5.7.1 one\r\n550 5.7.1 two\r\n"},
		{"none of ours", errors.New("pq: password is hunter2"), "451 4.3.0 a local error, try again later\r\n"},
		{"no code", &Error{Text: "secret"}, "451 4.3.0 a local error, try again later\r\n"},
		{"a code of success", &Error{Code: 250, Text: "secret"}, "451 4.3.0 a local error, try again later\r\n"},
		{"no enhanced code", &Error{Code: 550, Text: "no"}, "550 5.0.0 no\r\n"},
		{"an enhanced code of another class", &Error{Code: 450, Enhanced: "5.1.1", Text: "no"}, "450 4.0.0 no\r\n"},
		{"an enhanced code that is none", &Error{Code: 550, Enhanced: "5.1.1\r\n250 ok", Text: "no"}, "550 5.0.0 no\r\n"},
		{"line ends in the text", &Error{Code: 550, Enhanced: "5.1.1", Text: "no\r\r\n250 ok\x00\x7f é"}, "550-5.1.1 no  \r\n550 5.1.1 250 ok   ?\r\n"},
		{"a long text", &Error{Code: 550, Enhanced: "5.1.1", Text: long}, "550 5.1.1 " + long[:500-len(" (session abcdefghijkl)")] + "\r\n"},
		{"no text", &Error{Code: 550, Enhanced: "5.1.1"}, "550 5.1.1\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{rcpt: func(string) error { return c.err }}
			conn := talk(t, testServer(f))
			conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<a@b.example>\n< 250\n> RCPT TO:<c@d.example>")
			got := ""
			for range strings.Count(c.want, "\n") {
				line, err := conn.r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if len(line) > 512 {
					t.Errorf("a line of %d octets", len(line))
				}
				got += line
			}
			if named := regexp.MustCompile(` ?\(session [a-z2-7]{12}\)\r\n$`); !named.MatchString(got) {
				t.Errorf("a refusal without the session's id: %q", got)
			} else {
				got = named.ReplaceAllString(got, "\r\n")
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			conn.play("> NOOP\n< 250")
		})
	}
}

func TestFatalErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		err  *Error
		want string
	}{
		{"fatal", &Error{Code: 550, Enhanced: "5.7.1", Text: "go away", Fatal: true}, "550 5.7.1 go away"},
		{"421 closes in itself", &Error{Code: 421, Enhanced: "4.3.2", Text: "later"}, "421 4.3.2 later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{mail: func(string, MailOptions) error { return c.err }}
			conn := talk(t, testServer(f))
			conn.play("< 220\n> EHLO c\n< 250\n> MAIL FROM:<a@b.example>\n< " + c.want + "\n!")
		})
	}
}

func TestNoSession(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"421", &Error{Code: 421, Enhanced: "4.3.2", Text: "later"}, "421 4.3.2 later"},
		{"5xx is 554", &Error{Code: 550, Enhanced: "5.7.1", Text: "never"}, "554 5.7.1 never"},
		{"none of ours", errors.New("secret"), "421 4.3.0 a local error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := talk(t, testServer(&fake{newSession: func(Conn) error { return c.err }}))
			conn.play("< " + c.want + "\n!")
		})
	}
}

// A refused sender leaves nothing: the next MAIL is a first one, and each Mail has its
// Reset.
func TestResetForEachMail(t *testing.T) {
	refused := &Error{Code: 550, Enhanced: "5.7.1", Text: "no"}
	f := &fake{mail: func(from string, _ MailOptions) error {
		if strings.HasPrefix(from, "bad") {
			return refused
		}
		return nil
	}}
	conn := talk(t, testServer(f))
	conn.play(`
		< 220
		> EHLO c
		< 250
		> MAIL FROM:<bad@b.example>
		< 550
		> RCPT TO:<x@y.example>
		< 503
		> MAIL FROM:<good@b.example>
		< 250
		> RSET
		< 250
		> RSET
		< 250
		> MAIL FROM:<good@b.example>
		< 250
		> QUIT
		< 221
		!`)
	want := []string{
		"MAIL bad@b.example", "reset", "MAIL good@b.example", "reset", "MAIL good@b.example", "reset",
	}
	if calls := f.called(); !slices.Equal(calls[:min(len(calls), len(want))], want) {
		t.Errorf("got %q, want %q", calls, want)
	}
}

func TestConnOfTheBackend(t *testing.T) {
	f := &fake{}
	s := testServer(f)
	s.TLSConfig = serverTLS()
	conn := talk(t, s)
	conn.play("< 220\n> EHLO first.example\n< 250")
	f.mu.Lock()
	c := f.conns[0]
	f.mu.Unlock()
	if c.Helo() != "first.example" || c.TLS() != nil || c.ID == "" || c.Remote.String() != conn.conn.LocalAddr().String() {
		t.Errorf("in the clear: %q %v %v %v", c.Helo(), c.TLS(), c.ID, c.Remote)
	}
	conn.play("> STARTTLS\n< 220")
	conn.upgrade()
	conn.play("> NOOP\n< 250")
	if c.Helo() != "" || c.TLS() == nil {
		t.Errorf("behind STARTTLS: %q %v", c.Helo(), c.TLS())
	}
}

// TestUnknownVerb: what a client makes up is no name of a metric, and has the same one in POP3.
func TestUnknownVerb(t *testing.T) {
	var verbs []string
	f := plainBackend()
	s := testServer(f)
	s.Observe = func(e Event) {
		if e.Kind == Replied {
			f.mu.Lock()
			verbs = append(verbs, fmt.Sprint(e.Verb, " ", e.Code))
			f.mu.Unlock()
		}
	}
	conn := talk(t, s)
	conn.play(`
		< 220
		> FROBNICATE x
		< 500
		> NOOP
		< 250
		> QUIT
		< 221
		!`)
	shutdown(t, s)
	if got := strings.Join(verbs, ", "); got != "unknown 500, NOOP 250, QUIT 221" {
		t.Errorf("the commands are %q", got)
	}
}

// The log says what happened, and holds no secret.
func TestLog(t *testing.T) {
	var log syncBuffer
	f := plainBackend()
	s := testServer(f)
	s.AllowInsecureAuth = true
	s.Log = zerolog.New(&log)
	var events []EventKind
	s.Observe = func(e Event) { f.mu.Lock(); events = append(events, e.Kind); f.mu.Unlock() }
	conn := talk(t, s)
	conn.play(`
		< 220
		> EHLO c
		< 250
		> AUTH PLAIN AHVzZXIAc2VzYW1l
		< 235
		> MAIL FROM:<a@b.example>
		< 250
		> RCPT TO:<c@d.example>
		< 250
		> DATA
		< 354
		> hello
		> .
		< 250
		> QUIT
		< 221
		!`)
	shutdown(t, s)
	got := log.String()
	for _, want := range []string{
		`"event":"session_start"`, `"mechanism":"PLAIN"`, `"ok":true`, `"event":"message_in"`, `"from":"a@b.example"`, `"recipients":1`,
		`"octets":7`, `"code":250`, `"message":"disconnected"`, `"messages":1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in the log:\n%s", want, got)
		}
	}
	if strings.Contains(got, "AHVz") || strings.Contains(got, "sesame") || strings.Contains(got, "hello") {
		t.Errorf("a secret in the log:\n%s", got)
	}
	for _, want := range []EventKind{Connected, Authenticated, Replied, Finished, Disconnected} {
		if !slices.Contains(events, want) {
			t.Errorf("no event %d", want)
		}
	}
}
