//go:build linux

package stores

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// expired is Dovecot's configuration for an account whose password is right and has expired.
const expiredScript = `
function auth_passdb_lookup(request)
  if request.user == "expired@peer.example" then
    return dovecot.auth.PASSDB_RESULT_PASS_EXPIRED, ""
  end
  return dovecot.auth.PASSDB_RESULT_USER_UNKNOWN, ""
end
function auth_userdb_lookup(request)
  return dovecot.auth.USERDB_RESULT_USER_UNKNOWN, ""
end
`

// TestAnswers: five troubles with a store are told to the client as five different things, and
// the log says of each what is to be done.
func TestAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := filepath.Join(dir, "expired.lua")
	if err := os.WriteFile(script, []byte(expiredScript), 0o644); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	d := peers.StartDovecot(t, peers.DovecotOptions{
		Users: map[string]string{address("full"): secret("full"), address("expired"): secret("another")},
		Extra: `mail_plugins = $mail_plugins quota
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=20K
  quota_grace = 0
}
passdb {
  driver = lua
  args = file=` + script + ` blocking=yes
}
`,
	})
	good := imapSettings(d.IMAPS, d.CA, d.LMTP, "", "")
	delete(good, "master")
	down, mismatch := copyOf(good), copyOf(good)
	down["address"], mismatch["address"] = "127.0.0.1:1", d.IMAP
	g := front(t,
		harness.Mapping{"name": "real", "plugin": "imap", "domains": []string{domain}, "settings": good},
		harness.Mapping{"name": "down", "plugin": "imap", "domains": []string{"down.example"}, "settings": down},
		harness.Mapping{"name": "mismatch", "plugin": "imap", "domains": []string{"mismatch.example"}, "settings": mismatch},
	)
	reading := func(user, password string) func() error {
		return func() error {
			p, err := harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user, password)
			if err == nil {
				p.Close()
			}
			return err
		}
	}
	for _, tt := range []struct {
		name   string
		do     func() error
		answer []string
		log    []string
	}{
		{"wrong password", reading(address("full"), "wrong"), []string{"-ERR [AUTH] ", "password is wrong"}, []string{"AUTHENTICATIONFAILED", address("full")}},
		{"expired", reading(address("expired"), secret("expired")), []string{"-ERR [AUTH] ", "the password or the account has expired"}, []string{"EXPIRED", address("expired")}},
		{"full", func() error {
			s := mx(t, g)
			defer s.Close()
			_, err := s.Send(envelope("full"), corpus.Sized("full", 64<<10))
			return err
		}, []string{"452 4.2.2", "full"}, []string{"over quota", "Quota exceeded"}},
		{"down", reading("ada@down.example", "secret"), []string{"-ERR [SYS/TEMP] ", "not available now"}, []string{"connection refused", "127.0.0.1:1"}},
		{"TLS mismatch", reading("ada@mismatch.example", "secret"), []string{"-ERR [SYS/TEMP] ", "cannot be reached safely"}, []string{`is \"tls\" (implicit, starttls, none) right`, d.IMAP}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			place := g.Log.Len()
			refusal(t, tt.do(), tt.answer...)
			g.Log.Wait(t, place, tt.log...)
			for _, e := range g.Log.Since(place) {
				if strings.Contains(e.Text, "secret") {
					t.Errorf("the log has a secret: %s", e.Text)
				}
			}
		})
	}
	// What fits is still taken, and who is told right gets in.
	deliver(t, g, "full", simple("fits"))
	p := login(t, g, "full")
	defer p.Quit()
	if got, err := p.Retr(1); err != nil || !bytes.Contains(got, []byte("body of fits")) {
		t.Errorf("the message that fits is %q (%v)", got, err)
	}
}

// copyOf copies settings.
func copyOf(m harness.Mapping) harness.Mapping {
	all := harness.Mapping{}
	for k, v := range m {
		all[k] = v
	}
	return all
}
