package imap_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// TestLoginCommands: which command a credential is sent with, by what the server offers.
func TestLoginCommands(t *testing.T) {
	t.Parallel()
	token := backends.Credential{Kind: backends.CredentialToken, User: "ada@peer.example", Secret: []byte("t0ken")}
	shared := token
	shared.ActAs = "office=desk,1@peer.example"
	impersonation := backends.Credential{Kind: backends.CredentialImpersonation, User: "ada@peer.example"}
	actAs := password
	actAs.ActAs = "bob@peer.example"
	keeper := map[string]any{"master": map[string]any{"user": "keeper", "password": "keeper-secret"}}
	for name, tt := range map[string]struct {
		caps     string
		c        backends.Credential
		settings map[string]any
		want     string // \0 and \1 are octets of a SASL message
	}{
		"PLAIN":                         {fakeimap.Caps, password, nil, `AUTHENTICATE PLAIN \0ada@peer.example\0ada-secret`},
		"PLAIN for somebody else":       {fakeimap.Caps, actAs, nil, `AUTHENTICATE PLAIN bob@peer.example\0ada@peer.example\0ada-secret`},
		"LOGIN":                         {"IMAP4rev1", password, nil, `LOGIN "ada@peer.example" "ada-secret"`},
		"LOGIN, local names":            {"IMAP4rev1", password, map[string]any{"username": "local"}, `LOGIN "ada" "ada-secret"`},
		"the master user":               {fakeimap.Caps, impersonation, keeper, `AUTHENTICATE PLAIN ada@peer.example\0keeper\0keeper-secret`},
		"XOAUTH2":                       {"IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2", token, nil, `AUTHENTICATE XOAUTH2 user=ada@peer.example\1auth=Bearer t0ken\1\1`},
		"OAUTHBEARER goes first":        {"IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=OAUTHBEARER", token, nil, `AUTHENTICATE OAUTHBEARER n,a=ada@peer.example,\1host=127.0.0.1\1port=PORT\1auth=Bearer t0ken\1\1`},
		"a token for another's mailbox": {"IMAP4rev1 SASL-IR AUTH=OAUTHBEARER", shared, nil, `AUTHENTICATE OAUTHBEARER n,a=office=3Ddesk=2C1@peer.example,\1host=127.0.0.1\1port=PORT\1auth=Bearer t0ken\1\1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{Caps: tt.caps})
			s := storeOf(t, f, tt.settings)
			if _, err := s.Login(t.Context(), tt.c); err != nil {
				t.Fatal(err)
			}
			got := append(f.Heard("LOGIN"), f.Heard("AUTHENTICATE")...)
			if len(got) != 1 {
				t.Fatalf("it said %q", got)
			}
			_, port, _ := strings.Cut(f.Address, ":")
			if want := strings.ReplaceAll(tt.want, "PORT", port); clear(got[0]) != want {
				t.Errorf("it said %s, not %s", clear(got[0]), want)
			}
		})
	}
}

// TestMetacharactersInNames: a user's name is one string for the server, whatever is in it (maddy,
// CVE-2026-40193: a filter's metacharacters in a user's name).
func TestMetacharactersInNames(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		`ada" "x" LOGOUT@peer.example`: `LOGIN "ada\" \"x\" LOGOUT@peer.example" "ada-secret"`,
		`ada\@peer.example`:            `LOGIN "ada\\@peer.example" "ada-secret"`,
		`*%(){]@peer.example`:          `LOGIN "*%(){]@peer.example" "ada-secret"`,
		"ada\r\na2 LOGOUT":             "",
		"ada\x00":                      "",
	} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, &fakeimap.Server{Caps: "IMAP4rev1"})
			s := storeOf(t, f, nil)
			c := password
			c.User = user
			_, err := s.Login(t.Context(), c)
			got := f.Heard("LOGIN")
			if want == "" {
				if backends.KindOf(err) != backends.BadCredentials || len(got) > 0 {
					t.Errorf("%v, it said %q", err, got)
				}
				return
			}
			if err != nil || len(got) != 1 || got[0] != want || len(f.Heard("LOGOUT")) > 0 {
				t.Errorf("%v, it said %q", err, got)
			}
		})
	}
}

// clear decodes the initial response of an AUTHENTICATE.
func clear(command string) string {
	words := strings.Split(command, " ")
	if words[0] != "AUTHENTICATE" {
		return command
	}
	sasl, _ := base64.StdEncoding.DecodeString(words[2])
	words[2] = strings.NewReplacer("\x00", `\0`, "\x01", `\1`).Replace(string(sasl))
	return strings.Join(words, " ")
}

// TestRefusals: what a server says at login is told as what it is (RFC 5530, RFC 2221), and the
// log has its words.
func TestRefusals(t *testing.T) {
	t.Parallel()
	token := backends.Credential{Kind: backends.CredentialToken, User: "ada@peer.example", Secret: []byte("t0ken")}
	for name, tt := range map[string]struct {
		f      *fakeimap.Server
		c      backends.Credential
		kind   backends.Kind
		code   string
		detail string
	}{
		"no reason":           {&fakeimap.Server{On: login("NO who are you")}, password, backends.BadCredentials, "5.7.8", "who are you"},
		"wrong password":      {&fakeimap.Server{On: login("NO [AUTHENTICATIONFAILED] no")}, password, backends.BadCredentials, "5.7.8", "AUTHENTICATIONFAILED"},
		"expired":             {&fakeimap.Server{On: login("NO [EXPIRED] change it")}, password, backends.PasswordExpired, "5.7.8", "change it"},
		"not allowed":         {&fakeimap.Server{On: login("NO [AUTHORIZATIONFAILED] no")}, password, backends.Permanent, "5.7.1", "AUTHORIZATIONFAILED"},
		"encryption":          {&fakeimap.Server{On: login("NO [PRIVACYREQUIRED] no")}, password, backends.Permanent, "5.7.11", "PRIVACYREQUIRED"},
		"administrator":       {&fakeimap.Server{On: login("NO [CONTACTADMIN] no")}, password, backends.Permanent, "5.3.0", "CONTACTADMIN"},
		"outage":              {&fakeimap.Server{On: login("NO [UNAVAILABLE] the database is away")}, password, backends.Temporary, "4.3.0", "the database is away"},
		"a bug":               {&fakeimap.Server{On: login("NO [SERVERBUG] oops")}, password, backends.Temporary, "4.3.0", "oops"},
		"in use":              {&fakeimap.Server{On: login("NO [INUSE] another")}, password, backends.InUse, "4.2.1", "another"},
		"limit":               {&fakeimap.Server{On: login("NO [LIMIT] too many connections")}, password, backends.Throttled, "4.7.0", "too many connections"},
		"throttled":           {&fakeimap.Server{On: login("NO [THROTTLED] slowly")}, password, backends.Throttled, "4.7.0", "slowly"},
		"an alert":            {&fakeimap.Server{On: login("NO [ALERT] something else")}, password, backends.Temporary, "4.3.0", "something else"},
		"an outage in a text": {&fakeimap.Server{On: login("NO Server Unavailable. 15")}, password, backends.Temporary, "4.3.0", "Unavailable"},
		"not understood":      {&fakeimap.Server{On: login("BAD what")}, password, backends.Temporary, "4.3.0", "what"},
		"referral":            {&fakeimap.Server{On: login("NO [REFERRAL imap://ada@other.example/] there")}, password, backends.Permanent, "5.7.1", "it refers to imap://ada@other.example/"},
		"BYE for an answer": {
			&fakeimap.Server{On: []fakeimap.Rule{on("AUTHENTICATE", "* BYE [UNAVAILABLE] going down\nCLOSE")}}, password, backends.Temporary, "4.3.0", "going down",
		},
		"BYE for a greeting":     {&fakeimap.Server{Greeting: "* BYE [UNAVAILABLE] maintenance"}, password, backends.Temporary, "4.3.0", "maintenance"},
		"referral in a greeting": {&fakeimap.Server{Greeting: "* BYE [REFERRAL imap://other.example/] moved"}, password, backends.Permanent, "5.7.1", "imap://other.example/"},
		"limit in a greeting":    {&fakeimap.Server{Greeting: "* BYE [LIMIT] full"}, password, backends.Throttled, "4.7.0", "full"},
		"PREAUTH":                {&fakeimap.Server{Greeting: "* PREAUTH you are root"}, password, backends.Temporary, "4.3.0", "does not ask who we are"},
		"LOGINDISABLED":          {&fakeimap.Server{Caps: "IMAP4rev1 LOGINDISABLED STARTTLS"}, password, backends.Temporary, "4.7.5", "starttls"},
		"no PLAIN to act with": {
			&fakeimap.Server{Caps: "IMAP4rev1"},
			backends.Credential{Kind: backends.CredentialPassword, User: "ada", ActAs: "bob", Secret: []byte("x")},
			backends.Unsupported, "5.5.4", "AUTH=PLAIN",
		},
		"no token mechanism": {&fakeimap.Server{}, token, backends.Unsupported, "5.5.4", "neither OAUTHBEARER nor XOAUTH2"},
		"a token refused": {
			&fakeimap.Server{Caps: "IMAP4rev1 SASL-IR AUTH=XOAUTH2", On: []fakeimap.Rule{on("AUTHENTICATE", "+ eyJzdGF0dXMiOiI0MDEifQ==\n"), on("+", "TAG NO failed\n")}},
			token, backends.BadCredentials, "5.7.8", `\"status\":\"401\"`,
		},
		"a token not verified": {
			&fakeimap.Server{Caps: "IMAP4rev1 SASL-IR AUTH=OAUTHBEARER", On: []fakeimap.Rule{on("AUTHENTICATE", "+ eyJzdGF0dXMiOiI0MDEifQ==\n"), on("+", "TAG NO [UNAVAILABLE] the issuer is away\n")}},
			token, backends.Temporary, "4.3.0", "the issuer is away",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storeOf(t, fakeimap.Start(t, tt.f), nil)
			_, err := s.Login(t.Context(), tt.c)
			if err == nil {
				t.Fatal("the login succeeded")
			}
			failed := backends.AsFailure(err)
			if failed.Kind != tt.kind || failed.Reply().Code != tt.code || !strings.Contains(failed.Detail, tt.detail) {
				t.Errorf("it is told as %v %s %q, not as %v %s %q", failed.Kind, failed.Reply().Code, failed.Detail, tt.kind, tt.code, tt.detail)
			}
			if strings.Contains(failed.Error(), "ada-secret") || strings.Contains(failed.Error(), "t0ken") {
				t.Errorf("the secret is in %q", failed.Error())
			}
		})
	}
}

