package exchange

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/autodiscover"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/remote"
)

// hosts are the servers that the settings have Autodiscover ask, and what a password may go to.
type hosts []string

func (h hosts) check(wrong *backends.SettingsError) {
	for _, host := range h {
		name := strings.TrimPrefix(host, "*.")
		at, port, err := net.SplitHostPort(name)
		if _, wrongPort := strconv.ParseUint(port, 10, 16); err == nil && wrongPort == nil && name == host {
			name = at
		}
		if name == "" || strings.ContainsAny(name, "/@*:, ") || strings.Trim(name, ".") != name {
			wrong.Add("autodiscover", "expected hosts: mail.sakes.example, or mail.sakes.example:8443, or *.sakes.example for all below it")
			return
		}
	}
}

// errNotLocated says that nobody has logged in yet for whom Autodiscover could have been asked.
var errNotLocated = errors.New("the server is not found yet: Autodiscover is asked when somebody logs in")

// locate finds the server where the settings do not name it, with the credential of the first who logs in. What is found counts until the
// process ends.
func (s *Store) locate(ctx context.Context, c backends.Credential) error {
	err := s.ready()
	if !errors.Is(err, errNotLocated) {
		return err
	}
	who, err := s.form(c)
	if err != nil {
		return err
	}
	select {
	case <-s.locating:
		defer func() { s.locating <- struct{}{} }()
	case <-ctx.Done():
		return backends.AsFailure(context.Cause(ctx))
	}
	if err = s.ready(); !errors.Is(err, errNotLocated) {
		return err // somebody else was first
	}
	var found *autodiscover.Found
	err = s.guarded(ctx, who, func() (err error) {
		found, err = autodiscover.Find(ctx, s.searching(who), who.own)
		return err
	})
	if backends.KindOf(err) == backends.NotFound {
		return backends.Fail(backends.Permanent, "%w: %w", errUnknownMailbox, err)
	}
	if err != nil {
		return err
	}
	s.log.Info().Str("url", found.Root()).Str("from", found.From).Msg("Autodiscover has found the server")
	if err := s.use(found.Root()); err != nil {
		return err
	}
	s.look(ctx)
	return nil
}

// searching says where Autodiscover looks for the server of a login.
func (s *Store) searching(who login) autodiscover.Config {
	return autodiscover.Config{
		Hosts: s.settings.Autodiscover, Domains: s.domains, Plain: s.http.Transport, Timeout: s.signing.Timeout,
		SignIn: func(root string) (http.RoundTripper, error) {
			config := s.signing
			config.URL = root
			server, err := signin.New(config)
			if err != nil {
				return nil, err
			}
			return server.Login(who.credential), nil
		},
	}
}

// use settles which server it is.
func (s *Store) use(root string) error {
	config := s.signing
	config.URL = root
	server, err := signin.New(config)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settings.URL, s.server = root, server
	return nil
}

// discoverable asks whether a server is there that Autodiscover would ask: one that wants a login, or says anything else.
func (s *Store) discoverable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.settings.timeout())
	defer cancel()
	var last error
	var asked []string
	for _, host := range s.settings.Autodiscover {
		if !strings.HasPrefix(host, "*.") {
			asked = append(asked, host)
		}
	}
	for _, domain := range s.domains {
		asked = append(asked, "autodiscover."+domain)
	}
	for _, host := range asked {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/autodiscover/autodiscover.xml", nil)
		if err != nil {
			return backends.Fail(backends.Temporary, "health: %w", err)
		}
		response, err := s.http.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode/100 != 5 {
				return nil
			}
			err = backends.Fail(backends.Temporary, "%s says %s", host, response.Status)
		} else {
			err = remote.ConnectFailure(host, `"autodiscover"`, withoutURL(err))
		}
		last = err
	}
	return last // SRV may lead elsewhere: that is seen when somebody logs in
}
