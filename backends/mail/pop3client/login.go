package pop3client

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends/mail/bearer"
)

// Login is who logs in.
type Login struct {
	User     string
	Password string
	// Token is a bearer token, in place of a password (RFC 7628, XOAUTH2).
	Token string
}

// Login logs in: with the token; or with PLAIN, where the server offers it and the password is not for USER (RFC 5034);
// or with USER and PASS. The error of a server that refuses is a [*ReplyError].
func (c *Client) Login(ctx context.Context, l Login) error {
	defer c.during(ctx)()
	capabilities, err := c.capabilities()
	if err != nil {
		return err
	}
	defer func() { c.asked = false }() // what it can do is another matter behind the login
	offered := capabilities["SASL"]
	if l.Token != "" {
		return c.bearer(offered, l)
	}
	_, user := capabilities["USER"]
	if slices.Contains(offered, "PLAIN") && (!user || !plain(l.User) || !plain(l.Password)) {
		return c.authenticate("PLAIN", []byte("\x00"+l.User+"\x00"+l.Password), nil)
	}
	if _, err := c.command("USER %s", l.User); err != nil {
		return err
	}
	_, err = c.secret("PASS", "PASS "+l.Password)
	return err
}

// plain says whether a text passes as USER's or PASS's parameter at any server.
func plain(text string) bool {
	return text != "" && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

func (c *Client) bearer(offered []string, l Login) error {
	client, err := bearer.New(offered, c.address, l.User, l.Token)
	if err != nil {
		return err
	}
	mechanism, initial, err := client.Start()
	if err != nil {
		return err
	}
	return c.authenticate(mechanism, initial, client.Next)
}

// challengesMost is how often a server may ask back.
const challengesMost = 4

// authenticate conducts a SASL exchange (RFC 5034 §4). The first response follows a challenge of its own: an initial one
// need not fit into a command (255 octets), and Microsoft takes none.
func (c *Client) authenticate(mechanism string, initial []byte, next func([]byte) ([]byte, error)) error {
	if c.broken != nil {
		return c.broken
	}
	send := "AUTH " + mechanism
	for n := 0; n < challengesMost; n++ {
		if err := c.meter.write([]byte(send + "\r\n")); err != nil {
			return c.breaks(err)
		}
		line, err := c.line(lineMost)
		if err != nil {
			return c.breaks(err)
		}
		challenge, more := strings.CutPrefix(line, "+ ")
		if line != "+" && !more {
			_, err := answer("AUTH "+mechanism, line)
			if wrong := (*ProtocolError)(nil); errors.As(err, &wrong) {
				return c.breaks(err)
			}
			return err
		}
		response, err := respond(n, challenge, initial, next)
		if err != nil {
			return c.breaks(err)
		}
		send = base64.StdEncoding.EncodeToString(response)
	}
	return c.breaks(&ProtocolError{"it asks on and on in AUTH"})
}

// respond is the response to the n-th challenge.
func respond(n int, challenge string, initial []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
	if n == 0 {
		return initial, nil
	}
	if next == nil {
		return nil, &ProtocolError{"it asks for more than the mechanism has"}
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(challenge))
	if err != nil {
		return nil, &ProtocolError{"a challenge that is no base64"}
	}
	return next(text)
}