// TestPlainNotUnderstood: a server that offers AUTH=PLAIN and answers it with BAD is asked by LOGIN;
// where somebody is acted for, that would open the wrong mailbox.
func TestPlainNotUnderstood(t *testing.T) {
	t.Parallel()
	bad := []fakeimap.Rule{on("AUTHENTICATE PLAIN", "TAG BAD unknown command\n")}
	f := fakeimap.Start(t, &fakeimap.Server{On: bad})
	if _, err := storeOf(t, f, nil).Login(t.Context(), password); err != nil || len(f.Heard("LOGIN")) != 1 {
		t.Errorf("the login fails with %v; it said %q", err, f.Heard(""))
	}
	actAs := password
	actAs.ActAs = "bob@peer.example"
	f = fakeimap.Start(t, &fakeimap.Server{On: bad})
	if _, err := storeOf(t, f, nil).Login(t.Context(), actAs); err == nil || len(f.Heard("LOGIN")) != 0 {
		t.Errorf("acting for somebody it fails with %v; it said %q", err, f.Heard(""))
	}
	f = fakeimap.Start(t, &fakeimap.Server{On: []fakeimap.Rule{on("AUTHENTICATE PLAIN", "TAG NO wrong\n")}})
	if _, err := storeOf(t, f, nil).Login(t.Context(), password); backends.KindOf(err) != backends.BadCredentials || len(f.Heard("LOGIN")) != 0 {
		t.Errorf("a password that is wrong is tried again: %v; it said %q", err, f.Heard(""))
	}
}

