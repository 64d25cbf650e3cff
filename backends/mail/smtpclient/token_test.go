package smtpclient_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// TestToken: a token logs in by the mechanism of the RFC, or else by the older one; one that is refused and was renewed
// meanwhile is tried once more, and no others.
func TestToken(t *testing.T) {
	said := func(mechanism, text string) string {
		return "C: AUTH " + mechanism + " " + base64.StdEncoding.EncodeToString([]byte(text)) + "\n"
	}
	bearer := func(token string) string { return said("OAUTHBEARER", "n,a=ada=2C,\x01auth=Bearer "+token+"\x01\x01") }
	const refused = "S: 334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\nC: AQ==\nS: 535 5.7.8 no\n"
	for name, c := range map[string]struct {
		offers, script string
		tokens         []string // that there are, one after the other
		err            error
	}{
		"OAUTHBEARER":            {"PLAIN XOAUTH2 OAUTHBEARER", bearer("t1") + "S: 235 ok", []string{"t1"}, nil},
		"XOAUTH2":                {"PLAIN XOAUTH2", said("XOAUTH2", "user=ada,\x01auth=Bearer t1\x01\x01") + "S: 235 ok", []string{"t1"}, nil},
		"offered, and not there": {"XOAUTH2 OAUTHBEARER", bearer("t1") + "S: 504 5.5.4 no\n" + said("XOAUTH2", "user=ada,\x01auth=Bearer t1\x01\x01") + "S: 235 ok", []string{"t1", "t1"}, nil},
		"refused":                {"OAUTHBEARER", bearer("t1") + refused, []string{"t1", "t1"}, errors.New("AUTH: 535 5.7.8 no")},
		"refused, and renewed":   {"OAUTHBEARER", bearer("t1") + refused + bearer("t2") + "S: 235 ok", []string{"t1", "t2", "t2"}, nil},
		"refused for ever":       {"OAUTHBEARER", bearer("t1") + refused + bearer("t2") + refused, []string{"t1", "t2", "t2", "t3", "t4"}, errors.New("AUTH: 535 5.7.8 no")},
		"neither":                {"PLAIN LOGIN", "hang", []string{"t1"}, errors.New("neither OAUTHBEARER nor XOAUTH2")},
		"no token":               {"OAUTHBEARER", "hang", nil, errors.New("no token is there")},
	} {
		t.Run(name, func(t *testing.T) {
			asked, refused := 0, []string{}
			loginBy(t, smtpclient.Token("ada,", smtpclient.Tokens{Token: func(context.Context) (string, error) {
				if asked++; asked > len(c.tokens) {
					return "", errors.New("no token is there")
				}
				return c.tokens[asked-1], nil
			}, Refused: func(token string) {
				if refused = append(refused, token); token != c.tokens[asked-1] {
					t.Errorf("it is told that %s was refused, and %s was", token, c.tokens[asked-1])
				}
			}}), c.offers, c.script, c.err)
			if was := strings.HasPrefix(name, "refused"); was != (len(refused) == 1) {
				t.Errorf("it is told of %v", refused)
			}
		})
	}
}

// TestTokenSources: what a file has, and what a command prints, is taken as it is at that time; what cannot be a token is
// refused without a word of it.
func TestTokenSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	for name, token := range map[string]func(context.Context) (string, error){
		"file": smtpclient.TokenFile(file), "command": smtpclient.TokenCommand([]string{"cat", file}),
	} {
		_ = os.Remove(file)
		if _, err := token(t.Context()); err == nil {
			t.Errorf("%s: there is none, and one is taken", name)
		}
		for text, want := range map[string]string{" a.b-c_d~e+f/g==\r\n": "a.b-c_d~e+f/g==", "": "", " \n": "", "sec ret": "", "sec\x01ret": "", strings.Repeat("secret", 4000): ""} {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := token(t.Context())
			if got != want || (err == nil) != (want != "") || err != nil && (strings.Contains(err.Error(), "sec") || !strings.Contains(err.Error(), "RFC 6750")) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
	if _, err := smtpclient.TokenCommand([]string{"sh", "-c", "echo token; exit 3"})(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a command that fails: %v", err)
	}
}

// TestTokenCommandCut: who is told to end does not wait for a command.
func TestTokenCommandCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	begun := filepath.Join(t.TempDir(), "begun")
	token := smtpclient.TokenCommand([]string{"sh", "-c", "echo > \"$0\"; exec sleep 1000", begun})
	go func() {
		for _, err := os.Stat(begun); err != nil && ctx.Err() == nil; _, err = os.Stat(begun) {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := token(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
