package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/vault"
)

// tokenSources are what gets the tokens of routes with oauth, and of accounts that are collected by POP3. One is made when it is
// first asked, and stays over reloads that leave its settings as they were: its tokens do. The zero value is ready.
type tokenSources struct {
	log   zerolog.Logger
	vault *vault.Vault // where tokens are shared with other gateways; nil: they are not

	mu     sync.Mutex
	made   map[[sha256.Size]byte]*oauth.Source
	closed bool
}

// of is where the tokens of a route come from; nil: it has none.
func (t *tokenSources) of(cfg *config.Config, r config.Route) func(mailbox string) smtpclient.Tokens {
	fixed := func(token func(context.Context) (string, error)) func(string) smtpclient.Tokens {
		return func(string) smtpclient.Tokens { return smtpclient.Tokens{Token: token} }
	}
	switch {
	case r.TokenFile != "":
		return fixed(smtpclient.TokenFile(r.TokenFile))
	case len(r.TokenCommand) > 0:
		return fixed(smtpclient.TokenCommand(r.TokenCommand))
	case r.OAuth == nil:
		return nil
	}
	return t.asked(cfg.OAuthOf(r), cfg.RouteFolder(r.Name), vault.Route(r.Name))
}

// ofRoute is what gets the tokens of a route with oauth.
func (t *tokenSources) ofRoute(cfg *config.Config, r config.Route) (*oauth.Source, error) {
	return t.source(cfg.OAuthOf(r), cfg.RouteFolder(r.Name), vault.Route(r.Name))
}

// wake makes the sources of routes that have a login, which ends if it is not used: they see to that, also where no mail goes that way.
func (t *tokenSources) wake(cfg *config.Config) {
	for _, r := range cfg.Routes {
		if !r.OAuth.KeepsLogin() {
			continue
		}
		if _, err := t.ofRoute(cfg, r); err != nil && !errors.Is(err, errStopping) {
			t.log.Error().Err(err).Str("of", vault.Route(r.Name)).Msg("nobody sees to it that the login is used")
		}
	}
}

// asked is what gets tokens as a configuration says, for a mailbox. owner is whose they are in the vault.
func (t *tokenSources) asked(c oauth.Config, folder, owner string) func(mailbox string) smtpclient.Tokens {
	return func(mailbox string) smtpclient.Tokens {
		return smtpclient.Tokens{
			Token: func(ctx context.Context) (string, error) {
				source, err := t.source(c, folder, owner)
				if err != nil {
					return "", err
				}
				return source.Token(ctx, mailbox)
			},
			Refused: func(token string) {
				if source, err := t.source(c, folder, owner); err == nil {
					source.Refused(mailbox, token)
				}
			},
		}
	}
}

// matters are what there is to tell of a route's tokens. Nothing is asked for.
func (t *tokenSources) matters(cfg *config.Config, r config.Route) []oauth.Matter {
	c := cfg.OAuthOf(r)
	t.mu.Lock()
	source := t.made[keyOf(c, vault.Route(r.Name))]
	t.mu.Unlock()
	if source == nil { // no mail has gone that way yet
		return c.Matters()
	}
	return source.Matters()
}

// keyOf tells one configuration from another. It has no secret in it.
func keyOf(c oauth.Config, owner string) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %#v", owner, c))
}

var errStopping = errors.New("the gateway stops")

// source is what gets an owner's tokens.
func (t *tokenSources) source(c oauth.Config, folder, owner string) (*oauth.Source, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOf(c, owner)
	if s := t.made[key]; s != nil {
		return s, nil
	}
	if t.closed {
		return nil, errStopping
	}
	if t.vault != nil {
		c.Vault.Shared = t.vault.Of(owner)
	}
	if c.Grant == oauth.RefreshToken {
		if err := state.MakeFolder(folder); err != nil {
			return nil, err
		}
	}
	c.Notice = func(err error) { t.log.Error().Err(err).Str("of", owner).Msg(oauth.Headline(err)) }
	s, err := oauth.New(c)
	if err != nil {
		return nil, err
	}
	if t.made == nil {
		t.made = make(map[[sha256.Size]byte]*oauth.Source)
	}
	t.made[key] = s
	return s, nil
}

// OpenVault opens the vault of a configuration's state, beside the gateway that may be running on it.
func OpenVault(ctx context.Context, cfg *config.Config) (v *vault.Vault, done func() error, err error) {
	db, err := state.Open(ctx, StateOptions(zerolog.Nop(), cfg))
	if err != nil {
		return nil, nil, err
	}
	return vault.New(db), db.Close, nil
}

// keep ends those that no route of a configuration has any more.
func (t *tokenSources) keep(cfg *config.Config) {
	used := make(map[[sha256.Size]byte]bool)
	for _, r := range cfg.Routes {
		if r.OAuth != nil {
			used[keyOf(cfg.OAuthOf(r), vault.Route(r.Name))] = true
		}
	}
	for _, a := range cfg.Collect {
		if a.OAuth != nil {
			used[keyOf(cfg.CollectOAuth(a), vault.Collect(a.Name))] = true
		}
	}
	t.end(func(key [sha256.Size]byte) bool { return !used[key] })
}

// close ends all. None is made any more.
func (t *tokenSources) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.end(func([sha256.Size]byte) bool { return true })
}

func (t *tokenSources) end(which func([sha256.Size]byte) bool) {
	t.mu.Lock()
	var over []*oauth.Source
	for key, s := range t.made {
		if which(key) {
			over = append(over, s)
			delete(t.made, key)
		}
	}
	t.mu.Unlock()
	for _, s := range over {
		s.Close()
	}
}
