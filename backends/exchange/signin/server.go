package signin

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/kerberos"
)

// Method is how a client signs in.
type Method string

// The methods.
const (
	Auto     Method = "auto"
	Basic    Method = "basic"
	NTLM     Method = "ntlm"
	Kerberos Method = "kerberos"
	Bearer   Method = "bearer"
)

// Config says which server it is, and how logins go there.
type Config struct {
	// URL is the server's, https://host. Its path does not count.
	URL string
	// TLS says whom to trust.
	TLS *tls.Config
	// Method is one of the methods [Auto].
	Method Method
	// Kerberos gets tickets; nil: there is no Kerberos.
	Kerberos *kerberos.Kerberos
	// Service is the service's name there [HTTP/ and the host].
	Service string
	// Timeout is how long a connection may take to be there [30 s].
	Timeout time.Duration
	// Connections is how many a login may have at once [8]. More requests wait.
	Connections int
	// Lockout bounds the wrong passwords that go to the servers that share it; nil: nothing does.
	Lockout *Lockout
	// Unbound leaves the channel binding out: for a diagnosis, of whether a server refuses the binding or the password.
	Unbound bool
}

// Credential is who signs in: a user with a password, or a token.
type Credential struct {
	// User is user@domain or DOMAIN\user.
	User string
	// Password is the user's.
	Password string
	// Token is a bearer token; empty: the password counts.
	Token string
	// Keytab stands in the place of the password, for Kerberos alone; nil: the password counts.
	Keytab *kerberos.Keytab
}

// String hides the secrets.
func (c Credential) String() string { return "credential of " + c.User }

// GoString hides the secrets from %#v.
func (c Credential) GoString() string { return c.String() }

// Server is a server that one can sign in to. Any number of goroutines may use it.
type Server struct {
	config Config
	host   string // with the port

	mu    sync.Mutex
	known map[string][]challenge // what is offered, by the first part of the path
}

// way is how a login goes to a part of a server: a method, and the scheme of HTTP that it goes under.
type way struct {
	method Method
	scheme string // in lower case
}

// New makes a server. Nothing is asked of it.
func New(c Config) (*Server, error) {
	target, err := url.Parse(c.URL)
	if err != nil || target.Scheme != "https" || target.Host == "" || target.User != nil {
		return nil, backends.Fail(backends.Permanent, "the URL of a server to sign in to must be https://host")
	}
	if c.Method == "" {
		c.Method = Auto
	}
	if c.Method == Kerberos && c.Kerberos == nil {
		return nil, backends.Fail(backends.Permanent, "Kerberos needs a realm")
	}
	if c.Service == "" {
		c.Service = "HTTP/" + target.Hostname()
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Connections == 0 {
		c.Connections = 8
	}
	if c.Lockout == nil {
		c.Lockout = NewLockout(0, 0)
	}
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return &Server{config: c, host: hostOf(target), known: make(map[string][]challenge)}, nil
}

// hostOf is a URL's host with the port.
func hostOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// partsMost bounds how many parts of a server are remembered.
const partsMost = 100

// part is what is configured alike on a server: a virtual directory.
func part(u *url.URL) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	return strings.ToLower(first)
}

// way is how a login goes to a part of the server, as far as that is known: with [Auto] the server has to be asked.
func (s *Server) way(part string, l *Login) way {
	s.mu.Lock()
	offered := s.known[part]
	s.mu.Unlock()
	if w, ok := s.best(offered, l); ok {
		return w
	}
	for _, w := range ways {
		if w.method == s.config.Method && l.may(w.method) {
			return w
		}
	}
	if l.credential.Token != "" {
		return way{Bearer, "bearer"}
	}
	return way{method: Auto}
}

// Learn remembers what a reply says that the server offers, which was asked for without a credential: with [Auto], the first login
// need not ask then.
func (s *Server) Learn(response *http.Response) {
	if response.StatusCode == http.StatusUnauthorized && response.Request != nil && hostOf(response.Request.URL) == s.host {
		s.learn(part(response.Request.URL), challenges(response.Header))
	}
}

// learn remembers what a part of the server offers.
func (s *Server) learn(part string, offered []challenge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= partsMost {
		clear(s.known)
	}
	s.known[part] = offered[:min(len(offered), challengesMany)]
}

// ways are all that there are, the strongest first.
var ways = []way{
	{Bearer, "bearer"},
	{Kerberos, "negotiate"},
	{NTLM, "ntlm"},
	{NTLM, "negotiate"}, // Windows takes NTLM's messages there, too (MS-N2HT §3.1.5)
	{Basic, "basic"},
}

// best is the strongest way that a server offers, the configuration allows, and a login can go.
func (s *Server) best(offered []challenge, l *Login) (way, bool) {
	for _, w := range ways {
		allowed := s.config.Method == Auto || s.config.Method == w.method
		if _, ok := find(offered, w.scheme); ok && allowed && l.may(w.method) {
			return w, true
		}
	}
	return way{}, false
}

// may says whether a login has what a method needs.
func (l *Login) may(m Method) bool {
	c := l.credential
	switch m {
	case Bearer:
		return c.Token != ""
	case Kerberos:
		return c.Token == "" && l.server.config.Kerberos != nil && !l.proof.noTicket.Load()
	}
	return c.Token == "" && c.Keytab == nil
}
