package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// token is the token endpoint.
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "bad form", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	hang, slow := p.hang, p.slow
	p.requests++
	p.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return
	}
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Secrets = append(p.Secrets, r.PostForm.Get("client_secret"), r.PostForm.Get("client_assertion"), r.PostForm.Get("refresh_token"), r.PostForm.Get("assertion"))
	if p.odd != "" {
		_, _ = io.WriteString(w, p.odd)
		return
	}
	if p.always != nil {
		p.fail(w, *p.always)
		return
	}
	if len(p.failures) > 0 {
		f := p.failures[0]
		p.failures = p.failures[1:]
		p.fail(w, f)
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "client_credentials":
		if client, ok := p.authenticated(w, r); ok {
			p.give(w, Token{Client: client}, "")
		}
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		p.forMailbox(w, r)
	case "refresh_token":
		p.refreshed(w, r)
	case "urn:ietf:params:oauth:grant-type:device_code":
		p.deviceToken(w, r)
	default:
		p.fail(w, Failure{400, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.", ""})
	}
}

// authenticated says which application asks, or answers why it may not.
func (p *Provider) authenticated(w http.ResponseWriter, r *http.Request) (client string, ok bool) {
	client = r.PostForm.Get("client_id")
	a := p.Applications[client]
	if a == nil {
		p.fail(w, ClientUnknown)
		return "", false
	}
	if f, wrong := p.proves(a, client, r); wrong {
		p.fail(w, f)
		return "", false
	}
	switch {
	case a.Disabled:
		p.fail(w, Failure{400, "unauthorized_client", "AADSTS7000112: Application '00000000-0000-0000-0000-000000000001' is disabled.", ""})
	case a.NoConsent:
		p.fail(w, ConsentMissing)
	default:
		return client, true
	}
	return "", false
}

// proves checks an application's secret or assertion.
func (p *Provider) proves(a *Application, client string, r *http.Request) (Failure, bool) {
	if r.PostForm.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return p.assertion(a, client, r.PostForm.Get("client_assertion"))
	}
	switch secret := r.PostForm.Get("client_secret"); {
	case a.Secret == "" && len(a.Certificates) == 0: // a public client
		return Failure{}, false
	case secret == "":
		return Failure{401, "invalid_client", "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", ""}, true
	case a.SecretExpired:
		return SecretExpired, true
	case secret != a.Secret:
		return SecretWrong, true
	}
	return Failure{}, false
}

// claims are those of an assertion that are looked at.
type claims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Scope    string `json:"scope"`
	ID       string `json:"jti"`
	From     int64  `json:"nbf"`
	Until    int64  `json:"exp"`
	Issued   int64  `json:"iat"`
}

// parsed takes a JWT apart.
func parsed(jwt string) (header map[string]string, c claims, signed, signature []byte, ok bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return nil, c, nil, nil, false
	}
	h, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	b, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	signature, err3 := base64.RawURLEncoding.DecodeString(parts[2])
	if err1 != nil || err2 != nil || err3 != nil || json.Unmarshal(h, &header) != nil || json.Unmarshal(b, &c) != nil {
		return nil, c, nil, nil, false
	}
	return header, c, []byte(parts[0] + "." + parts[1]), signature, true
}

