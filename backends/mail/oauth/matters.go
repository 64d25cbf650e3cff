package oauth

import (
	"crypto/tls"
	"fmt"
	"time"
)

// Matter is something about tokens that an administrator should know before, or when, there are none.
type Matter struct {
	Name         string // "secret", "certificate", "token"
	Kind         Kind   // of what is wrong; of what ends: SecretExpired, CertificateExpired
	Text, Advice string
	Since        time.Time // when it began; zero: it is not known
	Until        time.Time // when the thing ends; zero: it is wrong now
	Stops        bool      // no token is to be had, for anybody or for some
}

// Matters are what ends some day of what a configuration proves itself with, and what of it cannot be used.
func (c Config) Matters() (all []Matter) {
	if !c.Expires.IsZero() && (c.ClientSecret != "" || c.ServiceAccount != "") {
		m := Matter{Name: "secret", Kind: SecretExpired, Text: "the client secret of the application " + c.ClientID + " ends", Advice: advice[SecretExpired], Until: c.Expires}
		if c.ServiceAccount != "" {
			m.Text, m.Advice = "the key of the service account ("+c.ServiceAccount+") ends", "make a new key for the service account, put it into the file, and set expires"
		}
		m.Advice += ", and set expires to the new one's end"
		all = append(all, m)
	}
	if c.Certificate == "" {
		return all
	}
	m := Matter{Name: "certificate", Kind: CertificateExpired, Advice: advice[CertificateExpired], Text: fmt.Sprintf("the certificate %s, with which the application %s gets its tokens, ends", c.Certificate, c.ClientID)}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		m.Kind, m.Text, m.Advice, m.Stops = CertificateUnusable, fmt.Sprintf("the certificate %s cannot be used: %v", c.Certificate, err), advice[CertificateUnusable], true
	} else {
		m.Until = pair.Leaf.NotAfter
	}
	return append(all, m)
}

// troubleAfter is how often in a row a cause has to be met that may pass by itself, to be told of.
const troubleAfter = 3

// Matters are those of the source's configuration, and why there is no token now.
func (s *Source) Matters() []Matter {
	all := s.config.Matters()
	if m, is := s.trouble(); is {
		all = append(all, m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unsaved != nil {
		all = append(all, Matter{
			Name: "login", Kind: LoginUnkept, Since: s.unsaved.since, Advice: advice[LoginUnkept],
			Text: "the provider has given another refresh token, which the state cannot be given: if the gateway ends now, somebody may have to log in again",
		})
	}
	return all
}

// trouble is the failure of the mailbox whose requests have failed most often in a row, what does not pass before what may.
func (s *Source) trouble() (m Matter, is bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var worst *entry
	for _, e := range s.tokens {
		if e.failure == nil || e.failure.Kind == AccountUnknown || e.failure.Passes() && e.fails < troubleAfter {
			continue // who has no mailbox is no matter of the administrator's, anybody may ask for one
		}
		if worst == nil || worst.failure.Passes() && !e.failure.Passes() || worst.failure.Passes() == e.failure.Passes() && e.fails > worst.fails {
			worst = e
		}
	}
	if worst == nil {
		return m, false
	}
	told := *worst.failure
	text := "the provider gives no token: " + string(told.Kind)
	if told.Code != "" {
		text += " (" + told.Code + ")"
	}
	return Matter{Name: "token", Kind: told.Kind, Text: text, Advice: told.Advice(), Since: worst.failing, Stops: !worst.grantGood(s.config.Now())}, true
}

// grantGood says whether a token is still good although another one could not be had.
func (e *entry) grantGood(now time.Time) bool {
	return e.grant.token != "" && e.grant.expiry.After(now)
}
