package smtpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends/mail/bearer"
)

// Tokens is where a token comes from.
type Tokens struct {
	// Token is the token as it is now.
	Token func(context.Context) (string, error)
	// Refused is told of a token that the server has refused, before another one is asked for; nil: nobody is.
	Refused func(token string)
}

// Token is an Auth that logs in with a bearer token (OAUTHBEARER, RFC 7628, or XOAUTH2). The token is asked for at each
// login, and once more when the server refuses it: it may have been renewed meanwhile, and then the new one is tried at
// once.
func Token(user string, tokens Tokens) func(context.Context, []string) (sasl.Client, error) {
	return func(ctx context.Context, mechanisms []string) (sasl.Client, error) {
		text, err := tokens.Token(ctx)
		if err != nil {
			return nil, err
		}
		client, err := bearer.New(mechanisms, "", user, text)
		if err != nil {
			return nil, err
		}
		return &tokenClient{client, text, tokens}, nil
	}
}

// tokenClient knows what its token was, and where there may be another one.
type tokenClient struct {
	*bearer.Client
	used   string
	tokens Tokens
}

// renewed says whether there is another token by now.
func (c *tokenClient) renewed(ctx context.Context) bool {
	if c.tokens.Refused != nil {
		c.tokens.Refused(c.used)
	}
	text, err := c.tokens.Token(ctx)
	return err == nil && text != c.used
}

// tokenMost is longer than servers take (RFC 4954 §4: 12,288 octets in base64).
const tokenMost = 9 << 10

// errToken says what is wrong with a token, and not what it is.
var errToken = errors.New("it is empty, longer than 9 KiB, or has blanks or other characters that a token cannot have (RFC 6750 §2.1)")

// cleanToken is a token without the white space around it.
func cleanToken(text string) (string, error) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > tokenMost || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errToken
	}
	return text, nil
}

// TokenFile reads a token from a file. To open a pipe could take for ever.
func TokenFile(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		info, err := os.Stat(name)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is no regular file (for what a program prints there is token_command)", name)
		}
		if err != nil {
			return "", fmt.Errorf("the token: %w", err)
		}
		file, err := os.Open(name)
		if err != nil {
			return "", fmt.Errorf("the token: %w", err)
		}
		defer file.Close() //nolint:errcheck // it was read
		text, err := io.ReadAll(io.LimitReader(file, 2*tokenMost))
		if err == nil {
			var token string
			if token, err = cleanToken(string(text)); err == nil {
				return token, nil
			}
		}
		return "", fmt.Errorf("the token in %s: %w", name, err)
	}
}

// commandMost is how long a command has to print a token.
const commandMost = 30 * time.Second

// TokenCommand has a command print a token. What it says besides goes nowhere: it may have secrets in it.
func TokenCommand(command []string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, commandMost)
		defer cancel()
		program := exec.CommandContext(ctx, command[0], command[1:]...)
		program.WaitDelay = time.Second
		out := &limited{most: 2 * tokenMost}
		program.Stdout = out
		err := program.Run()
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			err = fmt.Errorf("it has printed none within %s", commandMost)
		case ctx.Err() != nil:
			err = ctx.Err()
		}
		if err == nil {
			var token string
			if token, err = cleanToken(out.text.String()); err == nil {
				return token, nil
			}
		}
		return "", fmt.Errorf("the token that %s prints: %w (run it by hand, as the gateway's user)", command[0], err)
	}
}

// limited keeps the beginning of what is written.
type limited struct {
	text strings.Builder
	most int
}

// Write implements [io.Writer].
func (l *limited) Write(p []byte) (int, error) {
	l.text.Write(p[:min(len(p), l.most-l.text.Len())])
	return len(p), nil
}
