//go:build linux

package jmap_test

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
	"github.com/dipylon/dipylon/test/peers"
)

const letter = "From: ada@peer.example\r\nSubject: by JMAP\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@peer.example>\r\n\r\n.dot\r\nline two\r\n"

func password(user, secret string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(secret)}
}

func TestCyrus(t *testing.T) {
	c := peers.StartCyrus(t, peers.CyrusOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	raw, err := json.Marshal(map[string]any{"url": c.JMAP, "plaintext": true, "delivery": map[string]any{
		"lmtp": c.LMTP, "accounts": map[string]string{"ada@peer.example": "ada-secret"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := jmap.New()
	defer s.Close()
	if err := s.Configure(ctx, backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw}); err != nil {
		t.Fatal(err)
	}
	if err := s.Health(ctx); err != nil {
		t.Error(err)
	}
	if _, err := s.Login(ctx, password("ada@peer.example", "wrong")); backends.KindOf(err) != backends.BadCredentials {
		t.Errorf("a wrong password: %v", err)
	}
	delivery := backends.Delivery{Key: "k1", ReversePath: "x@far.example", Recipients: []string{"ada@peer.example", "nobody@peer.example"}, Size: int64(len(letter))}
	for _, retry := range []bool{false, true} { // the second time it is there already
		delivery.Retry = retry
		verdicts, err := s.Deliver(ctx, delivery, strings.NewReader(letter))
		if err != nil || verdicts[0].Failure != nil || verdicts[1].Failure == nil || verdicts[1].Failure.Kind != backends.NotFound {
			t.Fatalf("retry %v: %+v %v", retry, verdicts, err)
		}
	}
	drop, err := s.Open(ctx, backends.OpenRequest{Credential: password("ada@peer.example", "ada-secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	entries := list(t, ctx, drop)
	if len(entries) != 1 {
		t.Fatalf("%d messages are listed", len(entries))
	}
	got := fetch(t, ctx, drop, backends.FetchRequest{ID: entries[0].ID})
	if !strings.HasSuffix(got, letter) || int64(len(got)) != entries[0].Size || !entries[0].Exact {
		t.Errorf("%d octets were announced and %d came: %q", entries[0].Size, len(got), got)
	}
	if top := fetch(t, ctx, drop, backends.FetchRequest{ID: entries[0].ID, Top: true, Lines: 1}); !strings.HasSuffix(top, "\r\n\r\n.dot\r\n") {
		t.Errorf("the top is %q", top)
	}
	removals, err := drop.Remove(ctx, []backends.MessageID{entries[0].ID}, backends.DisposalRemove)
	if err != nil || removals[0].Failure != nil {
		t.Fatal(removals, err)
	}
	if _, err := drop.Fetch(ctx, backends.FetchRequest{ID: entries[0].ID}); backends.KindOf(err) != backends.NotFound {
		t.Errorf("fetching what is gone: %v", err)
	}
	again, err := s.Open(ctx, backends.OpenRequest{Credential: password("ada@peer.example", "ada-secret")})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if left := list(t, ctx, again); len(left) != 0 {
		t.Errorf("%d messages are left", len(left))
	}
}

func list(t *testing.T, ctx context.Context, drop backends.Maildrop) (entries []backends.Entry) {
	t.Helper()
	for e, err := range drop.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func fetch(t *testing.T, ctx context.Context, drop backends.Maildrop, request backends.FetchRequest) string {
	t.Helper()
	content, err := drop.Fetch(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	octets, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(octets)
}

func TestSettings(t *testing.T) {
	for path, raw := range map[string]string{
		"url":      `{"url": "http://x.example/"}`,
		"ulr":      `{"url": "https://x.example/", "ulr": "https://x.example/"}`,
		"requests": `{"url": "https://x.example/", "requests": 0}`,
		"ca":       `{"url": "https://x.example/", "ca": "/nowhere/ca.pem"}`,
		"username": `{"url": "https://x.example/", "username": "both"}`,
	} {
		t.Run(path, func(t *testing.T) {
			err := jmap.New().Configure(t.Context(), backends.Settings{Raw: []byte(raw), Check: true})
			wrong, ok := err.(*backends.SettingsError)
			if !ok || len(wrong.Problems) != 1 || wrong.Problems[0].Path != path {
				t.Errorf("got %v", err)
			}
		})
	}
}
