package exchange

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// SignIn says how clients sign in, in the place of Basic alone.
type SignIn struct {
	// Methods are the schemes that are offered, in this order: Negotiate, NTLM, Basic, Bearer.
	Methods []string
	// Judge begins a login under Negotiate or NTLM. binding is what it must be bound to if it is bound: the application's data of
	// tls-server-end-point (RFC 5929 §4); nil: that is not looked at. Without a judge such logins are refused.
	Judge func(mechanism string, binding []byte) func(token []byte) (Verdict, error)
	// Each has every request need a login of its own under Negotiate, as where authPersistNonNTLM of IIS is off.
	Each bool
}

// Verdict is what a judge says of a step of a login.
type Verdict struct {
	Token    []byte // for the client
	Complete bool   // it is good
	Name     string // of who it is: DOMAIN\user or user@REALM
	Bound    bool   // to what it must be bound to
	Error    string // why it is not good
}

// protection is what a front end does about channel bindings.
type protection uint8

const (
	none    protection = iota // they are not looked at
	allow                     // one that is there must be right
	require                   // there must be one
)

// protectionOf is what Exchange has from 2019 CU14 on.
func protectionOf(path string) protection {
	switch {
	case strings.HasPrefix(path, "/mapi/"):
		return require
	case strings.HasPrefix(strings.ToLower(path), "/ews/"):
		return allow
	}
	return none
}

// caller is the client at the other end of a connection.
type caller struct {
	step func([]byte) (Verdict, error) // of the login under way
	user *Mailbox                      // who is signed in
	each bool                          // for one request
}

// SignInBy has clients sign in so from now on.
func (s *Server) SignInBy(how SignIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIn = how
}

// ForgetLogins has the server forget who is signed in on its connections.
func (s *Server) ForgetLogins() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.callers)
}

// HangUpAtLogin ends the connection of the next n logins after the challenge.
func (s *Server) HangUpAtLogin(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUps = n
}

// Judged returns how many logins were found good or bad, by whatever method.
func (s *Server) Judged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judged
}

// login is who sends a request; nil: nobody is signed in, and the response says how to.
func (s *Server) login(w http.ResponseWriter, r *http.Request) *Mailbox {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	c := s.callers[r.RemoteAddr]
	if scheme == "" && c != nil && c.user != nil {
		user := c.user
		if c.each {
			delete(s.callers, r.RemoteAddr)
		}
		return user
	}
	var user *Mailbox
	switch offered := s.offered(scheme); {
	case !offered:
	case scheme == "Basic":
		user = s.basic(r)
	case scheme == "Bearer":
		user = s.bearer(token)
	default:
		user = s.negotiate(w, r, scheme, token)
	}
	if user == nil && w.Header().Get("WWW-Authenticate") == "" {
		for _, method := range s.methods() {
			w.Header().Add("WWW-Authenticate", method)
		}
	}
	return user
}

func (s *Server) methods() []string {
	if len(s.signIn.Methods) == 0 {
		return []string{`Basic realm="double"`}
	}
	return s.signIn.Methods
}

func (s *Server) offered(scheme string) bool {
	for _, method := range s.methods() {
		if name, _, _ := strings.Cut(method, " "); scheme == name {
			return true
		}
	}
	return false
}

func (s *Server) basic(r *http.Request) *Mailbox {
	name, password, _ := r.BasicAuth()
	if password != "" {
		s.judged++
	}
	for _, m := range s.mailboxes {
		if strings.EqualFold(m.User, name) && m.Password == password {
			return m
		}
	}
	if password != "" {
		s.refusals[strings.ToLower(name)]++
	}
	return nil
}

// bearer is whose token it is, RFC 6750 §2.1.
func (s *Server) bearer(token string) *Mailbox {
	s.judged++
	for _, m := range s.mailboxes {
		if token != "" && m.Token == token {
			return m
		}
	}
	return nil
}

// negotiate is a step under Negotiate or NTLM: the login is the connection's (RFC 4559 §6, MS-NTHT).
func (s *Server) negotiate(w http.ResponseWriter, r *http.Request, scheme, token string) *Mailbox {
	octets, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(octets) == 0 {
		s.wrong("send %s with %.20q", scheme, token)
		return nil
	}
	if s.signIn.Judge == nil {
		return nil
	}
	c := s.callers[r.RemoteAddr]
	if c == nil || c.step == nil {
		c = &caller{each: s.signIn.Each && scheme == "Negotiate"}
		var binding []byte
		if protectionOf(r.URL.Path) != none {
			binding = s.binding
		}
		c.step = s.signIn.Judge(scheme, binding)
		s.callers[r.RemoteAddr] = c
	}
	v, err := c.step(octets)
	if err != nil {
		s.t.Errorf("the judge: %v", err)
		return nil
	}
	if len(v.Token) > 0 {
		w.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(v.Token))
	}
	if !v.Complete && v.Error == "" {
		if s.hangUps > 0 {
			s.hangUps--
			w.Header().Set("Connection", "close")
		}
		return nil
	}
	c.step = nil
	s.judged++
	if v.Error != "" || protectionOf(r.URL.Path) == require && !v.Bound {
		s.t.Logf("the double refuses a login by %s: %s", scheme, v.Error)
		return nil
	}
	if c.user = s.named(v.Name); c.each && c.user != nil {
		user := c.user
		delete(s.callers, r.RemoteAddr)
		return user
	}
	return c.user
}

// named is the mailbox of an account: DOMAIN\user or user@REALM.
func (s *Server) named(account string) *Mailbox {
	_, name, domain := strings.Cut(account, `\`)
	if !domain {
		name, _, _ = strings.Cut(account, "@")
	}
	for _, m := range s.mailboxes {
		if local, _, _ := strings.Cut(m.User, "@"); strings.EqualFold(local, name) {
			return m
		}
	}
	return nil
}

// bindingOf is the application's data of tls-server-end-point, RFC 5929 §4.
func bindingOf(certificate []byte) []byte {
	sum := sha256.Sum256(certificate)
	return append([]byte("tls-server-end-point:"), sum[:]...)
}
