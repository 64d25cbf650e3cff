package signin

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// lane is one connection after another, with the login that is bound to it. One request uses it at a time.
type lane struct {
	login     *Login
	transport *http.Transport
	newest    atomic.Pointer[link]
	stay      atomic.Bool // no connection is made: the request belongs on the one that there is
	signedIn  *link       // that the login holds for
	seen      *link       // whose TLS state has
	state     *tls.ConnectionState
}

// link is a connection that knows whether it was closed.
type link struct {
	net.Conn
	closed atomic.Bool
}

func (c *link) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// errEnded says that the server has ended the connection that a request belonged on. It was not sent.
var errEnded = errors.New("the server has ended the connection")

func newLane(l *Login) *lane {
	config := l.server.config
	one := &lane{login: l}
	dialer := net.Dialer{Timeout: config.Timeout}
	one.transport = &http.Transport{
		MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1
		TLSClientConfig: config.TLS.Clone(), TLSHandshakeTimeout: config.Timeout,
		// Much shorter than servers keep a connection: one that ends as it is used leaves a request whose fate is not known. And a connection is
		// most of the memory of a session that waits for its client, who mostly goes on at once, or not at all.
		IdleConnTimeout: 15 * time.Second,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if one.stay.Load() {
				return nil, errEnded
			}
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			made := &link{Conn: conn}
			one.newest.Store(made)
			return made, nil
		},
		DisableCompression: true, Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10,
	}
	return one
}

// close ends the connection.
func (l *lane) close() {
	l.signedIn = nil
	l.transport.CloseIdleConnections()
}

// bound says whether the connection that there is was signed in.
func (l *lane) bound() bool {
	newest := l.newest.Load()
	return newest != nil && newest == l.signedIn && !newest.closed.Load()
}

// attempt is what is sent for a request.
type attempt struct {
	authorization string
	whole         bool // with the body
	stay          bool // on the connection that there is
}

// send makes an attempt.
func (l *lane) send(r *http.Request, b *body, a attempt) (*http.Response, error) {
	one := r.Clone(r.Context())
	if a.authorization != "" {
		one.Header.Set("Authorization", a.authorization)
	}
	if !a.whole {
		detach(one)
	} else if err := b.attach(one); err != nil {
		return nil, err
	}
	l.stay.Store(a.stay)
	response, err := l.transport.RoundTrip(one)
	if err != nil {
		return nil, err
	}
	l.seen, l.state = l.newest.Load(), response.TLS
	return response, nil
}

// connection is the TLS of the connection that there is; nil: there is none.
func (l *lane) connection() *tls.ConnectionState {
	newest := l.newest.Load()
	if newest == nil || newest != l.seen || newest.closed.Load() {
		return nil
	}
	return l.state
}

// drained is how much of a body is read so that its connection can be used for the next step.
const drained = 256 << 10

// drain reads a reply that is not the last one.
func drain(response *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, drained))
	_ = response.Body.Close()
}

// startsMost is how often a login is begun for one request, where its connection ends or what the server offers has changed.
const startsMost = 3

// do sends a request, and signs in first where there is need of it.
func (l *lane) do(r *http.Request, b *body) (*http.Response, error) {
	where := part(r.URL)
	for range startsMost {
		response, err := l.try(r, b, where)
		if !errors.Is(err, errEnded) && !errors.Is(err, errOther) {
			return response, err
		}
		l.close()
	}
	return nil, backends.Fail(backends.Temporary, "%s ends the connection between the steps of the login: "+
		"a proxy on the way may not keep connections, which NTLM and Negotiate need", l.login.server.host)
}

// errOther says that the server does not offer the method that it is remembered with.
var errOther = errors.New("the server offers other methods than before")

func (l *lane) try(r *http.Request, b *body, where string) (*http.Response, error) {
	switch w := l.login.server.way(where, l.login); w.method {
	case Auto:
		return l.choose(r, b, where)
	case Basic, Bearer:
		return l.plain(r, b, where, w)
	default:
		return l.signIn(r, b, where, w)
	}
}

// choose asks what the server offers, and signs in by the best of it.
func (l *lane) choose(r *http.Request, b *body, where string) (*http.Response, error) {
	response, err := l.send(r, b, attempt{})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusUnauthorized {
		return l.open(r, b, response)
	}
	drain(response)
	if err := l.other(where, way{method: Auto}, challenges(response.Header)); !errors.Is(err, errOther) {
		return nil, err
	}
	return l.try(r, b, where)
}

// other finds another way than the one that the server does not offer: errOther, where there is one.
func (l *lane) other(where string, not way, offered []challenge) error {
	s := l.login.server
	s.learn(where, offered)
	if w, ok := s.best(offered, l.login); ok && w != not {
		return errOther
	}
	return l.notOffered(where, not.method, offered)
}

// open goes on where the server has answered a request without a body and wanted no login: what is no success
// would be none with the body either.
func (l *lane) open(r *http.Request, b *body, response *http.Response) (*http.Response, error) {
	if response.StatusCode/100 != 2 {
		return response, nil
	}
	drain(response)
	return l.send(r, b, attempt{whole: true})
}

// plain sends the credential along with the request.
func (l *lane) plain(r *http.Request, b *body, where string, w way) (*http.Response, error) {
	c := l.login.credential
	authorization := "Bearer " + c.Token
	if w.method == Basic {
		if unverified(l.login.server.config.TLS) {
			return nil, backends.Fail(backends.Permanent, "a password is not sent by HTTP Basic where nobody verifies the certificate of %s", l.login.server.host)
		}
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password))
	}
	response, err := l.send(r, b, attempt{authorization: authorization, whole: true})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusUnauthorized {
		l.taken(response)
		return response, nil
	}
	offered := challenges(response.Header)
	if _, ok := find(offered, w.scheme); !ok {
		drain(response)
		return nil, l.other(where, w, offered)
	}
	return nil, l.refuse(response, w)
}

// taken notes that the server has taken the credential, if its answer says so. A failure may come from what has not looked at it: 503 from the
// kernel of Windows, 403 and 404 from a filter, a redirection from a proxy.
func (l *lane) taken(response *http.Response) {
	if response.StatusCode/100 == 2 {
		l.login.right()
	}
}

// unverified says of a configuration that any certificate is good.
func unverified(config *tls.Config) bool {
	return config.InsecureSkipVerify && config.VerifyConnection == nil && config.VerifyPeerCertificate == nil
}
