package smtpclient

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends/mail/ntlm"
)

// authenticate logs in. A mechanism that the server has offered and then does not understand is
// followed by another one, where Auth has one: QUIRK, as servers and the proxies in front of them
// offer what they do not have.
func (c *Client) authenticate(ctx context.Context) error {
	offered := strings.Fields(strings.ToUpper(c.extensions["AUTH"]))
	var refused *ReplyError
	renewed := false
	for {
		mechanism, err := c.options.Auth(ctx, offered)
		if err != nil {
			if refused != nil {
				return refused
			}
			return err
		}
		if bound, is := mechanism.(binder); is {
			if err := bound.Bind(c.state, "SMTPSVC/"+c.Server()); err != nil {
				return err
			}
		}
		name, err := c.exchangeWith(mechanism)
		if !renewed && c.mayRenew(ctx, mechanism, err) {
			renewed = true
			continue
		}
		if !errors.As(err, &refused) || !notUnderstood(refused.Reply) || c.broken != nil {
			return err
		}
		fewer := slices.DeleteFunc(slices.Clone(offered), func(m string) bool { return m == name })
		if len(fewer) == len(offered) {
			return err
		}
		offered = fewer
	}
}

// binder is a mechanism that is bound to the connection: to its TLS, nil where there is none, and the server's name.
type binder interface {
	Bind(state *tls.ConnectionState, server string) error
}

// prompter is a mechanism whose challenges may be texts for people, and not base64.
type prompter interface {
	Prompted() bool
}

// mayRenew says whether a server has refused a token of which there is another one by now.
func (c *Client) mayRenew(ctx context.Context, mechanism sasl.Client, err error) bool {
	refused, is := errors.AsType[*ReplyError](err)
	token, renews := mechanism.(*tokenClient)
	return is && renews && c.broken == nil && !notUnderstood(refused.Reply) && token.renewed(ctx)
}

// notUnderstood says that a reply to AUTH speaks of the command and not of the credential
// (RFC 5321 §4.2.2, RFC 4954 §4).
func notUnderstood(r Reply) bool { return r.Code >= 500 && r.Code <= 504 }

// exchangeWith conducts one SASL exchange (RFC 4954 §4).
func (c *Client) exchangeWith(mechanism sasl.Client) (name string, err error) {
	name, initial, err := mechanism.Start()
	if err != nil {
		return name, err
	}
	line, repeated := "AUTH "+name, &echo{}
	if initial != nil {
		repeated.sent(encode(initial))
		line += " " + encode(initial)
	}
	var gaveUp error
	for asked := range exchangeMost {
		r, err := c.command(0, "%s", line)
		switch {
		case err != nil:
			return name, repeated.hideError(err)
		case r.Code == 235 && gaveUp == nil:
			return name, nil
		case gaveUp != nil:
			return name, fmt.Errorf("AUTH %s: %w", name, gaveUp)
		case r.Code != 334:
			return name, &ReplyError{Reply: repeated.hide(r), Command: "AUTH"}
		case asked == 0 && len(initial) > 0 && r.Lines[0] == "":
			line = encode(initial) // QUIRK: the server has not looked at it
			continue
		}
		if line, gaveUp = respond(mechanism, r.Lines[0]); gaveUp != nil {
			line = "*" // RFC 4954 §4
		}
		repeated.sent(line)
	}
	return name, fmt.Errorf("AUTH %s has no end", name)
}

// exchangeMost is more challenges than any mechanism has.
const exchangeMost = 20

// respond answers a challenge. The prompts of LOGIN need not be base64, nor the first one of NTLM.
func respond(mechanism sasl.Client, text string) (line string, err error) {
	challenge, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if text, is := mechanism.(prompter); !is || !text.Prompted() {
			return "", fmt.Errorf("the challenge is not base64: %w", err)
		}
		challenge = []byte(text)
	}
	response, err := mechanism.Next(challenge)
	if err != nil || len(response) == 0 {
		return "", err // an empty response is an empty line but for the initial one
	}
	return encode(response), nil
}

func encode(response []byte) string {
	if len(response) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(response)
}

// Plain is an Auth that logs in with PLAIN, or with LOGIN where the server has only that.
func Plain(actAs, user, password string) func(context.Context, []string) (sasl.Client, error) {
	return func(_ context.Context, mechanisms []string) (sasl.Client, error) {
		switch {
		case slices.Contains(mechanisms, sasl.Plain):
			return sasl.NewPlainClient(actAs, user, password), nil
		case slices.Contains(mechanisms, sasl.Login) && (actAs == "" || actAs == user):
			return NewLogin(user, password), nil
		}
		return nil, fmt.Errorf("the server offers AUTH %v: neither PLAIN nor LOGIN fits", mechanisms)
	}
}

// External is an Auth that logs in by the certificate that TLS has shown (RFC 4422 appendix A), to act as actAs; empty:
// as whom the certificate names.
func External(actAs string) func(context.Context, []string) (sasl.Client, error) {
	return func(_ context.Context, mechanisms []string) (sasl.Client, error) {
		if !slices.Contains(mechanisms, sasl.External) {
			return nil, fmt.Errorf("the server offers AUTH %v: EXTERNAL is not there, has it taken the certificate?", mechanisms)
		}
		return sasl.NewExternalClient(actAs), nil
	}
}

// NTLM is an Auth that logs in with NTLM (MS-SMTPNTLM), bound to the connection's TLS. The user is DOMAIN\user, or
// user@domain.
func NTLM(user, password string) func(context.Context, []string) (sasl.Client, error) {
	return func(_ context.Context, mechanisms []string) (sasl.Client, error) {
		if !slices.Contains(mechanisms, ntlm.Name) {
			return nil, fmt.Errorf("the server offers AUTH %v: NTLM is not there", mechanisms)
		}
		return ntlm.New(user, password), nil
	}
}

// NewLogin is the client's side of LOGIN, which no RFC defines. What the prompts say is for
// people: servers write them in all languages, with and without a colon, empty, and not in
// base64. So their order counts, and the name is sent as an answer, not along with AUTH, since
// some servers ask for it all the same.
func NewLogin(user, password string) sasl.Client {
	return &loginClient{user: user, password: password}
}

type loginClient struct {
	user, password string
	names          int  // how often the name was given
	done           bool // the password was given
}

// Prompted says that the prompts need not be base64.
func (l *loginClient) Prompted() bool { return true }

func (l *loginClient) Start() (string, []byte, error) { return sasl.Login, nil, nil }

// Next gives the name, and then the password. The one prompt that is read is the second: some
// servers ask for the name twice.
func (l *loginClient) Next(prompt []byte) ([]byte, error) {
	again := l.names == 1 && strings.HasPrefix(strings.ToLower(strings.TrimSpace(string(prompt))), "user")
	switch {
	case l.done:
		return nil, sasl.ErrUnexpectedServerChallenge
	case l.names == 0, again:
		l.names++
		return []byte(l.user), nil
	}
	l.done = true
	return []byte(l.password), nil
}
