package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/probe"
	"github.com/dipylon/dipylon/backends/remote"
)

var _ backends.Examiner = (*Store)(nil)

// examination is one way from the server's name to the first message.
type examination struct {
	*probe.Way
	store *Store
	with  backends.Credential
	fresh bool // a token is asked for anew
}

// Examine implements [backends.Examiner]. A credential that was good is presented again to find out how many connections the server
// takes.
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	x := &examination{probe.New(ctx, tell), s, request.Credential, request.FreshToken}
	if x.server() && x.token() && x.login() {
		x.submission()
		x.recipient()
		x.Read(s, backends.OpenRequest{Credential: x.with, Folder: request.Folder})
	}
	return x.Err()
}

// server goes from the server's name to its greeting.
func (x *examination) server() bool {
	s := x.store
	if !x.Server(s.settings.Address) {
		return false
	}
	if s.settings.TLS != "none" && !x.Step("TLS with "+s.settings.Address, x.tls) {
		return false
	}
	return x.Step("IMAP at "+s.settings.Address, x.greeting)
}

func (x *examination) tls(ctx context.Context) (probe.Found, error) {
	s := x.store
	if s.settings.TLS == "implicit" {
		config := s.tls.Clone()
		config.NextProtos = []string{"imap"}
		return probe.TLS(ctx, s.settings.Address, config, nil)
	}
	return probe.TLS(ctx, s.settings.Address, s.tls, func(conn net.Conn) error {
		_, err := startTLS(conn, &tls.Config{MinVersion: tls.VersionTLS12}) // the handshake follows
		return err
	})
}

// greeting looks at what the server offers before a login.
func (x *examination) greeting(ctx context.Context) (found probe.Found, err error) {
	client, err := x.store.connect(ctx)
	if err != nil {
		return found, probe.Said(err)
	}
	defer client.Close() //nolint:errcheck // nothing was asked
	caps, err := call(ctx, client, func() (imap.CapSet, error) { return client.Capability().Wait() })
	if err != nil {
		return found, probe.Said(failure("ask for the capabilities", err, backends.Temporary))
	}
	mechanisms := caps.AuthMechanisms()
	slices.Sort(mechanisms)
	found.Detail = "it offers logins by " + strings.Join(mechanisms, ", ")
	byToken := slices.Contains(mechanisms, "XOAUTH2") || slices.Contains(mechanisms, "OAUTHBEARER")
	switch {
	case x.store.tokens != nil && !byToken:
		return found, probe.Because(probe.MethodNotOffered, backends.Fail(backends.Unsupported, "the server offers logins by %.200q, and none by a token (XOAUTH2, OAUTHBEARER)", mechanisms))
	case x.store.tokens == nil && caps.Has(imap.CapLoginDisabled) && len(mechanisms) == 0:
		return found, probe.Because(probe.MethodNotOffered, backends.Fail(backends.Unsupported, "the server takes no login on this connection"))
	}
	return found, nil
}

// token asks for a token, where the gateway has some of its own.
func (x *examination) token() bool {
	s := x.store
	switch {
	case s.tokens == nil:
		return true
	case x.with.Kind == 0 && s.tokens.ForEach():
		x.Skip("token", "each mailbox has a token of its own: name one")
		return true
	}
	return x.Step("token", func(ctx context.Context) (found probe.Found, err error) {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
		defer cancel()
		if x.fresh {
			s.tokens.Afresh(ctx, x.with.User)
		}
		if _, err := s.tokens.Token(ctx, x.with.User); err != nil {
			return found, probe.ByToken(err)
		}
		return x.ends("there is one: " + s.tokens.Origin(x.with.User).String()), nil
	})
}

// ends warns of what ends soon of that with which tokens are got.
func (x *examination) ends(detail string) probe.Found {
	found := probe.Found{Detail: detail}
	for _, m := range x.store.tokens.Matters() {
		if left := time.Until(m.Until); m.Until.IsZero() || left > 30*24*time.Hour {
			continue
		}
		found.Detail += fmt.Sprintf("; %s on %s", m.Text, m.Until.UTC().Format(time.DateOnly))
		name := map[oauth.Kind]string{oauth.SecretExpired: "secret-expires", oauth.CertificateExpired: "application-certificate-expires"}[m.Kind]
		found.Warning = probe.Cause{Name: name, Advice: strings.ToUpper(m.Advice[:1]) + m.Advice[1:] + "."}
	}
	return found
}

