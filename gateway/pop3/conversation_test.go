package pop3

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

const (
	first  = "Subject: one\r\n\r\nHello.\r\nLine 2\r\n"
	second = ".dot first\r\n\r\n.\r\n..\r\nend\r\n"
	third  = "Subject: three\r\n\r\n"
)

// conversations are played over a pipe and over TCP. A line "C:" is sent, a line "S:" expected
// ("…" at its end: whatever follows), "END" is the end of the connection.
var conversations = []struct {
	name, script string
	change       func(*Server)
	fake         func(*fakeBackend)
	anonymous    bool // no login first
}{
	// RFC 1939
	{name: "stat, list, uidl", script: `
		C: STAT
		S: +OK 3 76
		C: LIST
		S: +OK 3 messages (76 octets)
		S: 1 32
		S: 2 26
		S: 3 18
		S: .
		C: LIST 2
		S: +OK 2 26
		C: UIDL
		S: +OK unique-id listing follows
		S: 1 uid-1
		S: 2 uid-2
		S: 3 uid-3
		S: .
		C: UIDL 3
		S: +OK 3 uid-3`},
	{name: "an empty maildrop", fake: empty, script: `
		C: STAT
		S: +OK 0 0
		C: LIST
		S: +OK 0 messages (0 octets)
		S: .
		C: UIDL
		S: +OK unique-id listing follows
		S: .
		C: RETR 1
		S: -ERR no such message
		C: QUIT
		S: +OK POP3 server signing off
		END`},
	{name: "retr gives the octets of list, and stuffs every dot that begins a line", script: `
		C: RETR 2
		S: +OK 26 octets
		S: ..dot first
		S:
		S: ..
		S: ...
		S: end
		S: .
		C: NOOP
		S: +OK`},
	{name: "top gives header, empty line and n lines", script: `
		C: TOP 1 0
		S: +OK top of message follows
		S: Subject: one
		S:
		S: .
		C: TOP 1 1
		S: +OK top of message follows
		S: Subject: one
		S:
		S: Hello.
		S: .
		C: TOP 1 99999999999999999999999999
		S: +OK top of message follows
		S: Subject: one
		S:
		S: Hello.
		S: Line 2
		S: .`},
	{name: "deleted messages are hidden everywhere", script: `
		C: DELE 1
		S: +OK message 1 deleted
		C: DELE 1
		S: -ERR message already deleted
		C: RETR 1
		S: -ERR message already deleted
		C: TOP 1 0
		S: -ERR message already deleted
		C: LIST 1
		S: -ERR message already deleted
		C: UIDL 1
		S: -ERR message already deleted
		C: STAT
		S: +OK 2 44
		C: LIST
		S: +OK 2 messages (44 octets)
		S: 2 26
		S: 3 18
		S: .
		C: UIDL
		S: +OK unique-id listing follows
		S: 2 uid-2
		S: 3 uid-3
		S: .
		C: RSET
		S: +OK maildrop has 3 messages
		C: STAT
		S: +OK 3 76
		C: RETR 1
		S: +OK 32 octets
		S: Subject: one
		S:
		S: Hello.
		S: Line 2
		S: .`},
	{name: "message numbers", script: `
		C: RETR 0
		S: -ERR no such message
		C: DELE 0
		S: -ERR no such message
		C: LIST 0
		S: -ERR no such message
		C: RETR 4
		S: -ERR no such message
		C: RETR 99999999999999999999999999
		S: -ERR no such message
		C: RETR 4294967297
		S: -ERR no such message
		C: RETR -1
		S: -ERR not a message number
		C: RETR +1
		S: -ERR not a message number
		C: RETR 1x
		S: -ERR not a message number
		C: RETR 0x1
		S: -ERR not a message number
		C: RETR one
		S: -ERR not a message number
		C: LIST 0003
		S: +OK 3 18
		C: TOP 1 -1
		S: -ERR not a number of lines
		C: TOP 1 +1
		S: -ERR not a number of lines`},
	{name: "arguments", script: `
		C: STAT 1
		S: -ERR wrong number of arguments
		C: NOOP x
		S: -ERR wrong number of arguments
		C: QUIT now
		S: -ERR wrong number of arguments
		C: RETR
		S: -ERR wrong number of arguments
		C: RETR 1 2
		S: -ERR wrong number of arguments
		C: TOP 1
		S: -ERR wrong number of arguments
		C: TOP 1 2 3
		S: -ERR wrong number of arguments
		C: DELE
		S: -ERR wrong number of arguments
		C: LIST 1 2
		S: -ERR wrong number of arguments
		C: CAPA x
		S: -ERR wrong number of arguments
		C: LIST  2
		S: +OK 2 26`},
	{name: "case and blanks do not matter", script: `
		C: sTaT
		S: +OK 3 76
		C:   stat
		S: +OK 3 76
		C: list   1
		S: +OK 1 32
		C: quit
		S: +OK POP3 server signing off
		END`},
	{name: "an empty line is a mistake, not the end", script: `
		C:
		S: -ERR no command given
		C: NOOP
		S: +OK`},
	{name: "a line of blanks", script: `
		C:    \x20
		S: -ERR no command given
		C: NOOP
		S: +OK`},
	{name: "unknown verbs are not repeated", script: `
		C: XYZZY 1
		S: -ERR unknown command
		C: APOP bob c4c9334bac560ecc979e58001b3e22fb
		S: -ERR unknown command
		C: STATISTICS
		S: -ERR unknown command
		C: LAST
		S: -ERR unknown command`},
	{name: "octets that no command has", script: `
		C: LIST 1\x00
		S: -ERR invalid character
		C: LIST \t1
		S: -ERR invalid character
		C: LIST\t1
		S: -ERR unknown command
		C: STAT\r
		S: -ERR unknown command
		C: \x00
		S: -ERR unknown command
		C: RETR ١
		S: -ERR not a message number
		C: NOOP
		S: +OK`},
	{name: "after the login there is no other", script: `
		C: USER bob
		S: -ERR command not valid in this state
		C: PASS secret
		S: -ERR command not valid in this state
		C: AUTH PLAIN AGJvYgBzZWNyZXQ=
		S: -ERR command not valid in this state
		C: AUTH
		S: -ERR command not valid in this state
		C: STLS
		S: -ERR command not valid in this state
		C: UTF8
		S: -ERR command not valid in this state
		C: NOOP
		S: +OK`, change: withTLS},
	{name: "before the login there is no maildrop", anonymous: true, script: `
		S: +OK POP3 server ready
		C: STAT
		S: -ERR command not valid in this state
		C: LIST
		S: -ERR command not valid in this state
		C: UIDL
		S: -ERR command not valid in this state
		C: RETR 1
		S: -ERR command not valid in this state
		C: TOP 1 0
		S: -ERR command not valid in this state
		C: DELE 1
		S: -ERR command not valid in this state
		C: RSET
		S: -ERR command not valid in this state
		C: NOOP
		S: -ERR command not valid in this state
		C: QUIT
		S: +OK POP3 server signing off
		END`},
	{name: "quit right away", anonymous: true, script: `
		S: +OK POP3 server ready
		C: QUIT
		S: +OK POP3 server signing off
		END`},

	// USER and PASS
	{name: "the password is the rest of the line", anonymous: true, script: `
		S: +OK POP3 server ready
		C: USER spaces
		S: +OK send PASS
		C: PASS  a  b\x20
		S: +OK maildrop has 3 messages`},
	{name: "a password with other blanks is another", anonymous: true, script: `
		S: +OK POP3 server ready
		C: USER spaces
		S: +OK send PASS
		C: PASS a  b
		S: -ERR [AUTH] invalid user name or password`},
	{name: "user and password in utf-8", anonymous: true, script: `
		S: +OK POP3 server ready
		C: USER andré
		S: +OK send PASS
		C: PASS é
		S: +OK maildrop has 3 messages`},
	{name: "unknown users and bad passwords look the same", anonymous: true, script: `
		S: +OK POP3 server ready
		C: USER bob
		S: +OK send PASS
		C: PASS wrong
		S: -ERR [AUTH] invalid user name or password
		C: USER nobody
		S: +OK send PASS
		C: PASS wrong
		S: -ERR [AUTH] invalid user name or password`},
	{name: "pass needs user, each time", anonymous: true, script: `
		S: +OK POP3 server ready
		C: PASS secret
		S: -ERR USER first
		C: USER bob
		S: +OK send PASS
		C: PASS wrong
		S: -ERR [AUTH] invalid user name or password
		C: PASS secret
		S: -ERR USER first
		C: USER nobody
		S: +OK send PASS
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: +OK maildrop has 3 messages`},
	{name: "no name, no password", anonymous: true, script: `
		S: +OK POP3 server ready
		C: USER
		S: -ERR wrong number of arguments
		C: USER  \x20
		S: -ERR wrong number of arguments
		C: USER b\x00b
		S: -ERR invalid user name
		C: USER b\xff
		S: -ERR invalid user name
		C: USER bob
		S: +OK send PASS
		C: PASS
		S: -ERR wrong number of arguments
		C: PASS\x20
		S: -ERR wrong number of arguments
		C: PASS sec\x00ret
		S: -ERR invalid character
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: +OK maildrop has 3 messages`},
	{name: "too many failed logins", anonymous: true, change: func(s *Server) { s.MaxLogins = 2 }, script: `
		S: +OK POP3 server ready
		C: USER bob
		S: +OK send PASS
		C: PASS wrong
		S: -ERR [AUTH] invalid user name or password
		C: AUTH PLAIN AGJvYgB3cm9uZw==
		S: -ERR [AUTH] invalid user name or password
		END`},
	{
		name: "an outage is no bad password, and its text stays inside", anonymous: true,
		fake: func(b *fakeBackend) { b.onPassword = failPassword(errBroken) }, script: `
		S: +OK POP3 server ready
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: -ERR [SYS/TEMP] cannot do that now, try again later`,
	},
	{
		name: "the maildrop is in use", anonymous: true,
		fake: func(b *fakeBackend) {
			b.onPassword = failPassword(&Error{Code: "IN-USE", Text: "another session has it"})
		}, script: `
		S: +OK POP3 server ready
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: -ERR [IN-USE] another session has it
		C: USER bob
		S: +OK send PASS`,
	},
	{
		name: "a refusal that ends the connection", anonymous: true,
		fake: func(b *fakeBackend) {
			b.onPassword = failPassword(&Error{Code: "SYS/PERM", Text: "go\r\n away\x00 é", Fatal: true})
		}, script: `
		S: +OK POP3 server ready
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: -ERR [SYS/PERM] go   away  ?
		END`,
	},
	{
		name: "the backend refuses the connection", anonymous: true,
		fake: func(b *fakeBackend) { b.refuse = &Error{Code: "SYS/TEMP", Text: "closed for today"} }, script: `
		S: -ERR [SYS/TEMP] closed for today
		END`,
	},
	{name: "a greeting does not promise apop", anonymous: true, change: func(s *Server) { s.Greeting = "hi <1@pop.example>" }, script: `
		S: +OK hi 1@pop.example>`},

	// RFC 2449
	{name: "capa before the login", anonymous: true, change: withAll, script: `
		S: +OK POP3 server ready
		C: CAPA
		S: +OK capability list follows
		S: TOP
		S: UIDL
		S: RESP-CODES
		S: AUTH-RESP-CODE
		S: PIPELINING
		S: USER
		S: SASL PLAIN X-STEPS
		S: STLS
		S: EXPIRE 30 USER
		S: LOGIN-DELAY 90
		S: UTF8
		S: LANG
		S: IMPLEMENTATION Test server
		S: .`},
	{name: "capa after the login", change: withAll, script: `
		C: CAPA
		S: +OK capability list follows
		S: TOP
		S: UIDL
		S: RESP-CODES
		S: AUTH-RESP-CODE
		S: PIPELINING
		S: USER
		S: SASL PLAIN X-STEPS
		S: EXPIRE 30 USER
		S: LOGIN-DELAY 90
		S: UTF8
		S: LANG
		S: IMPLEMENTATION Test server
		S: .`},
	{name: "expire is the maildrop's own after the login", change: withAll, fake: dropWith(func(d *fakeDrop) { d.expire = "7" }), script: `
		C: CAPA
		S: +OK capability list follows
		S: TOP
		S: UIDL
		S: RESP-CODES
		S: AUTH-RESP-CODE
		S: PIPELINING
		S: USER
		S: SASL PLAIN X-STEPS
		S: EXPIRE 7
		S: LOGIN-DELAY 90
		S: UTF8
		S: LANG
		S: IMPLEMENTATION Test server
		S: .`},
	{name: "in plaintext, no passwords by default", anonymous: true, change: secureOnly, script: `
		S: +OK POP3 server ready
		C: CAPA
		S: +OK capability list follows
		S: TOP
		S: UIDL
		S: RESP-CODES
		S: AUTH-RESP-CODE
		S: PIPELINING
		S: SASL X-STEPS
		S: STLS
		S: UTF8
		S: LANG
		S: .
		C: USER bob
		S: -ERR TLS is needed to log in: use STLS first
		C: PASS secret
		S: -ERR TLS is needed to log in: use STLS first
		C: AUTH PLAIN AGJvYgBzZWNyZXQ=
		S: -ERR TLS is needed to log in: use STLS first
		C: AUTH
		S: +OK mechanisms follow
		S: X-STEPS
		S: .`},
	{
		name: "a backend without passwords", anonymous: true,
		fake: func(b *fakeBackend) { b.noPassword, b.mechanisms = true, nil }, script: `
		S: +OK POP3 server ready
		C: CAPA
		S: +OK capability list follows
		S: TOP
		S: UIDL
		S: RESP-CODES
		S: AUTH-RESP-CODE
		S: PIPELINING
		S: UTF8
		S: LANG
		S: .
		C: USER bob
		S: -ERR USER is not available
		C: STLS
		S: -ERR TLS is not available`,
	},

	// RFC 5034
	{name: "auth with an initial response", anonymous: true, script: `
		S: +OK POP3 server ready
		C: auth plain AGJvYgBzZWNyZXQ=
		S: +OK maildrop has 3 messages`},
	{name: "auth without an initial response", anonymous: true, script: `
		S: +OK POP3 server ready
		C: AUTH PLAIN
		S: +\x20
		C: AGJvYgBzZWNyZXQ=
		S: +OK maildrop has 3 messages`},
	{name: "no initial response is not an empty one", anonymous: true, script: `
		S: +OK POP3 server ready
		C: AUTH X-STEPS
		S: + bm9uZQ==
		C: *
		S: -ERR authentication cancelled
		C: AUTH X-STEPS =
		S: + MA==
		C:
		S: + MCww
		C: AAAA
		S: + MCwwLDM=
		C: AA==
		S: +OK maildrop has 3 messages`},
	{name: "auth cancelled, then again", anonymous: true, script: `
		S: +OK POP3 server ready
		C: AUTH PLAIN
		S: +\x20
		C: *
		S: -ERR authentication cancelled
		C: AUTH PLAIN AGJvYgBzZWNyZXQ=
		S: +OK maildrop has 3 messages`},
	{name: "base64 is taken at its word", anonymous: true, change: func(s *Server) { s.MaxErrors = -1 }, script: `
		S: +OK POP3 server ready
		C: AUTH PLAIN =AAA
		S: -ERR invalid base64
		C: AUTH PLAIN AAA=BBB
		S: -ERR invalid base64
		C: AUTH PLAIN AAA
		S: -ERR invalid base64
		C: AUTH PLAIN AB==
		S: -ERR invalid base64
		C: AUTH PLAIN A-_A
		S: -ERR invalid base64
		C: AUTH PLAIN AGJvYgBz*ZWNyZXQ=
		S: -ERR invalid base64
		C: AUTH PLAIN
		S: +\x20
		C: =
		S: -ERR invalid base64
		C: AUTH PLAIN
		S: +\x20
		C: AGJv\rYgBzZWNyZXQ=
		S: -ERR invalid base64
		C: AUTH PLAIN
		S: +\x20
		C:  AGJvYgBzZWNyZXQ=
		S: -ERR invalid base64`},
	{name: "tls on a port without", anonymous: true, change: withTLS, script: `
		S: +OK POP3 server ready
		C: \x16\x03\x01\x02
		S: -ERR TLS begins with STLS on this port; the port for implicit TLS is another one, usually 995
		END`},
	{name: "a mistake of the backend's counts", change: func(s *Server) { s.MaxErrors = 2 }, fake: dropWith(func(d *fakeDrop) {
		d.failOpen = map[int]error{1: &Error{Text: "gone"}, 2: &Error{Text: "gone, as you know", Mistake: true}}
	}), script: `
		C: RETR 1
		S: -ERR gone
		C: RETR 1
		S: -ERR gone
		C: RETR 2
		S: -ERR gone, as you know
		C: RETR 2
		S: -ERR gone, as you know; too many errors
		END`},
	// quirks
	{name: "no quirks", anonymous: true, change: quirks(NoQuirks), script: `
		S: +OK POP3 server ready
		C: AUTH
		S: -ERR wrong number of arguments
		C: USER bob
		S: +OK send PASS
		C: PASS secret
		S: +OK maildrop has 3 messages
		C: LAST
		S: -ERR unknown command
		C: RETR 3
		S: +OK 18 octets
		S: Subject: three
		S:
		S: .`},
	{name: "last", change: quirks(QuirkLast), script: `
		C: LAST
		S: +OK 0
		C: RETR 2
		S: +OK 26 octets
		S: ..dot first
		S:
		S: ..
		S: ...
		S: end
		S: .
		C: LAST
		S: +OK 2
		C: TOP 3 0
		S: +OK top of message follows
		S: Subject: three
		S:
		S: .
		C: DELE 3
		S: +OK message 3 deleted
		C: LAST
		S: +OK 2
		C: RSET
		S: +OK maildrop has 3 messages
		C: LAST
		S: +OK 0
		C: LAST 1
		S: -ERR wrong number of arguments`},
	{
		name: "last of a store that knows what was read", change: quirks(QuirkLast),
		fake: dropWith(func(d *fakeDrop) { d.accessed = 2 }), script: `
		C: LAST
		S: +OK 2
		C: RETR 3
		S: +OK 18 octets
		S: Subject: three
		S:
		S: .
		C: LAST
		S: +OK 3
		C: RSET
		S: +OK maildrop has 3 messages
		C: LAST
		S: +OK 2`,
	},
	{
		name: "last of a store that knows too much", change: quirks(QuirkLast),
		fake: dropWith(func(d *fakeDrop) { d.accessed = 1000 }), script: `
		C: LAST
		S: +OK 3`,
	},
	{
		name: "nul as it is", fake: dropWith(func(d *fakeDrop) { d.messages = []string{"a\x00b\r\n"} }), script: `
		C: RETR 1
		S: +OK 5 octets
		S: a\x00b
		S: .`,
	},
	{
		name: "nul for Outlook Express", change: quirks(QuirkNoNUL),
		fake: dropWith(func(d *fakeDrop) { d.messages = []string{"a\x00b\r\n\x00\r\n"} }), script: `
		C: RETR 1
		S: +OK 8 octets
		S: a\x80b
		S: \x80
		S: .`,
	},
	{name: "auth lists, for Outlook", anonymous: true, script: `
		S: +OK POP3 server ready
		C: AUTH
		S: +OK mechanisms follow
		S: PLAIN
		S: X-STEPS
		S: .
		C: AUTH NTLM
		S: -ERR unrecognized authentication type
		C: AUTH PLAIN AAAA BBBB
		S: -ERR wrong number of arguments`},

	// RFC 6856
	{name: "utf8", anonymous: true, change: withTLS, script: `
		S: +OK POP3 server ready
		C: UTF8
		S: +OK UTF8 enabled
		C: UTF8
		S: +OK UTF8 enabled
		C: STLS
		S: -ERR STLS comes before UTF8
		C: USER bob
		S: +OK send PASS`},
	{name: "utf8 refused", anonymous: true, fake: func(b *fakeBackend) { b.utf8 = &Error{Text: "not here"} }, script: `
		S: +OK POP3 server ready
		C: UTF8
		S: -ERR not here`},
	{name: "lang", script: `
		C: LANG
		S: +OK language list follows
		S: en English
		S: i-default English
		S: .
		C: LANG EN
		S: +OK en language changed
		C: LANG en-GB
		S: +OK en language changed
		C: LANG *
		S: +OK i-default language changed
		C: LANG i-default
		S: +OK i-default language changed
		C: LANG de
		S: -ERR invalid language
		C: LANG en de
		S: -ERR wrong number of arguments`},

	// failures of the backend
	{name: "one bad message harms no other", fake: dropWith(func(d *fakeDrop) {
		d.failOpen = map[int]error{2: &Error{Code: "SYS/PERM", Text: "this message cannot be shown", Err: errBroken}}
	}), script: `
		C: RETR 2
		S: -ERR [SYS/PERM] this message cannot be shown
		C: TOP 2 0
		S: -ERR [SYS/PERM] this message cannot be shown
		C: RETR 3
		S: +OK 18 octets
		S: Subject: three
		S:
		S: .`},
	{name: "a failure before the first octet is an answer", fake: dropWith(func(d *fakeDrop) {
		d.content = func(context.Context, int, int) io.ReadCloser { return &failingContent{err: errBroken} }
	}), script: `
		C: RETR 1
		S: -ERR [SYS/TEMP] cannot do that now, try again later
		C: NOOP
		S: +OK`},
	{name: "sizes that are not known", fake: dropWith(func(d *fakeDrop) { d.failSize = map[int]error{2: errBroken} }), script: `
		C: STAT
		S: -ERR [SYS/TEMP] cannot do that now, try again later
		C: LIST
		S: -ERR [SYS/TEMP] cannot do that now, try again later
		C: LIST 2
		S: -ERR [SYS/TEMP] cannot do that now, try again later
		C: LIST 1
		S: +OK 1 32
		C: RETR 2
		S: -ERR [SYS/TEMP] cannot do that now, try again later`},
	{name: "sizes below zero", fake: dropWith(func(d *fakeDrop) { d.sizes = map[int]int64{2: -1} }), script: `
		C: STAT
		S: -ERR [SYS/TEMP] cannot do that now, try again later`},
	{name: "sizes over 32 bits", fake: dropWith(func(d *fakeDrop) {
		d.sizes = map[int]int64{1: 1500000000, 2: 1500000000, 3: 5000000000000}
	}), script: `
		C: STAT
		S: +OK 3 5003000000000
		C: LIST 3
		S: +OK 3 5000000000000`},
	{name: "unique-ids that are none", fake: dropWith(func(d *fakeDrop) {
		d.uidls = map[int]string{1: "", 2: strings.Repeat("x", 71), 3: strings.Repeat("~", 70)}
	}), script: `
		C: UIDL
		S: -ERR [SYS/PERM] no unique-id
		C: UIDL 1
		S: -ERR [SYS/PERM] no unique-id
		C: UIDL 2
		S: -ERR [SYS/PERM] no unique-id
		C: UIDL 3
		S: +OK 3 ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~`},
	{name: "unique-ids that would break a line", fake: dropWith(func(d *fakeDrop) { d.uidls = map[int]string{1: "a\r\n.\r\n+OK"} }), script: `
		C: UIDL
		S: -ERR [SYS/PERM] no unique-id
		C: UIDL 1
		S: -ERR [SYS/PERM] no unique-id
		C: UIDL 2
		S: +OK 2 uid-2`},
	{name: "what quit could not remove is said", fake: dropWith(func(d *fakeDrop) {
		d.onUpdate = func(context.Context, []int) error { return errBroken }
	}), script: `
		C: DELE 1
		S: +OK message 1 deleted
		C: QUIT
		S: -ERR [SYS/TEMP] some deleted messages not removed
		END`},
	{name: "too many mistakes", change: func(s *Server) { s.MaxErrors = 2 }, script: `
		C: RETR 99
		S: -ERR no such message
		C: BLA
		S: -ERR unknown command
		C:
		S: -ERR no command given; too many errors
		END`},
}

