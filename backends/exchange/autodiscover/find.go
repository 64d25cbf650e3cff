package autodiscover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Config says where is looked for servers, and where a credential may go.
type Config struct {
	// Hosts are servers that are asked first, in this order, as host or host:port. A credential may go to them, and to whatever is below
	// those that begin with "*.", which are not asked.
	Hosts []string
	// Domains are those whose subdomains a credential may go to, lower-case A-labels.
	Domains []string
	// SignIn gives what signs in to a server, whose URL is https://host: it sends the credential there and nowhere else. Each is
	// closed when it is not needed any more, if it has CloseIdleConnections.
	SignIn func(root string) (http.RoundTripper, error)
	// Plain sends requests without a credential.
	Plain http.RoundTripper
	// LookupSRV finds the SRV records of _autodiscover._tcp in a domain. [net.Resolver.LookupSRV]
	LookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	// Timeout is how long one request may take [30 s].
	Timeout time.Duration
}

// Found is what Autodiscover says of a mailbox. What it does not say is empty.
type Found struct {
	Address     string // of the mailbox, where it is another than the one that was asked for
	DisplayName string
	LegacyDN    string // the mailbox's distinguished name
	ServerDN    string // and its server's
	MailStore   string // URL of MAPI over HTTP, with the MailboxId
	AddressBook string
	EWS         string
	From        string // the URL that has told
}

// Root is the server's URL, https://host, by whatever was found of it: empty, if nothing was.
func (f *Found) Root() string {
	for _, text := range []string{f.MailStore, f.EWS} {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			return "https://" + u.Host
		}
	}
	return ""
}

// hopsMost is how many redirections are followed, as MS-OXDSCLI §3.1.5 has it.
const hopsMost = 10

// search is one search for a server.
type search struct {
	Config
	hops  int
	seen  map[string]bool // URL and address
	tried []error
}

// Find finds the server of a mailbox. Failures: [backends.BadCredentials] if a server has refused the credential, [backends.NotFound] if one
// says that there is no such mailbox, and else [backends.Temporary] with what came of each server.
func Find(ctx context.Context, c Config, address string) (*Found, error) {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.LookupSRV == nil {
		c.LookupSRV = net.DefaultResolver.LookupSRV
	}
	s := &search{Config: c, seen: make(map[string]bool)}
	found, err := s.byAddress(ctx, address)
	if err != nil || found != nil {
		return found, err
	}
	return nil, backends.Fail(backends.Temporary, "no server was found for %s by Autodiscover: %w", address, errors.Join(s.tried...))
}

// byAddress asks the servers that an address may have. nil: none of them knows.
func (s *search) byAddress(ctx context.Context, address string) (*Found, error) {
	_, domain, ok := strings.Cut(address, "@")
	if !ok || domain == "" {
		return nil, backends.Fail(backends.Permanent, "Autodiscover wants an address with a domain")
	}
	for _, root := range s.candidates(fold.Lower(domain)) {
		if found, err := s.at(ctx, root, address); err != nil || found != nil {
			return found, err
		}
	}
	for _, root := range s.bySRV(ctx, domain) {
		if found, err := s.at(ctx, root, address); err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil //nolint:nilnil // nobody knows
}

// candidates are the servers that are asked without a question to DNS.
func (s *search) candidates(domain string) (roots []string) {
	for _, host := range s.Hosts {
		if !strings.HasPrefix(host, "*.") {
			roots = append(roots, "https://"+host)
		}
	}
	return append(roots, "https://autodiscover."+domain)
}

// bySRV are the servers that a domain names in DNS, MS-OXDISCO §3.1.5.4.
func (s *search) bySRV(ctx context.Context, domain string) (roots []string) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	_, records, err := s.LookupSRV(ctx, "autodiscover", "tcp", domain)
	if err != nil {
		s.note(fmt.Errorf("SRV of %s: %w", domain, err))
	}
	for _, r := range records[:min(len(records), hopsMost)] {
		host := strings.TrimSuffix(fold.Lower(r.Target), ".")
		if host != "" {
			roots = append(roots, "https://"+net.JoinHostPort(host, strconv.Itoa(int(r.Port))))
		}
	}
	return roots
}

// note remembers why a server was of no use.
func (s *search) note(err error) {
	if len(s.tried) < 20 {
		s.tried = append(s.tried, err)
	}
}

// at asks a server in each of the three ways, until one knows. nil: none does, and the next server may.
func (s *search) at(ctx context.Context, root, address string) (*Found, error) {
	for _, ask := range []func(context.Context, string, string) (*Found, error){
		func(ctx context.Context, root, address string) (*Found, error) {
			return s.pox(ctx, root+"/autodiscover/autodiscover.xml", address)
		},
		func(ctx context.Context, root, address string) (*Found, error) {
			return s.soap(ctx, root+"/autodiscover/autodiscover.svc", address)
		},
		s.json,
	} {
		found, err := ask(ctx, root, address)
		if err == nil && found != nil {
			return found, nil
		}
		if err == nil {
			continue
		}
		switch kind := backends.KindOf(err); {
		case context.Cause(ctx) != nil:
			return nil, backends.AsFailure(context.Cause(ctx))
		case kind == backends.BadCredentials || kind == backends.NotFound || kind == backends.PasswordExpired || kind == backends.AccountDisabled:
			return nil, err // nobody else is shown the password, or knows better
		}
		s.note(err)
		if !errors.Is(err, errNotHere) {
			break // this server is away, or not to be trusted
		}
	}
	return nil, nil //nolint:nilnil // the next one may know
}

// errNotHere says that a server does not have one of the ways.
var errNotHere = errors.New("it is not there")

// enter looks at whether a URL may be asked, and notes that it is.
func (s *search) enter(text, address string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err == nil {
		err = s.allowed(u)
	}
	if err != nil {
		return nil, err
	}
	key := u.String() + " " + fold.Lower(address)
	if s.seen[key] {
		return nil, backends.Fail(backends.Temporary, "%s was asked already: redirections go round in a circle", u.Host)
	}
	s.seen[key] = true
	return u, nil
}

// allowed says whether a credential may go to a URL.
func (s *search) allowed(u *url.URL) error {
	if u.Scheme != "https" || u.Host == "" || u.User != nil {
		return backends.Fail(backends.Permanent, "%.300q is no https URL: a password does not go there", u.Redacted())
	}
	host := strings.TrimSuffix(fold.Lower(u.Hostname()), ".")
	for _, domain := range s.Domains {
		if strings.HasSuffix(host, "."+domain) {
			return nil
		}
	}
	for _, listed := range s.Hosts {
		listed = fold.Lower(listed)
		if below, is := strings.CutPrefix(listed, "*"); is && strings.HasSuffix(host, below) {
			return nil
		}
		if name, _, err := net.SplitHostPort(listed); err == nil {
			listed = name
		}
		if host == listed {
			return nil
		}
	}
	return backends.Fail(backends.Permanent, `Autodiscover leads to the host %.300q, which is neither below the store's domains nor listed under "autodiscover": no password goes there`, host)
}

// follow counts a redirection.
func (s *search) follow(from string) error {
	if s.hops++; s.hops > hopsMost {
		return backends.Fail(backends.Temporary, "%s: more than %d redirections", from, hopsMost)
	}
	return nil
}
