package signin

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net/http"
)

// exchange is a login of several steps that is bound to its connection.
type exchange interface {
	// begin returns the token that is sent first, without the request's body; nil: there is none.
	begin() ([]byte, error)
	// answer returns the token that goes with the request, for what the server has said to the first one.
	answer(ctx context.Context, said []byte, connection *tls.ConnectionState) ([]byte, error)
	// refused says why a server has refused the login.
	refused(l *lane, response *http.Response, w way) error
	// finish looks at what the server says when it has taken the login.
	finish(said []byte) error
}

// exchange begins a login.
func (l *lane) exchange(w way) exchange {
	if w.method == Kerberos {
		return &kerberosExchange{login: l.login}
	}
	return newNTLM(l.login.server.config, l.login.credential)
}

// signIn sends a request on a connection that is signed in. errEnded: the connection has ended, and the request was not sent.
func (l *lane) signIn(r *http.Request, b *body, where string, w way) (*http.Response, error) {
	each := &l.login.proof.each
	if l.bound() && (w.method != Kerberos || !each.Load()) {
		response, err := l.send(r, b, attempt{whole: true, stay: true})
		if err != nil || response.StatusCode != http.StatusUnauthorized {
			return response, err
		}
		drain(response)                  // the server has ended the login
		each.Store(w.method == Kerberos) // QUIRK: IIS can be set to forget it with each reply (authPersistNonNTLM)
	}
	l.signedIn = nil
	x := l.exchange(w)
	if state := l.connection(); state != nil && w.method == Kerberos { // which needs no challenge
		token, err := x.answer(r.Context(), nil, state)
		if err != nil {
			return nil, err
		}
		return l.authenticate(r, b, x, w, token)
	}
	return l.negotiate(r, b, where, w, x)
}

// negotiate begins a login with a request that has no body, and goes on with what the server says.
func (l *lane) negotiate(r *http.Request, b *body, where string, w way, x exchange) (*http.Response, error) {
	token, err := x.begin()
	if err != nil {
		return nil, err
	}
	response, err := l.send(r, b, attempt{authorization: authorization(w, token)})
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusUnauthorized {
		return l.open(r, b, response)
	}
	drain(response)
	offered := challenges(response.Header)
	said, ok := find(offered, w.scheme)
	switch {
	case !ok:
		return nil, l.other(where, w, offered)
	case response.Close:
		return nil, errEnded
	}
	if token, err = x.answer(r.Context(), said.octets(), response.TLS); err != nil {
		return nil, err
	}
	return l.authenticate(r, b, x, w, token)
}

func authorization(w way, token []byte) string {
	if token == nil {
		return ""
	}
	scheme := map[string]string{"ntlm": "NTLM", "negotiate": "Negotiate"}[w.scheme]
	return scheme + " " + base64.StdEncoding.EncodeToString(token)
}

// authenticate sends the last token along with the request.
func (l *lane) authenticate(r *http.Request, b *body, x exchange, w way, token []byte) (*http.Response, error) {
	link := l.newest.Load()
	response, err := l.send(r, b, attempt{authorization: authorization(w, token), whole: true, stay: true})
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusUnauthorized {
		return nil, x.refused(l, response, w)
	}
	said, _ := find(challenges(response.Header), w.scheme)
	if err := x.finish(said.octets()); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	l.signedIn = link
	l.taken(response)
	return response, nil
}
