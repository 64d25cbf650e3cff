package imap_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/provider"
)

// examined are the steps of an examination, in which no secret of the settings stands.
func examined(t *testing.T, s *imap.Store, c backends.Credential) (steps []backends.Step) {
	t.Helper()
	if err := s.Examine(t.Context(), backends.ExamineRequest{Credential: c}, func(step backends.Step) { steps = append(steps, step) }); err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if text := fmt.Sprintf("%+v", step); strings.Contains(text, applicationSecret) || strings.Contains(text, "Bearer ey") {
			t.Errorf("a secret is told: %s", text)
		}
		if (step.Cause == "") != (step.Advice == "") || step.Outcome == backends.StepFailed && step.Cause == "" {
			t.Errorf("a cause without advice, or the reverse: %+v", step)
		}
	}
	return steps
}

// causes are the steps that are not good, with their causes.
func causes(steps []backends.Step) string {
	var all []string
	for _, s := range steps {
		if s.Cause != "" {
			all = append(all, s.Outcome.String()+" "+s.Cause)
		}
	}
	return strings.Join(all, ", ")
}

// submissionFor is a submission server that takes a provider's tokens.
func submissionFor(t *testing.T, p *provider.Provider) *fakesmtp.Server {
	return (&fakesmtp.Server{Offers: []string{"AUTH XOAUTH2"}, Auth: p.SMTP(nil)}).Start(t)
}

// TestExamineCauses: each cause of a provider's is provoked and named, and a healthy run names none.
func TestExamineCauses(t *testing.T) {
	t.Parallel()
	const auth = "^AUTHENTICATE XOAUTH2 "
	refusing := func(text string) func(string) string {
		return func(string) string { return text }
	}
	for _, test := range []struct {
		name string
		do   func(p *provider.Provider, f *fakeimap.Server, smtp *fakesmtp.Server, settings map[string]any)
		want string
	}{
		{"healthy", nil, ""},
		{"secret expired", func(p *provider.Provider, _ *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			p.Applications[application].SecretExpired = true
		}, "failed secret-expired"},
		{"secret ends", func(_ *provider.Provider, _ *fakeimap.Server, _ *fakesmtp.Server, settings map[string]any) {
			settings["oauth"].(map[string]any)["expires"] = "2026-01-01"
		}, "warning secret-expires"},
		{"consent missing", func(p *provider.Provider, _ *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			p.Applications[application].NoConsent = true
		}, "failed consent-missing"},
		{"application unknown", func(p *provider.Provider, _ *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			delete(p.Applications, application)
		}, "failed application-unknown"},
		{"application disabled", func(p *provider.Provider, _ *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			p.Applications[application].Disabled = true
		}, "failed account-disabled"},
		{"object id of the wrong kind", func(_ *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			f.On = []fakeimap.Rule{{Command: auth, Answer: "TAG " + provider.RefusedIMAP + "\n"}}
		}, "failed service-principal"},
		{"licence without IMAP", func(_ *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			f.On = append([]fakeimap.Rule{{Command: "^(SELECT|EXAMINE|LIST|STATUS)", Answer: "TAG BAD User is authenticated but not connected.\n"}}, f.On...)
		}, "failed protocol-off"},
		{"licence without IMAP, at the login", func(_ *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			f.On = []fakeimap.Rule{{Command: auth, Answer: "TAG NO User is authenticated but not connected.\n"}}
		}, "failed protocol-off"},
		{"no tokens", func(_ *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			f.Caps = "IMAP4rev1 AUTH=PLAIN UIDPLUS"
		}, "failed method-not-offered"},
		{"no UIDPLUS", func(_ *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, _ map[string]any) {
			f.Caps = strings.ReplaceAll(provider.IMAPCaps, "UIDPLUS ", "")
		}, "warning uidplus-missing"},
		{"fewer connections", func(p *provider.Provider, f *fakeimap.Server, _ *fakesmtp.Server, settings map[string]any) {
			settings["connections"] = map[string]any{"per_account": 5}
			f.On = append([]fakeimap.Rule{{Command: auth, Skip: 3, Times: 1, Answer: "TAG NO [ALERT] Too many simultaneous connections. (Failure)\n"}}, f.On...)
		}, "warning connections-limit"},
		{"SMTP AUTH off for the tenant", func(_ *provider.Provider, _ *fakeimap.Server, smtp *fakesmtp.Server, _ map[string]any) {
			smtp.Auth = refusing("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.")
		}, "failed smtp-auth-off-tenant"},
		{"SMTP AUTH off for the mailbox", func(_ *provider.Provider, _ *fakeimap.Server, smtp *fakesmtp.Server, _ map[string]any) {
			smtp.Auth = refusing("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.")
		}, "failed smtp-auth-off-mailbox"},
		{"passwords off", func(_ *provider.Provider, _ *fakeimap.Server, smtp *fakesmtp.Server, _ map[string]any) {
			smtp.Auth = refusing("550 5.7.30 Basic authentication is not supported for Client Submission.")
		}, "failed basic-auth-off"},
		{"object id of the wrong kind, by SMTP", func(_ *provider.Provider, _ *fakeimap.Server, smtp *fakesmtp.Server, _ map[string]any) {
			smtp.Auth = refusing("430 4.2.0 STOREDRV; mailbox logon failure; server says no")
		}, "failed service-principal"},
		{"submission takes no tokens", func(_ *provider.Provider, _ *fakeimap.Server, smtp *fakesmtp.Server, _ map[string]any) {
			smtp.Offers = []string{"SIZE 1000"}
		}, "failed method-not-offered"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := provider.Start(t)
			smtp := submissionFor(t, p)
			settings := map[string]any{
				"oauth": tokenSettings(p), "connections": map[string]any{"per_account": 2}, "submission": map[string]any{"address": smtp.Address, "tls": "none"},
			}
			f := twoMessages()
			f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
			if test.do != nil {
				test.do(p, f, smtp, settings)
			}
			fakeimap.Start(t, f)
			steps := examined(t, storeOf(t, f, settings), actingFor("ada@peer.example"))
			if got := causes(steps); got != test.want {
				t.Errorf("%q, want %q:\n%+v", got, test.want, steps)
			}
			if last := steps[len(steps)-1]; test.want == "" && (last.Name != "message" || last.Outcome != backends.StepGood) {
				t.Errorf("%+v", steps)
			}
		})
	}
}

