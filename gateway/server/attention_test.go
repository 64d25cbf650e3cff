package server

import (
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/plugins/host"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// ending writes a certificate of listeners that has so many days left.
func ending(t *testing.T, dir string, days int) {
	t.Helper()
	certificate, key, err := MakeSelfSigned("gate.example", time.Now().Add(time.Duration(days)*24*time.Hour+time.Hour-selfSignedFor))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "gate.key"), key, 0o600), os.WriteFile(filepath.Join(dir, "gate.crt"), certificate, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// TestAttentionMail: a certificate that ends in ten days, and a password that ends tomorrow, are in the list, in the metrics and
// in one mail to the administrator, which is not sent again by a gateway that starts on the same day.
func TestAttentionMail(t *testing.T) {
	far := (&fakesmtp.Server{}).Start(t)
	dir := rootsIn(t)
	ending(t, dir, 10)
	cfg := parse(t, dir, oneStore+"tls: {certificate: gate.crt, key: gate.key}\nattention: {mail_to: admin@far.example}\n"+
		"routes: [{name: far, domains: [far.example], to: smtp, hosts: ['"+far.Address+"'], tls: clear}]\n")
	began := time.Now().UTC().Format(time.DateOnly)
	for start := range 2 {
		g, ended, end := run(t, cfg)
		if start == 0 {
			draft := login.AppPassword{Store: "one", Account: "george@one.example", Label: "scanner", Expires: time.Now().Add(36 * time.Hour)}
			if _, _, err := passwords.New(g.db).Add(t.Context(), draft); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "the password is seen", func() bool { g.attention.Look(t.Context()); return len(g.attention.Concerns()) == 2 })
		g.mailAttention(t.Context()) // it was done at the start, or is done here
		within(t, "there is a mail", func() bool { return len(far.Received()) >= 1 })
		within(t, "this gateway knows that there is one", func() bool {
			n, err := g.spool.Summary(t.Context())
			return err == nil && len(n.Recipients) == 0
		})
		all := g.attention.Concerns()
		if all[0].Kind != attention.Password || all[0].Severity != attention.Warning || all[1].Kind != attention.Certificate || all[1].Severity != attention.Notice {
			t.Errorf("%+v", all)
		}
		text := gatherAll(t, g)
		for _, want := range []string{
			`dipylon_attention{kind="certificate",severity="notice"} 1`, `dipylon_attention{kind="password",severity="warning"} 1`,
			`dipylon_attention{kind="secret",severity="critical"} 0`, `dipylon_expiry_timestamp_seconds{kind="certificate"} `, `dipylon_expiry_timestamp_seconds{kind="password"} `,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("the metrics have no %s", want)
			}
		}
		end()
		if err := errors.Join(<-ended, g.Shutdown(t.Context())); err != nil {
			t.Error(err)
		}
	}
	got, most := far.Received(), 1
	if time.Now().UTC().Format(time.DateOnly) != began {
		most = 2 // it is another day meanwhile, with a mail of its own
	}
	if len(got) == 0 || len(got) > most {
		t.Fatalf("%d mails", len(got))
	}
	readAttention(t, got[0].Content)
}

// readAttention reads the mail.
func readAttention(t *testing.T, raw string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{"gate.crt of the listeners ends on", "in 10 days", "renew it"} {
		if !strings.Contains(words, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if !strings.Contains(m.Header.Get("Subject"), "attention") || m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("To") != "<admin@far.example>" {
		t.Errorf("%v", m.Header)
	}
}

// gatherAll is what a gateway's metrics tell now, a line for each number.
func gatherAll(t *testing.T, g *Server) string {
	t.Helper()
	families, err := g.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&out, "%s{%s} %g\n", family.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue())
		}
	}
	return out.String()
}