// TestIdentifies: a server that has ID is told who we are (RFC 2971), before a mailbox is opened; what
// it makes of it does not matter.
func TestIdentifies(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]fakeimap.Rule{
		"taken":   {},
		"refused": on("ID", "TAG BAD no\n"),
		"odd":     on("ID", "* ID (\"name\" what {3}\nabc (x\nTAG OK\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := twoMessages()
			f.Caps = fakeimap.Caps + " ID"
			f.On = []fakeimap.Rule{rule}
			if rule.Command == "" {
				f.On = nil
			}
			identified := false
			f.On = append(f.On, fakeimap.Rule{Command: "^ID", Make: func(_, _, right string) string { identified = true; return right }},
				fakeimap.Rule{Command: "^SELECT", Make: func(tag, _, right string) string {
					if !identified && rule.Command == "" {
						return tag + " NO SELECT Unsafe Login. Please contact the service\r\n"
					}
					return right
				}})
			d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
			if got := list(t, d); len(got) != 2 {
				t.Errorf("the list is %+v", got)
			}
			if said := f.Heard("ID"); len(said) != 1 || !strings.Contains(said[0], `"name" "Dipylon"`) {
				t.Errorf("it said %q", said)
			}
		})
	}
	f := fakeimap.Start(t, twoMessages())
	openInbox(t, storeOf(t, f, nil))
	if said := f.Heard("ID"); len(said) != 0 {
		t.Errorf("to a server that has no ID it said %q", said)
	}
}

