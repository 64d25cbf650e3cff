package jmap_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// badSettings are wrong at one place, by its path.
var badSettings = map[string]string{
	"url":               `{"url": "http://x.example/"}`,
	"ulr":               `{"url": "https://x.example/", "ulr": "https://x.example/"}`,
	"requests":          `{"url": "https://x.example/", "requests": 0}`,
	"timeout":           `{"url": "https://x.example/", "timeout": 60}`,
	"ca":                `{"url": "https://x.example/", "ca": "/nowhere/ca.pem"}`,
	"pin":               `{"url": "https://x.example/", "pin": "sha1/x"}`,
	"auth":              `{"url": "https://x.example/", "auth": "digest"}`,
	"username":          `{"url": "https://x.example/", "username": "both"}`,
	"hosts":             `{"url": "https://x.example/", "hosts": ["https://y.example"]}`,
	"delivery.tls":      `{"url": "https://x.example/", "delivery": {"tls": "sometimes"}}`,
	"delivery.accounts": `{"url": "https://x.example/", "delivery": {"accounts": {"ada": "secret"}}}`,
	"delivery.lmpt":     `{"url": "https://x.example/", "delivery": {"lmpt": "x"}}`,
}

func TestSettings(t *testing.T) {
	for path, raw := range badSettings {
		t.Run(path, func(t *testing.T) {
			err := jmap.New().Configure(t.Context(), backends.Settings{Raw: []byte(raw), Check: true})
			wrong, ok := err.(*backends.SettingsError)
			if !ok || len(wrong.Problems) != 1 || wrong.Problems[0].Path != path {
				t.Errorf("got %v", err)
			}
		})
	}
	for name, raw := range map[string]string{
		"no url":            `{}`,
		"an empty host":     `{"url": "https:///jmap"}`,
		"a login in it":     `{"url": "https://ada:secret@x.example/"}`,
		"another scheme":    `{"url": "ftp://x.example/"}`,
		"no URL at all":     `{"url": "%%"}`,
		"LMTP and SMTP":     `{"url": "https://x.example/", "delivery": {"lmtp": "x", "smtp": "y"}}`,
		"SMTP by a path":    `{"url": "https://x.example/", "delivery": {"smtp": "/run/x"}}`,
		"an empty password": `{"url": "https://x.example/", "delivery": {"accounts": {"ada@x.example": ""}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if err := jmap.New().Configure(t.Context(), backends.Settings{Raw: []byte(raw), Check: true}); err == nil {
				t.Error("they are good")
			}
		})
	}
}

// TestDeliveryBySMTP: the host that the settings name answers for each recipient.
func TestDeliveryBySMTP(t *testing.T) {
	upstream := (&fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if strings.HasPrefix(path, "nobody@") {
			return "550 5.1.1 no such user"
		}
		return ""
	}}).Start(t)
	s := startFake(t).store(t, map[string]any{"delivery": map[string]any{"smtp": upstream.Address}})
	to := []string{"ada@peer.example", "nobody@peer.example"}
	asked, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(to...)})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(to...)}, strings.NewReader("Subject: x\r\n\r\nx\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, verdicts := range [][]backends.Verdict{asked, taken} {
		if verdicts[0].Failure != nil || verdicts[1].Failure == nil || verdicts[1].Failure.Kind != backends.NotFound {
			t.Errorf("got %v", verdicts)
		}
	}
	if copies := upstream.Copies("Subject: x\r\n\r\nx\r\n"); copies["ada@peer.example"] != 1 || len(copies) != 1 {
		t.Errorf("the server has %v", copies)
	}
	if d, err := s.Describe(t.Context()); err != nil || !d.Capabilities.Receiver {
		t.Error("it takes no mail in", err)
	}
}

// TestResolveTellsTheAccount: whose an address with a detail is, where it is asked for, by the id that
// the login has; a server that cannot be asked is an outage.
func TestResolveTellsTheAccount(t *testing.T) {
	f := startFake(t)
	s := f.store(t, map[string]any{"delivery": map[string]any{"accounts": map[string]string{user: secret}}})
	ask := func() []backends.Verdict {
		verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("ada+scan@peer.example", "bob+scan@peer.example"), Accounts: true})
		if err != nil || len(verdicts) != 2 {
			t.Fatalf("%+v, %v", verdicts, err)
		}
		return verdicts
	}
	if v := ask(); v[0].Failure != nil || v[0].Account != "a1" || v[1].Failure == nil || v[1].Account != "" {
		t.Errorf("%+v", v)
	}
	f.Close()
	if v := ask(); v[0].Failure == nil || !v[0].Failure.Temporary() || v[0].Account != "" {
		t.Errorf("the server is away: %+v", v)
	}
}
