package smtpclient

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// echo knows what was sent to log in, to find it where a server repeats it: a server's text goes into logs, into what is told of
// the queue, and into reports to senders.
type echo struct {
	encoded []string // the responses in base64
	secret  string   // what the last of them ends with, if that is text: a password or a token
}

const (
	// shortestSecret is the octets from which on a secret is looked for: a shorter one stands in many a word by chance.
	shortestSecret = 6
	// shortestPart is the octets from which on a part of one is, as servers cut off what they repeat.
	shortestPart = 12
)

// sent notes a response, as it was sent.
func (e *echo) sent(line string) {
	response, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		return // "*"
	}
	e.encoded = append(e.encoded, strings.TrimRight(line, "="))
	parts := bytes.FieldsFunc(response, func(c rune) bool { return c <= 1 }) // PLAIN (RFC 4616 §2), OAUTHBEARER (RFC 7628 §3.1)
	if len(parts) > 0 {
		e.secret = strings.TrimPrefix(string(parts[len(parts)-1]), "auth=Bearer ")
	}
}

// in says whether some of it stands in a text.
func (e *echo) in(text string) bool {
	known := map[string]bool{}
	for _, secret := range append(e.encoded[:len(e.encoded):len(e.encoded)], e.secret) {
		if len(secret) >= shortestSecret && strings.Contains(text, secret) {
			return true
		}
		for i := range max(0, len(secret)-shortestPart+1) {
			known[secret[i:i+shortestPart]] = true
		}
	}
	for i := range max(0, len(text)-shortestPart+1) {
		if known[text[i:i+shortestPart]] {
			return true
		}
	}
	return false
}

// errRepeated stands in the place of what a server has said.
var errRepeated = errors.New("(the server repeats what was sent to log in: its text is not shown)")

// hide takes the text out of a reply that repeats it, everywhere where that reply is kept. Its codes stay.
func (e *echo) hide(r Reply) Reply {
	if !e.in(strings.Join(r.Lines, " ")) {
		return r
	}
	code, _ := r.Enhanced()
	for i := range r.Lines {
		r.Lines[i] = strings.TrimSpace(code + " " + errRepeated.Error())
	}
	return r
}

// hideError does the same for the error of a reply that is none.
func (e *echo) hideError(err error) error {
	if e.in(err.Error()) {
		return errRepeated
	}
	return err
}