// TestCapabilitiesAfterLogin: what the greeting tells is of the time before the login.
func TestCapabilitiesAfterLogin(t *testing.T) {
	t.Parallel()
	for range 20 {
		f := twoMessages()
		f.Greeting = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready"
		d := openInbox(t, storeOf(t, fakeimap.Start(t, f), nil))
		if _, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalRemove); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAlertBefore: what a server says for the user in front of its refusal is part of it.
func TestAlertBefore(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, &fakeimap.Server{On: []fakeimap.Rule{on("AUTHENTICATE", "* NO [WEBALERT https://x.example/] Web login required.\nTAG NO LOGIN failed\n")}})
	_, err := storeOf(t, f, nil).Login(t.Context(), password)
	if f := backends.AsFailure(err); f == nil || f.Kind != backends.Permanent || !strings.Contains(f.Reply().Text, "Web login required.") {
		t.Errorf("it is told as %v", err)
	}
}

// TestConnectionLimit: a server's limit of connections is told with what to set.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]*fakeimap.Server{
		"at login":        {On: login("NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)")},
		"in the greeting": {Greeting: "* BYE Too many connections from your address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := storeOf(t, fakeimap.Start(t, f), nil).Login(t.Context(), password)
			if failed := backends.AsFailure(err); failed == nil || failed.Kind != backends.Throttled || !strings.Contains(failed.Detail, `"connections.total" (512)`) {
				t.Errorf("it is told as %v", err)
			}
		})
	}
}

// login answers a login, by whichever command.
func login(answer string) []fakeimap.Rule {
	return []fakeimap.Rule{{Command: "^(AUTHENTICATE|LOGIN)", Answer: "TAG " + answer + "\n"}}
}
