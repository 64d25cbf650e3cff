package imap

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// TestAppendBreaksOff: an APPEND that ends in the middle of its literal ends the connection, and what is
// asked on that afterwards is answered, and does not wait for the rest of the literal.
func TestAppendBreaksOff(t *testing.T) {
	cut := errors.New("the message is cut")
	for name, rest := range map[string]func(*fakeimap.Server) io.Reader{
		"the message":    func(*fakeimap.Server) io.Reader { return iotest.ErrReader(cut) },
		"the connection": func(s *fakeimap.Server) io.Reader { return &dropping{server: s} },
	} {
		t.Run(name, func(t *testing.T) {
			server := fakeimap.Start(t, &fakeimap.Server{})
			raw, err := json.Marshal(map[string]any{"address": server.Address, "tls": "none", "timeout": "5s"})
			if err != nil {
				t.Fatal(err)
			}
			s := New()
			if err := s.Configure(t.Context(), backends.Settings{Store: "s", Hostname: "gate.example", Domains: []string{"peer.example"}, StateDir: t.TempDir(), Raw: raw}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			conn, err := s.acquire(t.Context(), backends.Credential{Kind: backends.CredentialPassword, User: "ada@peer.example", Secret: []byte("secret")})
			if err != nil {
				t.Fatal(err)
			}
			defer s.pool.release(conn, false)
			const announced = 64 << 20
			if err := s.append(t.Context(), conn, "INBOX", io.MultiReader(strings.NewReader("Subject: x\r\n"), rest(server)), announced, nil); err == nil {
				t.Error("half a message was appended")
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			answered := make(chan error, 1)
			go func() { answered <- conn.client.Noop().Wait() }()
			select {
			case err := <-answered:
				if err == nil {
					t.Error("the connection is in use after half a literal")
				}
			case <-ctx.Done():
				t.Error("a command after half a literal waits for ever")
			}
		})
	}
}

// dropping ends the server's connections once it is read, and then goes on for ever.
type dropping struct {
	server *fakeimap.Server
}

func (d *dropping) Read(p []byte) (int, error) {
	d.server.DropAll()
	return len(p), nil
}
