package maildrop_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/xdg-go/scram"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/gateway/stores/storestest"
)

// onePassword is an application password of alice's.
type onePassword struct{ login.AppPassword }

func (p *onePassword) Keys(_ context.Context, store, account string) ([]login.ScramKeys, error) {
	if store != p.Store || account != p.Account {
		return nil, nil
	}
	return []login.ScramKeys{{ID: p.ID, StoredKey: p.StoredKey, ServerKey: p.ServerKey}}, nil
}

func (p *onePassword) FindOne(_ context.Context, _, _, id string) (*login.AppPassword, error) {
	if p.AppPassword.ID != id {
		return nil, nil //nolint:nilnil // there is none
	}
	return &p.AppPassword, nil
}

func (p *onePassword) SaltKey(context.Context) ([]byte, error) { return []byte("key"), nil }
func (p *onePassword) Used(context.Context, login.AppPassword, time.Time, string) error {
	return nil
}

// TestScramHoldsNothing has a maildrop that is open before the client has heard the last word: it
// is the client's once it has answered, and nobody's if it goes away instead.
func TestScramHoldsNothing(t *testing.T) {
	made, text, err := login.NewAppPassword([]byte("key"), login.AppPassword{Store: "sakes", Account: "alice@sakes.example"})
	if err != nil {
		t.Fatal(err)
	}
	for name, stays := range map[string]bool{"stays": true, "goes away": false} {
		t.Run(name, func(t *testing.T) {
			var g *gateway
			g = newGateway(t, func(o *maildrop.Options) {
				o.Authenticator = login.NewAuthenticator(login.AuthenticatorOptions{
					Log: zerolog.Nop(), Guard: login.NewGuard(login.GuardOptions{Log: zerolog.Nop(), Floor: time.Millisecond}),
					Table: func() *stores.Table { return oneStore(g.store) }, Passwords: &onePassword{made},
				})
			})
			g.store.said.Credentials = []backends.CredentialKind{backends.CredentialImpersonation}
			g.store.words = true
			exchange, err := g.session().Authenticate(t.Context(), "SCRAM-SHA-256")
			if err != nil {
				t.Fatal(err)
			}
			client, err := scram.SHA256.NewClient("alice", text, "")
			if err != nil {
				t.Fatal(err)
			}
			conversation := client.NewConversation()
			var challenge []byte
			for !conversation.Done() {
				say, err := conversation.Step(string(challenge))
				if err != nil {
					t.Fatal(err)
				}
				if conversation.Done() {
					break
				}
				var drop *pop3.Login
				if challenge, drop, err = exchange.Next(t.Context(), []byte(say)); err != nil || drop != nil {
					t.Fatalf("%q: %v, %v", say, drop, err)
				}
			}
			if !strings.HasPrefix(string(challenge), "v=") || g.locks.Len() != 1 {
				t.Fatalf("the last word is %q, with %d locks", challenge, g.locks.Len())
			}
			if stays {
				_, drop, err := exchange.Next(t.Context(), []byte{})
				if err != nil {
					t.Fatal(err)
				}
				if err := exchange.Close(); err != nil || g.locks.Len() != 1 {
					t.Errorf("the exchange is closed, and the maildrop with it: %v", err)
				}
				_ = drop.Close()
			} else if err := exchange.Close(); err != nil {
				t.Error(err)
			}
			g.idle()
		})
	}
}

// oneStore is a table of one store.
func oneStore(backend backends.Store) *stores.Table {
	return storestest.Table(stores.Config{Name: "sakes", Domains: []string{"sakes.example"}}.In(storestest.In(backend)))
}
