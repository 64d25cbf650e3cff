package oauth_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/test/provider"
)

// matter is the one with a name.
func matter(t *testing.T, all []oauth.Matter, name string) oauth.Matter {
	t.Helper()
	for _, m := range all {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("nothing is said of the %s: %+v", name, all)
	return oauth.Matter{}
}

// TestEnds: what a configuration proves itself with is known with its end before a token is asked for.
func TestEnds(t *testing.T) {
	p := provider.Start(t)
	end := time.Now().Add(20 * 24 * time.Hour).Truncate(time.Second)
	c := bySecret(p)
	if all := c.Matters(); len(all) > 0 {
		t.Errorf("nobody knows when the secret ends: %+v", all)
	}
	c.Expires = end
	if m := matter(t, c.Matters(), "secret"); !m.Until.Equal(end) || m.Kind != oauth.SecretExpired || m.Stops || strings.Contains(m.Text+m.Advice, secret) {
		t.Errorf("%+v", m)
	}
	c = byCertificate(t, p, provider.NewKey(t), end)
	if m := matter(t, c.Matters(), "certificate"); !m.Until.Equal(end) || !strings.Contains(m.Text, c.Certificate) {
		t.Errorf("%+v", m)
	}
	if err := os.Remove(c.Key); err != nil {
		t.Fatal(err)
	}
	if m := matter(t, c.Matters(), "certificate"); m.Kind != oauth.CertificateUnusable || !m.Stops || m.Advice == "" {
		t.Errorf("%+v", m)
	}
}

// TestTrouble: a source says why it has no token, since when, and whether one is still good, until there is one again.
func TestTrouble(t *testing.T) {
	p := provider.Start(t)
	now := &clock{}
	c := bySecret(p)
	c.Now = now.now
	s := start(t, c)
	p.Do(func(p *provider.Provider) { p.Applications[app].SecretExpired = true })
	if _, err := s.Token(t.Context(), ""); err == nil {
		t.Fatal("a token came")
	}
	m := matter(t, s.Matters(), "token")
	if m.Kind != oauth.SecretExpired || !m.Stops || m.Since.IsZero() || m.Advice == "" || strings.Contains(m.Text, secret) {
		t.Errorf("%+v", m)
	}
	now.pass(time.Hour)
	_, _ = s.Token(t.Context(), "") // fails again
	if again := matter(t, s.Matters(), "token"); !again.Since.Equal(m.Since) {
		t.Errorf("since %v, and then %v", m.Since, again.Since)
	}
	now.pass(time.Hour)
	p.Do(func(p *provider.Provider) { p.Applications[app].SecretExpired = false })
	if _, err := s.Token(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if all := s.Matters(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

// TestPassingTrouble: what may pass by itself is told of when it has not; somebody who has no mailbox is no matter.
func TestPassingTrouble(t *testing.T) {
	p := provider.Start(t)
	now := &clock{}
	c := bySecret(p)
	c.Now = now.now
	s := start(t, c)
	for try := range 3 {
		p.Fail(provider.Down)
		if _, err := s.Token(t.Context(), ""); err == nil {
			t.Fatal("a token came")
		}
		if all := s.Matters(); len(all) != try/2 {
			t.Errorf("after %d tries: %+v", try+1, all)
		}
		now.pass(2 * time.Hour)
	}
	google := oauth.Config{Provider: oauth.Google, ServiceAccount: p.NewServiceAccount("gateway@project.example"), CA: p.CA}
	p.Do(func(p *provider.Provider) { p.Mailboxes = map[string]bool{} })
	each := start(t, google)
	if _, err := each.Token(t.Context(), "nobody@office.example"); err == nil {
		t.Fatal("a token came")
	}
	if all := each.Matters(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}
