package smtpclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// TestLoginPrompts: what a server's prompts say is for people.
func TestLoginPrompts(t *testing.T) {
	for name, prompts := range map[string][2]string{
		"as everybody writes them": {"VXNlcm5hbWU6", "UGFzc3dvcmQ6"},
		"small letters":            {"dXNlcm5hbWU6", "cGFzc3dvcmQ6"},
		"without a colon":          {"VXNlcm5hbWU=", "UGFzc3dvcmQ="},
		"with a NUL":               {"VXNlciBOYW1lAA==", "UGFzc3dvcmQA"},
		"in German":                {"QmVudXR6ZXJuYW1lOg==", "S2VubndvcnQ6"},
		"the same twice":           {"Pw==", "Pw=="},
		"empty":                    {"", ""},
		"not base64":               {"Username:", "Password:"},
		"nothing behind the code":  {"-", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			prompt := func(i int) string {
				if prompts[i] == "-" {
					return "S: 334"
				}
				return "S: 334 " + prompts[i]
			}
			login(t, "LOGIN", strings.Join([]string{"C: AUTH LOGIN", prompt(0), "C: YWRh", prompt(1), "C: c2VjcmV0", "S: 235 ok"}, "\n"), nil)
		})
	}
	t.Run("the name is asked for twice", func(t *testing.T) {
		login(t, "LOGIN", "C: AUTH LOGIN\nS: 334 \nC: YWRh\nS: 334 VXNlcm5hbWU6\nC: YWRh\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok", nil)
	})
	t.Run("both prompts ask for the name", func(t *testing.T) {
		login(t, "LOGIN", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWRh\nS: 334 VXNlcm5hbWU6\nC: YWRh\nS: 334 VXNlcm5hbWU6\nC: c2VjcmV0\nS: 235 ok", nil)
	})
	t.Run("a third question", func(t *testing.T) {
		login(t, "LOGIN", "C: AUTH LOGIN\nS: 334 \nC: YWRh\nS: 334 \nC: c2VjcmV0\nS: 334 \nC: *\nS: 501 no", errors.New("unexpected server challenge"))
	})
}

// TestMechanismThatIsOfferedOnly: a mechanism that the server does not understand, though it
// offers it, is followed by the other. A wrong password is not tried twice.
func TestMechanismThatIsOfferedOnly(t *testing.T) {
	const plain, byLogin = "C: AUTH PLAIN AGFkYQBzZWNyZXQ=", "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YWRh\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok"
	for name, tt := range map[string]struct {
		offers, script string
		err            error
	}{
		"500":                     {"AUTH PLAIN LOGIN", plain + "\nS: 500 what?\n" + byLogin, nil},
		"501 5.5.4":               {"AUTH LOGIN PLAIN", plain + "\nS: 501 5.5.4 cannot decode\n" + byLogin, nil},
		"502":                     {"AUTH PLAIN LOGIN", plain + "\nS: 502 not here\n" + byLogin, nil},
		"503":                     {"AUTH PLAIN LOGIN", plain + "\nS: 503 not here\n" + byLogin, nil},
		"504 5.5.4":               {"AUTH PLAIN LOGIN", plain + "\nS: 504 5.5.4 no such mechanism\n" + byLogin, nil},
		"LOGIN alone":             {"AUTH LOGIN", byLogin, nil},
		"AUTH=LOGIN":              {"AUTH=LOGIN", byLogin, nil},
		"AUTH= and AUTH":          {"AUTH GSSAPI NTLM\nS: 250-AUTH=LOGIN", byLogin, nil},
		"two lines":               {"AUTH GSSAPI\nS: 250-AUTH PLAIN", plain + "\nS: 235 ok", nil},
		"not at first":            {"AUTH PLAIN", plain + "\nS: 334 \nC: AGFkYQBzZWNyZXQ=\nS: 235 ok", nil},
		"nothing else is offered": {"AUTH PLAIN", plain + "\nS: 504 5.5.4 no", errors.New("AUTH: 504 5.5.4 no")},
		"a wrong password":        {"AUTH PLAIN LOGIN", plain + "\nS: 535 5.7.8 no", errors.New("AUTH: 535 5.7.8 no")},
		"an outage":               {"AUTH PLAIN LOGIN", plain + "\nS: 454 4.7.0 later", errors.New("AUTH: 454 4.7.0 later")},
		"neither":                 {"AUTH GSSAPI", "hang", errors.New("neither PLAIN nor LOGIN")},
		"not base64":              {"AUTH PLAIN", plain + "\nS: 334 ###\nC: *\nS: 501 no", errors.New("not base64")},
	} {
		t.Run(name, func(t *testing.T) { login(t, tt.offers, tt.script, tt.err) })
	}
}