// verified checks a signature by an algorithm's name.
func verified(algorithm string, key any, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	switch key := key.(type) {
	case *rsa.PublicKey:
		switch algorithm {
		case "PS256":
			return rsa.VerifyPSS(key, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		case "RS256":
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
		}
	case *ecdsa.PublicKey:
		return algorithm == "ES256" && len(signature) == 64 &&
			ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	return false
}

// assertion checks what an application proves itself with (RFC 7523 §3).
func (p *Provider) assertion(a *Application, client, jwt string) (Failure, bool) {
	header, c, signed, signature, ok := parsed(jwt)
	invalid := func(why string) (Failure, bool) {
		return Failure{401, "invalid_client", "AADSTS50027: JWT token is invalid or malformed: " + why, ""}, true
	}
	if !ok {
		return invalid("it cannot be read")
	}
	var certificate *x509.Certificate
	for _, known := range a.Certificates {
		if sum := sha256.Sum256(known.Raw); base64.RawURLEncoding.EncodeToString(sum[:]) == header["x5t#S256"] {
			certificate = known
		}
	}
	now := p.now().Unix()
	switch {
	case certificate == nil:
		return KeyUnknown, true
	case !verified(header["alg"], certificate.PublicKey, signed, signature):
		return Failure{401, "invalid_client", "AADSTS700027: Client assertion failed signature validation.", ""}, true
	case c.Audience != p.TokenURL:
		return invalid("audience")
	case c.Issuer != client || c.Subject != client:
		return invalid("issuer or subject")
	case c.From > now || c.Until <= now || c.Until-c.Issued > int64(10*time.Minute/time.Second):
		return AssertionTime, true
	case c.ID == "" || p.jtis[c.ID]:
		return invalid("its jti was there before")
	}
	p.jtis[c.ID] = true
	return Failure{}, false
}

// forMailbox gives a service account a token for a mailbox, as Google does.
func (p *Provider) forMailbox(w http.ResponseWriter, r *http.Request) {
	header, c, signed, signature, ok := parsed(r.PostForm.Get("assertion"))
	key := p.ServiceAccounts[c.Issuer]
	now := p.now().Unix()
	switch {
	case !ok || key == nil:
		p.fail(w, Failure{400, "invalid_grant", "Invalid grant: account not found", ""})
	case !verified(header["alg"], key, signed, signature):
		p.fail(w, Failure{400, "invalid_grant", "Invalid JWT Signature.", ""})
	case c.Audience != p.TokenURL || c.Scope == "":
		p.fail(w, Failure{400, "invalid_grant", "Invalid JWT: audience or scope", ""})
	case c.Issued > now+5 || c.Until <= now || c.Until-c.Issued > 3600:
		p.fail(w, Failure{400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.", ""})
	case p.Mailboxes != nil && !p.Mailboxes[c.Subject]:
		p.fail(w, GoogleUnknown)
	default:
		p.give(w, Token{Client: c.Issuer, Mailbox: c.Subject}, "")
	}
}

// refreshed gives a token for a refresh token. One that was used is void where Once is set, and takes all of that login
// with it (RFC 9700 §4.14.2).
func (p *Provider) refreshed(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticated(w, r)
	if !ok {
		return
	}
	old := r.PostForm.Get("refresh_token")
	mailbox, known := p.refresh[old]
	if !known {
		if p.Once {
			clear(p.refresh)
		}
		p.fail(w, LoginOver)
		return
	}
	next := old
	if p.Once {
		next = p.newRefresh(mailbox)
		delete(p.refresh, old)
	}
	p.give(w, Token{Client: client, Mailbox: mailbox}, next)
}

// NewRefresh makes a refresh token for a mailbox.
func (p *Provider) NewRefresh(mailbox string) (token string) {
	p.Do(func(*Provider) { token = p.newRefresh(mailbox) })
	return token
}

func (p *Provider) newRefresh(mailbox string) string {
	token := "0.A" + rand.Text() + rand.Text()
	p.refresh[token] = mailbox
	return token
}

// device is somebody who is asked to log in.
type device struct {
	code, mailbox string
	refused       bool
}

// device gives a device code (RFC 8628 §3.2).
func (p *Provider) device(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Applications[r.PostForm.Get("client_id")] == nil {
		p.fail(w, ClientUnknown)
		return
	}
	d := &device{code: rand.Text()[:9]}
	code := rand.Text()
	p.devices[code] = d
	p.answer(w, http.StatusOK, map[string]any{
		"device_code": code, "user_code": d.code, "verification_uri": p.server.URL + "/devicelogin", "expires_in": 900, "interval": 1,
		"message": "To sign in, use a web browser.",
	})
}

// Confirm logs somebody in by the code that was shown.
func (p *Provider) Confirm(code, mailbox string) {
	p.Do(func(*Provider) {
		for _, d := range p.devices {
			if d.code == code {
				d.mailbox = mailbox
			}
		}
	})
}

// Decline refuses the code that was shown.
func (p *Provider) Decline(code string) {
	p.Do(func(*Provider) {
		for _, d := range p.devices {
			d.refused = d.refused || d.code == code
		}
	})
}

// deviceToken answers who waits for somebody to log in (RFC 8628 §3.5).
func (p *Provider) deviceToken(w http.ResponseWriter, r *http.Request) {
	client, ok := p.authenticated(w, r)
	if !ok {
		return
	}
	switch d := p.devices[r.PostForm.Get("device_code")]; {
	case d == nil:
		p.fail(w, Failure{400, "expired_token", "AADSTS70020: The provided value for the input parameter 'device_code' is not valid.", ""})
	case d.refused:
		p.fail(w, Failure{400, "authorization_declined", "AADSTS70018: The end user denied the authorization request.", ""})
	case d.mailbox == "":
		p.fail(w, Failure{400, "authorization_pending", "AADSTS70016: OAuth 2.0 device flow error. Authorization is pending. Continue polling.", ""})
	default:
		p.give(w, Token{Client: client, Mailbox: d.mailbox}, p.newRefresh(d.mailbox))
	}
}
