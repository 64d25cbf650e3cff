//go:build linux

package server

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/provider"
)

const routeSecret = "the-secret-of-the-application"

// TestExamineRoute: each cause on the way out is provoked and named, and a healthy run names none.
func TestExamineRoute(t *testing.T) {
	authority := harness.NewAuthority(t)
	pair, err := tls.LoadX509KeyPair(authority.CertFile, authority.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	secured := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	says := func(text string) func(*provider.Provider, *fakesmtp.Server) {
		return func(_ *provider.Provider, s *fakesmtp.Server) { s.Auth = func(string) string { return text } }
	}
	for _, test := range []struct {
		name  string
		do    func(p *provider.Provider, s *fakesmtp.Server)
		asked RouteExamination
		want  string
		sent  int
	}{
		{name: "healthy"},
		{name: "a recipient", asked: RouteExamination{To: "judy@far.example"}},
		{name: "a refused recipient", asked: RouteExamination{To: "judy@far.example"}, want: "failed refused", do: func(_ *provider.Provider, s *fakesmtp.Server) {
			s.Rcpt = func(fakesmtp.Transaction, string) string { return "550 5.1.1 no such user" }
		}},
		{name: "to itself", asked: RouteExamination{SendToSelf: true}, sent: 1},
		{name: "to itself, and may not", asked: RouteExamination{SendToSelf: true}, want: "failed send-as-denied", do: func(_ *provider.Provider, s *fakesmtp.Server) {
			s.End = func(fakesmtp.Transaction, string) string {
				return "554 5.2.252 SendAsDenied; scanner@office.example not allowed to send as scanner@office.example"
			}
		}},
		{name: "the application is scoped", asked: RouteExamination{MustRefuse: "ceo@office.example"}, do: func(p *provider.Provider, s *fakesmtp.Server) {
			in := p.SMTP(nil)
			s.Auth = func(line string) string {
				if user, _ := provider.XOAuth2(strings.TrimPrefix(line, "AUTH XOAUTH2 ")); user == "ceo@office.example" {
					return provider.RefusedSMTP
				}
				return in(line)
			}
		}},
		{name: "the application reaches everybody", asked: RouteExamination{MustRefuse: "ceo@office.example"}, want: "failed reaches-every-mailbox"},
		{name: "secret expired", want: "failed secret-expired", do: func(p *provider.Provider, _ *fakesmtp.Server) { p.Applications["app"].SecretExpired = true }},
		{name: "consent missing", want: "failed consent-missing", do: func(p *provider.Provider, _ *fakesmtp.Server) { p.Applications["app"].NoConsent = true }},
		{name: "off for the tenant", want: "failed smtp-auth-off-tenant", do: says("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. [X]")},
		{name: "off for the mailbox", want: "failed smtp-auth-off-mailbox", do: says("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. [X]")},
		{name: "object id of the wrong kind", want: "failed service-principal", do: says(provider.RefusedSMTP)},
		{name: "fewer connections", want: "warning connections-limit", do: func(p *provider.Provider, s *fakesmtp.Server) {
			in, logins := p.SMTP(nil), atomic.Int64{}
			s.Auth = func(line string) string {
				if logins.Add(1) == 4 { // one alone, and then three of five at a time
					return "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information."
				}
				return in(line)
			}
		}},
		{name: "no STARTTLS", want: "failed no-tls", do: func(_ *provider.Provider, s *fakesmtp.Server) { s.TLS = nil }},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := provider.Start(t)
			p.Applications["app"] = &provider.Application{Secret: routeSecret}
			s := &fakesmtp.Server{Offers: []string{"AUTH XOAUTH2", "SIZE 1000000"}, TLS: secured, Auth: p.SMTP(nil)}
			if test.do != nil {
				test.do(p, s)
			}
			s.Start(t)
			cfg := parse(t, rootsIn(t), oneStore+fmt.Sprintf("routes: [{name: out, domains: ['*'], to: smtp, hosts: [%q], ca: %q, user: scanner@office.example, connections: 5, "+
				"oauth: {issuer: %q, ca: %q, client_id: app, client_secret: %s, scopes: [mail]}}]\n", s.Address, authority.CAFile, p.Issuer, p.CA, routeSecret))
			test.asked.Route = "out"
			if got := causesOf(t, cfg, test.asked); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if n := len(s.Received()); n != test.sent {
				t.Errorf("%d mails were sent", n)
			}
		})
	}
}

// causesOf are the causes of an examination's steps, in which no secret stands.
func causesOf(t *testing.T, cfg *config.Config, e RouteExamination) string {
	t.Helper()
	var all []string
	err := ExamineRoute(t.Context(), cfg, e, func(s backends.Step) {
		if s.Cause != "" {
			all = append(all, s.Outcome.String()+" "+s.Cause)
		}
		if s.Outcome == backends.StepFailed && (s.Cause == "" || s.Advice == "") {
			t.Errorf("a failure without a cause or advice: %+v", s)
		}
		if text := fmt.Sprintf("%+v", s); strings.Contains(text, routeSecret) || strings.Contains(text, "Bearer ey") {
			t.Errorf("a secret is told: %s", text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

// TestExamineOtherRoutes: by password, by MX, through a store, and those that let nothing out.
func TestExamineOtherRoutes(t *testing.T) {
	s := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}, Auth: func(string) string { return "535 5.7.8 authentication failed" }}).Start(t)
	cfg := parse(t, rootsIn(t), oneStore+fmt.Sprintf(`relay: {resolvers: ["127.0.0.1:1"]}
routes:
  - {name: plain, domains: [plain.example], to: smtp, hosts: [%q], tls: clear}
  - {name: away, domains: [away.example], to: lmtp, hosts: ["127.0.0.1:1"], tls: clear}
  - {name: internet, domains: ["*"], to: mx}
  - {name: store, domains: [store.example], to: transport, store: one, user: a@one.example}
  - {name: kept, domains: [kept.example], to: hold}
`, s.Address))
	for _, test := range []struct {
		asked RouteExamination
		want  string
	}{
		{RouteExamination{Route: "plain", MustRefuse: "ceo@one.example", SendToSelf: true}, ""},
		{RouteExamination{Route: "away"}, "failed port-closed"},
		{RouteExamination{Route: "internet"}, ""},
		{RouteExamination{Route: "internet", To: "judy@far.example"}, "failed name-not-found"},
		{RouteExamination{Route: "store"}, ""},
		{RouteExamination{Route: "kept"}, ""},
	} {
		if got := causesOf(t, cfg, test.asked); got != test.want {
			t.Errorf("%+v: %q, want %q", test.asked, got, test.want)
		}
	}
	if err := ExamineRoute(t.Context(), cfg, RouteExamination{Route: "nowhere"}, func(backends.Step) {}); err == nil {
		t.Error("a route that is not there is examined")
	}
}