// TestExamineFreshToken: an examination says where its token has come from, and asks for another one where it is to.
func TestExamineFreshToken(t *testing.T) {
	t.Parallel()
	p := provider.Start(t)
	f := twoMessages()
	f.Caps, f.On = provider.IMAPCaps, p.IMAP(nil)
	s := storeOf(t, fakeimap.Start(t, f), map[string]any{"oauth": tokenSettings(p)})
	for i, want := range []int{1, 1, 2, 3} {
		var steps []backends.Step
		request := backends.ExamineRequest{Credential: actingFor("ada@peer.example"), FreshToken: i > 1}
		if err := s.Examine(t.Context(), request, func(step backends.Step) { steps = append(steps, step) }); err != nil {
			t.Fatal(err)
		}
		told := slices.ContainsFunc(steps, func(s backends.Step) bool {
			return s.Name == "token" && strings.Contains(s.Detail, "the issuer has given it")
		})
		if p.Given() != want || !told || steps[len(steps)-1].Outcome != backends.StepGood {
			t.Errorf("%d tokens, want %d: %+v", p.Given(), want, steps)
		}
	}
}

// TestExamineByPassword: a store that takes passwords; nobody, a wrong password, and providers that take none any more.
func TestExamineByPassword(t *testing.T) {
	t.Parallel()
	var wrong atomic.Value
	wrong.Store("")
	f := twoMessages()
	f.On = []fakeimap.Rule{{Command: "^(LOGIN|AUTHENTICATE)", Make: func(tag, _, right string) string {
		if text := wrong.Load().(string); text != "" {
			return tag + " " + text + "\r\n"
		}
		return right
	}}}
	s := storeOf(t, fakeimap.Start(t, f), nil)
	if steps := examined(t, s, backends.Credential{}); causes(steps) != "" || steps[len(steps)-1].Name != "login" || steps[len(steps)-1].Outcome != backends.StepSkipped {
		t.Errorf("%+v", steps)
	}
	if steps := examined(t, s, password); causes(steps) != "" || steps[len(steps)-1].Name != "message" {
		t.Errorf("%+v", steps)
	}
	for text, want := range map[string]string{
		"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)":                                                        "failed wrong-credentials",
		"NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)": "failed app-password-needed",
		"NO LOGIN failed. BasicAuthBlocked":                                                                              "failed basic-auth-off",
	} {
		wrong.Store(text)
		before := len(f.Heard("LOGIN")) + len(f.Heard("AUTHENTICATE"))
		steps := examined(t, s, password)
		if got := causes(steps); got != want {
			t.Errorf("%s: %q, want %q: %+v", text, got, want, steps)
		}
		if n := len(f.Heard("LOGIN")) + len(f.Heard("AUTHENTICATE")) - before; n != 1 {
			t.Errorf("%s: a refused password is presented %d times", text, n)
		}
	}
}

// TestExamineAway: a server that is not there, and one that speaks no IMAP.
func TestExamineAway(t *testing.T) {
	t.Parallel()
	f := twoMessages()
	f.Greeting = "220 mail.office.example ESMTP"
	s := storeOf(t, fakeimap.Start(t, f), nil)
	if steps := examined(t, s, password); steps[len(steps)-1].Outcome != backends.StepFailed || !strings.HasPrefix(steps[len(steps)-1].Name, "IMAP at ") {
		t.Errorf("%+v", steps)
	}
	secure := storeOf(t, f, map[string]any{"tls": "implicit"})
	if steps := examined(t, secure, password); causes(steps) != "failed no-tls" {
		t.Errorf("%+v", steps)
	}
}