// login logs in and looks at what the server can do then, and whether it takes as many connections as are configured.
func (x *examination) login() bool {
	s := x.store
	if x.with.Kind == 0 {
		x.Skip("login", "nobody logs in: name a mailbox")
		return false
	}
	var one *client
	ok := x.Step("login", func(ctx context.Context) (found probe.Found, err error) {
		if err = s.accepts(x.with); err == nil {
			one, err = s.connectAs(ctx, x.with)
		}
		if err != nil {
			return found, x.refused(err)
		}
		found.Detail = s.loginName(x.with) + " is logged in"
		if !one.caps.Has(imap.CapUIDPlus) {
			found.Warning = probe.UIDPlusMissing
		}
		return found, nil
	})
	if !ok {
		return false
	}
	defer one.Close() //nolint:errcheck // it did nothing but log in
	if n := min(s.settings.Pool.PerAccount, s.settings.Pool.Total); n > 1 {
		x.Step("connections", func(ctx context.Context) (probe.Found, error) { return x.connections(ctx, n, one) })
	}
	return true
}

// connections opens as many as one account may have; the first one is there.
func (x *examination) connections(ctx context.Context, n int, first *client) (probe.Found, error) {
	opened := 0
	return probe.Many(ctx, n, func(ctx context.Context) (func(), error) {
		if opened++; opened == 1 {
			return func() {}, nil
		}
		c, err := x.store.connectAs(ctx, x.with)
		if err != nil {
			return nil, err
		}
		return func() { _ = c.Close() }, nil
	})
}

// refused gives a refused login its cause.
func (x *examination) refused(err error) error {
	text := err.Error()
	if cause, is := probe.ByText(withoutAdvice(text)); is {
		return probe.Because(cause, err)
	}
	f := backends.AsFailure(err)
	switch {
	case errors.As(err, new(*oauth.Error)):
		return probe.ByToken(err)
	case !x.store.byToken(x.with):
		return err
	case f.Kind == backends.BadCredentials:
		return probe.Because(probe.MailboxNotLetIn, err)
	case strings.Contains(text, letsNobodyIn):
		return probe.Because(probe.ServicePrincipal, err)
	}
	return err
}

// withoutAdvice is a failure's text without what this package says itself of what to do.
func withoutAdvice(text string) string {
	before, rest, is := strings.Cut(text, adviceBegins)
	if !is {
		return text
	}
	_, after, _ := strings.Cut(rest, adviceEnds)
	return before + after
}

// recipient asks whether mail for the mailbox would be taken. That it would not is a warning: it may be there to be read alone.
func (x *examination) recipient() {
	s := x.store
	if !strings.Contains(x.with.User, "@") || !s.settings.Delivery.Given() && !s.settings.Delivery.Append {
		x.Skip("recipient", "the store takes no mail in, or no address was named")
		return
	}
	x.Step("recipient", func(ctx context.Context) (probe.Found, error) {
		verdicts, err := s.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(x.with.User)})
		if err == nil && len(verdicts) == 1 && verdicts[0].Failure != nil {
			err = verdicts[0].Failure
		}
		if err != nil {
			return probe.Found{Detail: err.Error(), Warning: probe.CauseOf(probe.Said(err))}, nil
		}
		return probe.Found{Detail: "mail for " + x.with.User + " is taken"}, nil
	})
}

// submission goes the way of what is sent. That it fails is no reason not to read.
func (x *examination) submission() {
	s := x.store
	address := s.settings.Sending.Address
	if address == "" {
		return
	}
	config := s.tls.Clone()
	if s.settings.Name == "" {
		config.ServerName, _ = hostPort(address)
	}
	x.Submit(probe.Submission{
		Address: address, ByToken: s.byToken(x.with), User: s.submitter(x.with.User),
		Options: smtpclient.Options{
			Hello: s.hostname, TLS: remote.Secured(s.settings.Sending.TLS, config), Timeouts: smtpclient.Within(time.Duration(s.settings.Timeout)), Auth: s.submissionAuth(x.with), TempDir: s.stateDir,
		},
	})
}
