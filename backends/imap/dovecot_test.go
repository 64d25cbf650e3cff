package imap_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/imap"
	"github.com/dipylon/dipylon/test/peers"
)

func open(t *testing.T, settings map[string]any) *imap.Store {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	s := imap.New()
	if err := s.Configure(t.Context(), backends.Settings{Store: "peer", Hostname: "gate.example", Domains: []string{"peer.example"}, Raw: raw}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestReadFromDovecot(t *testing.T) {
	d := peers.StartDovecot(t, peers.DovecotOptions{})
	s := open(t, map[string]any{"address": d.IMAPS, "ca": d.CA, "tls_name": "localhost"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	drop, err := s.Open(ctx, backends.OpenRequest{Credential: backends.Credential{
		Kind: backends.CredentialPassword, User: "ada@peer.example", Secret: []byte("ada-secret"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	for e, err := range drop.List(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		c, err := drop.Fetch(ctx, backends.FetchRequest{ID: e.ID})
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, c)
		fmt.Println(e, n, err)
	}
}
