package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/pop3client"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/collect"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/vault"
	"github.com/dipylon/dipylon/plugins/host"
)

// newFetcher makes what collects mail from servers elsewhere.
func (g *Server) newFetcher() *collect.Collector {
	now := func() *config.Config { return g.inForce.Load().cfg }
	return collect.New(collect.Options{
		Log: g.log.With().Str("protocol", "collect").Logger(), DB: g.db, Locks: g.locks, Table: g.router.Table,
		Buffers:  func() buffer.Options { return buffer.Options{Storage: g.buffers} },
		Hostname: func() string { return now().Hostname }, Hops: func() int { return now().SMTP.Hops },
		Opening:  func() *receivers.Opening { return g.opening() },
		OpenIMAP: g.openIMAP, Parallel: func() int { return now().Limits.Collecting }, Observe: g.metrics.fetched,
	})
}

// fetch has the accounts of a configuration collected, unless no mail is taken from elsewhere.
func (g *Server) fetch(cfg *config.Config) {
	var all []*collect.Account
	if cfg.Transfer.TakesIn() {
		for _, a := range cfg.Collect {
			account, err := g.accountOf(cfg, a)
			if err != nil {
				g.log.Error().Err(err).Str("account", a.Name).Msg("an account cannot be collected")
				continue
			}
			all = append(all, account)
		}
	}
	g.fetcher.Use(all)
}

// accountOf makes an account of its configuration.
func (g *Server) accountOf(cfg *config.Config, a config.Collect) (*collect.Account, error) {
	secure, err := collectTLS(a)
	if err != nil {
		return nil, err
	}
	leave, forEver := a.Stays()
	account := &collect.Account{
		Name: a.Name, Protocol: a.Protocol, Address: a.Host, User: a.User, Folder: a.Folder, To: a.To, Headers: a.Headers, Fallback: a.Fallback,
		Secure:   pop3client.Options{TLS: secure, Timeout: a.Timeout.Std(), Security: map[string]pop3client.Security{"implicit": pop3client.Implicit, "starttls": pop3client.STLS, "none": pop3client.Clear}[a.TLS]},
		Schedule: collect.Schedule{Every: a.Every.Std(), Cron: a.Cron, Zone: a.Zone()}, Leave: leave, LeaveForEver: forEver,
		MessageMost: int64(a.MessageSize), RunMost: a.Messages,
		Settings: a.Fingerprint(),
	}
	tokens := g.tokens.ofCollect(cfg, a)
	account.Credential = func(ctx context.Context) (pop3client.Login, error) {
		login := pop3client.Login{User: a.User, Password: a.Password.Value}
		if tokens != nil {
			var err error
			if login.Token, err = tokens.Token(ctx); err != nil {
				return login, fmt.Errorf("getting a token: %w", err)
			}
		}
		return login, nil
	}
	if tokens != nil {
		account.Refused = tokens.Refused
	}
	return account, nil
}

// collectTLS is what a POP3 server's certificate is verified by.
func collectTLS(a config.Collect) (*tls.Config, error) {
	name := a.TLSName
	if name == "" {
		name, _, _ = net.SplitHostPort(a.Host) // the configuration has made it so
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if a.CA == "" {
		return c, nil
	}
	text, err := os.ReadFile(a.CA)
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file %s has no certificate in PEM form", a.CA)
	}
	return c, nil
}

// ofCollect is where an account's tokens come from; nil: it has none.
func (t *tokenSources) ofCollect(cfg *config.Config, a config.Collect) *smtpclient.Tokens {
	switch {
	case a.TokenFile != "":
		return &smtpclient.Tokens{Token: smtpclient.TokenFile(a.TokenFile)}
	case a.OAuth == nil:
		return nil
	}
	tokens := t.asked(cfg.CollectOAuth(a), cfg.CollectFolder(a.Name), vault.Collect(a.Name))(a.User)
	return &tokens
}

// imapSettings are those of the IMAP backend for an account.
type imapSettings struct {
	Address string         `json:"address"`
	TLS     string         `json:"tls"`
	CA      string         `json:"ca,omitempty"`
	TLSName string         `json:"tls_name,omitempty"`
	Folder  string         `json:"folder,omitempty"`
	Timeout string         `json:"timeout"`
	OAuth   map[string]any `json:"oauth,omitempty"`
}