// TestStoreConcerns: what is wrong with stores.
func TestStoreConcerns(t *testing.T) {
	gone := errors.New("exit status 1")
	for _, test := range []struct {
		name, want string
		status     host.Status
	}{
		{"well", "", host.Status{Ready: true}},
		{"starts", "", host.Status{}},
		{"does not start", "critical the store one has no plugin process: exit status 1", host.Status{LastError: gone}},
		{"ill", "critical the store one cannot be used: the server does not answer", host.Status{Ready: true, Health: errors.New("the server does not answer")}},
		{
			"restarted", "warning the plugin of the store one has ended by itself and was started again, 2 times since the gateway began: exit status 1",
			host.Status{Ready: true, Restarts: 2, LastError: gone, Since: time.Now().Add(-time.Minute)},
		},
		{"restarted long ago", "", host.Status{Ready: true, Restarts: 2, LastError: gone, Since: time.Now().Add(-2 * time.Hour)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			for _, c := range storeConcerns([]Store{{Name: "one", Plugin: test.status}}) {
				got += c.Severity.String() + " " + c.Text
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestSpoolConcerns: too much mail in transit, and mail that is too old, late or held.
func TestSpoolConcerns(t *testing.T) {
	now := time.Now()
	limits := config.Attention{QueueAge: config.Duration(24 * time.Hour), QueueRecipients: 10}
	for _, test := range []struct {
		name, want string
		sum        spool.Summary
	}{
		{"nothing", "", spool.Summary{At: now}},
		{"some", "", spool.Summary{At: now, Recipients: map[spool.State]int64{spool.Waiting: 10}, Due: now.Add(-time.Minute), Oldest: now.Add(-23 * time.Hour)}},
		{"much", "spool:much", spool.Summary{At: now, Recipients: map[spool.State]int64{spool.Waiting: 9, spool.Uncertain: 1, spool.InFlight: 1}}},
		{"old", "spool:old", spool.Summary{At: now, Oldest: now.Add(-25 * time.Hour)}},
		{"overdue", "spool:overdue", spool.Summary{At: now, Due: now.Add(-2 * time.Hour)}},
		{"held", "spool:held", spool.Summary{At: now, Recipients: map[spool.State]int64{spool.Held: 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			for _, c := range spoolConcernsOf(test.sum, limits) {
				got += c.Key
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestPartitionConcerns: a role that may not make partitions is told of at once, what passes by itself after hours, with the reason.
func TestPartitionConcerns(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name, text, advice string
		failure            *spool.PartitionFailure
	}{
		{name: "nothing"},
		{name: "just now", failure: &spool.PartitionFailure{Since: now.Add(-time.Hour), Err: errors.New("lock timeout")}},
		{"for hours", "stay in PostgreSQL, as their partitions cannot be dropped: lock timeout", "pg_locks", &spool.PartitionFailure{Since: now.Add(-7 * time.Hour), Err: errors.New("lock timeout")}},
		{"the role", "may not make and drop partitions of spool_contents (must be owner)", "OWNER TO", &spool.PartitionFailure{Since: now, Err: errors.New("must be owner"), Denied: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			all := partitionConcerns(test.failure, now)
			if len(all) == 0 && test.text == "" {
				return
			}
			if len(all) != 1 || !strings.Contains(all[0].Text, test.text) || !strings.Contains(all[0].Advice, test.advice) || all[0].Severity != attention.Warning || !all[0].Since.Equal(test.failure.Since) {
				t.Errorf("%+v", all)
			}
		})
	}
}

// TestCertificateConcerns: those of listeners and routes, those that do not serve yet, and those that cannot be read.
func TestCertificateConcerns(t *testing.T) {
	dir := rootsIn(t)
	ending(t, dir, 10)
	cfg := parse(t, dir, oneStore+"tls: {certificate: gate.crt, key: gate.key}\n"+
		"routes: [{name: far, domains: [far.example], to: smtp, hosts: [mx.far.example], client_certificate: gate.crt, client_key: gate.key}]\n")
	all := certificateConcerns(cfg)
	if len(all) != 2 || attention.DaysLeft(all[0].Until, time.Now()) != 10 || !strings.Contains(all[1].Text, "the route far") || !all[0].Local {
		t.Errorf("%+v", all)
	}
	if own := certificateConcerns(parse(t, dir, oneStore)); len(own) != 1 || !strings.Contains(own[0].Text, "made itself") {
		t.Errorf("%+v", own)
	}
	ending(t, dir, 800)
	if all := certificateConcerns(cfg); all[0].Severity != attention.Critical || !strings.Contains(all[0].Text, "not valid yet") {
		t.Errorf("%+v", all)
	}
	if err := os.Remove(filepath.Join(dir, "gate.key")); err != nil {
		t.Fatal(err)
	}
	if all := certificateConcerns(cfg); all[0].Severity != attention.Warning || !strings.Contains(all[0].Text, "cannot be used") {
		t.Errorf("%+v", all)
	}
}

// TestAttentionKeys: gateways that share a state name the mail about what is theirs together alike, and those about their own
// matters each in its own way.
func TestAttentionKeys(t *testing.T) {
	a, b := &config.Config{Hostname: "a.example"}, &config.Config{Hostname: "b.example"}
	if attentionKey(a, mailShared, "2026-11-30") != attentionKey(b, mailShared, "2026-11-30") || attentionKey(a, mailLocal, "2026-11-30") == attentionKey(b, mailLocal, "2026-11-30") {
		t.Error("keys")
	}
	if key := attentionKey(a, mailLocal, "2026-11-30"); len(key) > 64 || key == attentionKey(a, mailLocal, "2026-12-01") {
		t.Error(key)
	}
}

// TestWarningConcerns: what stores' backends and routes' tokens warn of is in the list, without the stores' secrets.
func TestWarningConcerns(t *testing.T) {
	soon := time.Now().Add(5 * 24 * time.Hour)
	s := Store{Name: "m365", settings: []byte(`{"oauth":{"client_secret":"swordfish-swordfish"}}`), Plugin: host.Status{
		Ready: true, Description: backends.Description{Settings: []backends.Setting{{Path: "oauth.client_secret", Secret: true}}},
		Warnings: []backends.Warning{
			{Name: "secret", Kind: backends.WarningSecret, Text: "the secret swordfish-swordfish ends", Until: soon},
			{Name: "token", Kind: backends.WarningConsent, Text: "no token", Stops: true},
			{Name: "busy", Kind: backends.WarningThrottled, Text: "throttled"},
		},
	}}
	all := storeConcerns([]Store{s})
	if len(all) != 3 || all[0].Kind != attention.Secret || all[0].Key != "store:m365 secret" || strings.Contains(all[0].Text, "swordfish") || !all[0].Until.Equal(soon) ||
		all[1].Kind != attention.Consent || all[1].Severity != attention.Critical || all[2].Kind != attention.Store || all[2].Severity != attention.Later {
		t.Errorf("%+v", all)
	}
	g := &Server{}
	g.inForce.Store(&inForce{cfg: parse(t, rootsIn(t), oneStore+"routes: [{name: m365, domains: ['*'], to: smtp, hosts: [smtp.example], user: a@one.example,"+
		" oauth: {provider: microsoft, tenant: one.example, client_id: app, client_secret: swordfish-swordfish, expires: "+soon.Format(time.DateOnly)+"}}]\n")})
	routes := g.routeConcerns()
	if len(routes) != 1 || routes[0].Kind != attention.Secret || routes[0].Key != "route:m365 secret" || routes[0].Until.Format(time.DateOnly) != soon.Format(time.DateOnly) {
		t.Errorf("%+v", routes)
	}
}