// TestRepeatedLogin: what a server repeats of a login stands in no error. Other text of it does.
func TestRepeatedLogin(t *testing.T) {
	token := smtpclient.Token("ada", smtpclient.Tokens{Token: func(context.Context) (string, error) { return "ya29.a0AfH6SMBx", nil }})
	const hidden = "(the server repeats what was sent to log in"
	for name, tt := range map[string]struct {
		offers, script, want string
		auth                 func(context.Context, []string) (sasl.Client, error)
	}{
		"PLAIN":              {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 535-5.7.8 no AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 535 5.7.8 here", "AUTH: 535 5.7.8 " + hidden, nil},
		"cut off":            {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 535 what is AGFkYQBzZWNy?", "AUTH: 535 " + hidden, nil},
		"decoded":            {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 535 5.7.8 ada has not the password 'secret'", "AUTH: 535 5.7.8 " + hidden, nil},
		"the name":           {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 535 5.7.8 ada has another password", "AUTH: 535 5.7.8 ada has another", nil},
		"LOGIN":              {"LOGIN", "C: AUTH LOGIN\nS: 334 \nC: YWRh\nS: 334 \nC: c2VjcmV0\nS: 500 unknown command: c2VjcmV0", "AUTH: 500 " + hidden, nil},
		"no reply":           {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: AUTH PLAIN AGFkYQBzZWNyZXQ=", hidden, nil},
		"the server goes":    {"PLAIN", "C: AUTH PLAIN AGFkYQBzZWNyZXQ=\nS: 421 4.7.0 not AGFkYQBzZWNyZXQ=", "AUTH: 421 4.7.0 " + hidden, nil},
		"a token":            {"XOAUTH2", "C: AUTH XOAUTH2 dXNlcj1hZGEBYXV0aD1CZWFyZXIgeWEyOS5hMEFmSDZTTUJ4AQE=\nS: 334 e30=\nC: AQ==\nS: 535 5.7.8 bad: ya29.a0AfH6SMB", "AUTH: 535 5.7.8 " + hidden, token},
		"what is of a token": {"XOAUTH2", "C: AUTH XOAUTH2 dXNlcj1hZGEBYXV0aD1CZWFyZXIgeWEyOS5hMEFmSDZTTUJ4AQE=\nS: 535 5.7.8 auth=Bearer is needed", "AUTH: 535 5.7.8 auth=Bearer is needed", token},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.auth == nil {
				tt.auth = smtpclient.Plain("", "ada", "secret")
			}
			loginBy(t, tt.auth, tt.offers, tt.script, errors.New(tt.want))
		})
	}
}

// login logs in at a server that offers something and follows a script.
func login(t *testing.T, offers, script string, want error) {
	t.Helper()
	loginBy(t, smtpclient.Plain("", "ada", "secret"), offers, script, want)
}

func loginBy(t *testing.T, auth func(context.Context, []string) (sasl.Client, error), offers, script string, want error) {
	t.Helper()
	if !strings.HasPrefix(offers, "AUTH") {
		offers = "AUTH " + offers
	}
	address, _ := server(t, "S: 220 x\nC: EHLO gate.example\nS: 250-x\nS: 250-"+offers+"\nS: 250 HELP\n"+script)
	c, err := smtpclient.Dial(t.Context(), "tcp", address, smtpclient.Options{
		Hello: "gate.example", Timeouts: smtpclient.Within(time.Minute), Auth: auth,
	})
	if err == nil {
		_ = c.Close()
	}
	switch {
	case want == nil && err != nil:
		t.Error(err)
	case want != nil && (err == nil || !strings.Contains(err.Error(), want.Error())):
		t.Errorf("got %v, want %v", err, want)
	}
}