// CollectSpec is how the backend of an account that is collected by IMAP runs.
func CollectSpec(cfg *config.Config, a config.Collect) (host.Spec, error) {
	raw, err := json.Marshal(imapSettings{
		Address: a.Host, TLS: a.TLS, CA: a.CA, TLSName: a.TLSName, Folder: a.Folder, Timeout: a.Timeout.String(), OAuth: a.OAuth.Settings(),
	})
	if err != nil {
		return host.Spec{}, err
	}
	spec, err := SpecOf(cfg, config.Store{Name: "collect-" + a.Name, Plugin: config.Plugin{Builtin: "imap"}, Settings: config.Settings{JSON: raw}})
	spec.Settings.StateDir = filepath.Join(cfg.CollectFolder(a.Name), "imap")
	return spec, err
}

// errNoAccount says that a reload has taken an account away meanwhile.
var errNoAccount = errors.New("the configuration has no such account any more")

// errOtherAccount says that a reload has changed it meanwhile.
var errOtherAccount = errors.New("the configuration of the account was changed: it is collected anew")

// openIMAP opens an account's folder by a backend of its own, which ends with it.
func (g *Server) openIMAP(ctx context.Context, account *collect.Account) (collect.Opened, error) {
	name, cfg := account.Name, g.inForce.Load().cfg
	i := slices.IndexFunc(cfg.Collect, func(a config.Collect) bool { return a.Name == name })
	if i < 0 {
		return collect.Opened{}, errNoAccount
	}
	a := cfg.Collect[i]
	if a.Fingerprint() != account.Settings { // what is known of one mailbox is nothing of another
		return collect.Opened{}, errOtherAccount
	}
	spec, err := CollectSpec(cfg, a)
	if err != nil {
		return collect.Opened{}, err
	}
	spec.Settings.Vault = g.vault.Of(vault.Collect(name)) // a process for each run: what one has got the next one has
	if err := state.MakeFolder(cfg.CollectFolder(name)); err != nil {
		return collect.Opened{}, err
	}
	store, err := NewStore(g.log.Level(zerolog.WarnLevel), spec)
	if err != nil {
		return collect.Opened{}, err
	}
	drop, err := openDrop(ctx, store, a)
	if err != nil {
		return collect.Opened{}, errors.Join(err, store.Close())
	}
	return collect.Opened{Maildrop: drop, Close: func() { _ = errors.Join(drop.Close(), store.Close()) }}, nil // what was done was confirmed
}

func openDrop(ctx context.Context, store *host.Store, a config.Collect) (backends.Maildrop, error) {
	if err := store.Start(ctx); err != nil {
		return nil, err
	}
	c := backends.Credential{Kind: backends.CredentialPassword, User: a.User, Secret: []byte(a.Password.Value), Peer: backends.Peer{Protocol: "collect"}}
	switch {
	case a.OAuth != nil:
		c.Kind, c.Secret = backends.CredentialImpersonation, nil
	case a.TokenFile != "":
		token, err := smtpclient.TokenFile(a.TokenFile)(ctx)
		if err != nil {
			return nil, err
		}
		c.Kind, c.Secret = backends.CredentialToken, []byte(token)
	}
	return store.Open(ctx, backends.OpenRequest{Credential: c})
}

// collectConcerns are the accounts that cannot be collected, and messages that are set aside.
func (g *Server) collectConcerns(ctx context.Context) (all []attention.Concern, err error) {
	statuses, err := g.fetcher.All(ctx)
	for _, s := range statuses {
		if s.Failures > 0 {
			c := attention.Concern{
				Key: "collect:" + s.Account, Kind: attention.Collect, Severity: attention.Warning,
				Text:   fmt.Sprintf("the account %s cannot be collected (%s), %d times in a row: %s", s.Account, s.Kind, s.Failures, s.Reason),
				Advice: "its mail waits there; dipylon collect status says more, and dipylon collect run tries it at once",
			}
			if s.Blocked {
				c.Severity = attention.Critical
				c.Advice = "correct user, password or token in the configuration and reload; until then it is tried once a day, as servers lock accounts. " + c.Advice
			}
			all = append(all, c)
		}
		if s.Aside > 0 {
			all = append(all, attention.Concern{
				Key: "collect:" + s.Account + " aside", Kind: attention.Collect, Severity: attention.Warning,
				Text:   fmt.Sprintf("messages of the account %s cannot be collected, and stay there: %d", s.Account, s.Aside),
				Advice: fmt.Sprintf("dipylon collect status %s says which and why; they are tried again by themselves", s.Account),
			})
		}
	}
	return all, err
}
