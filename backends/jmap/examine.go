package jmap

import (
	"context"
	"fmt"
	"net"
	"net/url"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/probe"
)

var _ backends.Examiner = (*Store)(nil)

// Examine implements [backends.Examiner].
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	if err := s.ready(); err != nil {
		return err
	}
	w := probe.New(ctx, tell)
	if s.examineServer(w) && s.examineLogin(w, request.Credential) {
		w.Read(s, backends.OpenRequest{Credential: request.Credential, Folder: request.Folder})
	}
	return w.Err()
}

// examineServer goes from the server's name to the session resource, which wants a login.
func (s *Store) examineServer(w *probe.Way) bool {
	u, err := url.Parse(s.settings.URL)
	if err != nil {
		return w.Step("URL", func(context.Context) (probe.Found, error) { return probe.Found{}, err }) // read has checked it
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if !w.Server(address) {
		return false
	}
	secured := u.Scheme != "https" || w.Step("TLS with "+address, func(ctx context.Context) (probe.Found, error) {
		config := s.tls.Clone()
		if config.ServerName == "" {
			config.ServerName = u.Hostname()
		}
		return probe.TLS(ctx, address, config, nil)
	})
	return secured && w.Step("JMAP at "+u.Host, func(ctx context.Context) (probe.Found, error) {
		return probe.Found{Detail: "the session resource wants a login"}, probe.Said(s.Health(ctx))
	})
}

// examineLogin logs in.
func (s *Store) examineLogin(w *probe.Way, c backends.Credential) bool {
	if c.Kind == 0 {
		w.Skip("login", "nobody logs in: name a mailbox")
		return false
	}
	return w.Step("login", func(ctx context.Context) (probe.Found, error) {
		account, err := s.Login(ctx, c)
		return probe.Found{Detail: fmt.Sprintf("account %q, %d addresses to send as", account.ID, len(account.Addresses))}, probe.Said(err)
	})
}