func empty(b *fakeBackend) { b.newDrop = func(string) *fakeDrop { return &fakeDrop{} } }

func dropWith(change func(*fakeDrop)) func(*fakeBackend) {
	return func(b *fakeBackend) {
		b.newDrop = func(string) *fakeDrop {
			d := &fakeDrop{messages: []string{first, second, third}}
			change(d)
			return d
		}
	}
}

func failPassword(err error) func(context.Context, string, string) error {
	return func(context.Context, string, string) error { return err }
}

func withTLS(s *Server) { s.TLSConfig = testCA().config }

func secureOnly(s *Server) {
	withTLS(s)
	s.InsecureAuth = false
}

func quirks(q Quirks) func(*Server) { return func(s *Server) { s.Quirks = q } }

func withAll(s *Server) {
	withTLS(s)
	s.Expire, s.LoginDelay, s.Implementation = "30 USER", 89500*time.Millisecond, "Test server"
}

func TestConversations(t *testing.T) {
	for _, tt := range conversations {
		for _, network := range []string{"pipe", "tcp"} {
			t.Run(tt.name+"/"+network, func(t *testing.T) {
				fake := newFake(first, second, third)
				if tt.fake != nil {
					tt.fake(fake)
				}
				r := start(t, fake, tt.change)
				c := r.dialTCP
				if network == "pipe" {
					c = r.dialPipe
				}
				play(c(), tt.script, tt.anonymous)
			})
		}
	}
}

var escapes = strings.NewReplacer(`\x00`, "\x00", `\x80`, "\x80", `\x16`, "\x16", `\x03`, "\x03", `\x01`, "\x01", `\x02`, "\x02", `\x20`, " ", `\xff`, "\xff", `\r`, "\r", `\t`, "\t")

func play(c *client, script string, anonymous bool) {
	c.t.Helper()
	if !anonymous {
		c.login()
	}
	for line := range strings.Lines(script) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case line == "":
		case line == "END":
			c.closed()
		case strings.HasPrefix(line, "C: "):
			c.send(escapes.Replace(line[3:]) + "\r\n")
		case line == "C:":
			c.send("\r\n")
		case strings.HasPrefix(line, "S: "):
			c.expect(escapes.Replace(line[3:]))
		case line == "S:":
			c.expect("")
		default:
			c.t.Fatalf("bad script line %q", line)
		}
	}
}
