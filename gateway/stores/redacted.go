package stores

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// redacted stands for a secret that was taken out.
const redacted = "[redacted]"

const (
	// shortestSecret is the octets from which on a secret is taken out: a shorter one stands in many a word
	// by chance.
	shortestSecret = 6
	// shortestPart is the octets from which on a part of a secret is taken out: what a store says is cut
	// off at some length, and the cut may be in the middle of a token.
	shortestPart = 12
)

// hasSecrets says whether there is anything to hide.
func (c Call) hasSecrets() bool { return len(c.secret) >= shortestSecret || len(c.own) > 0 }

// hide takes the call's secret, and those of the store's settings, out of what the call has failed with: a
// server that quotes what it was sent, or a plugin that does, would have passwords and tokens stand in the
// log. It happens before any [Middleware] sees the error.
func (c Call) hide(err error) error {
	if err == nil || !c.hasSecrets() {
		return err
	}
	failure, said := backends.AsFailure(err), err.Error()
	hide := c.hiding()
	text, clean := hide(failure.Text), hide(said)
	if clean == said && text == failure.Text {
		return err
	}
	result := failure.Say(text)
	if err == error(failure) { //nolint:errorlint // or else something is said around it
		clean = hide(failure.Detail)
	}
	result.Detail = clean
	return result
}

// hideFailure does the same for the failure of one of the things that a call was about.
func (c Call) hideFailure(f *backends.Failure) *backends.Failure {
	if f == nil {
		return nil
	}
	return backends.AsFailure(c.hide(f))
}

func (c Call) hideVerdicts(verdicts []backends.Verdict) []backends.Verdict {
	if !c.hasSecrets() {
		return verdicts
	}
	for i, v := range verdicts {
		if v.Failure != nil {
			verdicts[i].Failure = c.hideFailure(v.Failure)
		}
		if v.Destination != "" || v.RemoteDiagnostic != "" {
			hide := c.hiding()
			verdicts[i].Destination, verdicts[i].RemoteDiagnostic = hide(v.Destination), hide(v.RemoteDiagnostic)
		}
	}
	return verdicts
}

// hidingContents are the messages of a flow, whose failures say no secret.
type hidingContents struct {
	backends.Contents
	call Call
}

// Next implements [backends.Contents].
func (h hidingContents) Next(ctx context.Context) (backends.Content, error) {
	content, err := h.Contents.Next(ctx)
	return h.call.content(content), h.call.hide(err)
}

// Close implements [backends.Contents].
func (h hidingContents) Close() error { return h.call.hide(h.Contents.Close()) }

// content has a message's failures say no secret; nil stays nil.
func (c Call) content(content backends.Content) backends.Content {
	if content == nil || !c.hasSecrets() {
		return content
	}
	return &hidingContent{content, c}
}

type hidingContent struct {
	backends.Content
	call Call
}

// Read implements [io.Reader].
func (h *hidingContent) Read(p []byte) (int, error) {
	n, err := h.Content.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped one is not the end
		err = h.call.hide(err)
	}
	return n, err
}

// WriteTo implements [io.WriterTo], without a copy where the content does.
func (h *hidingContent) WriteTo(w io.Writer) (n int64, err error) {
	if direct, ok := h.Content.(io.WriterTo); ok {
		n, err = direct.WriteTo(w)
	} else {
		n, err = io.Copy(w, struct{ io.Reader }{h.Content})
	}
	return n, h.call.hide(err)
}

// Close implements [io.Closer].
func (h *hidingContent) Close() error { return h.call.hide(h.Content.Close()) }

// hiding makes a function that takes the secrets out of texts, in all forms in which they may be quoted, and
// the parts of them that a cut leaves.
func (c Call) hiding() func(string) string {
	var hide []func(text string, found []bool)
	if len(c.secret) >= shortestSecret {
		hide = append(hide, finding(c.secret, c.whole))
	}
	for _, secret := range c.own {
		hide = append(hide, finding(secret, false))
	}
	return func(text string) string {
		found := make([]bool, len(text))
		for _, find := range hide {
			find(text, found)
		}
		return without(found, text)
	}
}

// Redactor makes a function that takes secrets out of what a store says: the one that was presented to it, and those of its settings
// (JSON), by the description of these.
func Redactor(presented, settings []byte, schema []backends.Setting) func(text string) string {
	return Call{secret: presented, own: secretsOf(settings, schema)}.hiding()
}

// finding makes a function that marks where a secret stands in a text. whole: parts of it are none.
func finding(secret []byte, whole bool) func(text string, found []bool) {
	forms, encoded := formsOf(secret)
	least := shortestPart
	if whole {
		least = math.MaxInt
	}
	return func(text string, found []bool) {
		inBase64 := make([]bool, len(text))
		mark(inBase64, text, encoded, least)
		spread(inBase64, text) // what stands in Base64 around a secret is of it, too
		for i, is := range inBase64 {
			found[i] = found[i] || is
		}
		mark(found, text, forms, least)
	}
}

// secretsOf are the values of a backend's settings that its description calls secrets, but for those that are
// too short to be looked for.
func secretsOf(settings []byte, schema []backends.Setting) (secrets [][]byte) {
	var all any
	if json.Unmarshal(settings, &all) != nil {
		return nil
	}
	for _, s := range schema {
		if !s.Secret {
			continue
		}
		for _, value := range valuesAt(all, strings.Split(strings.ReplaceAll(s.Path, "[]", ".[]"), ".")) {
			if len(value) >= shortestSecret {
				secrets = append(secrets, []byte(value))
			}
		}
	}
	return secrets
}

// valuesAt are the texts at a path of settings, see [backends.Setting].
func valuesAt(in any, path []string) (values []string) {
	if text, is := in.(string); is && len(path) == 0 {
		return []string{text}
	}
	if len(path) == 0 {
		return nil
	}
	switch in := in.(type) {
	case map[string]any:
		for key, inner := range in {
			if path[0] == key || path[0] == "*" {
				values = append(values, valuesAt(inner, path[1:])...)
			}
		}
	case []any:
		for _, inner := range in {
			if path[0] == "[]" {
				values = append(values, valuesAt(inner, path[1:])...)
			}
		}
	}
	return values
}

// formsOf are the forms in which a secret may be quoted: as it is, as a string of Go's, JSON's or a URL's,
// and, apart from those, in Base64, where other octets may stand before and behind it, as in PLAIN (RFC
// 4616 §2), OAUTHBEARER (RFC 7628 §3.1) and HTTP's Basic (RFC 7617 §2).
func formsOf(secret []byte) (forms, encoded []string) {
	text := string(secret)
	quoted := strconv.Quote(text)
	forms = []string{text, quoted[1 : len(quoted)-1], url.QueryEscape(text), url.PathEscape(text)}
	if inJSON, err := json.Marshal(text); err == nil {
		forms = append(forms, string(inJSON[1:len(inJSON)-1]))
	}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // octets in its first group that are not the secret's
			whole := encoding.EncodeToString(append(make([]byte, before), secret...))
			own := whole[(before*8+5)/6 : (before+len(secret))*8/6] // characters of which all bits are the secret's
			encoded = append(encoded, own)
		}
	}
	return slices.Compact(forms), slices.Compact(slices.Sorted(slices.Values(encoded)))
}

// mark marks where forms stand in a text, or parts of them of at least so many octets.
func mark(found []bool, text string, forms []string, least int) {
	at := func(i, n int) {
		for j := range n {
			found[i+j] = true
		}
	}
	parts := make(map[string][]int) // of the text, with where they stand
	for i := 0; i <= len(text)-least; i++ {
		parts[text[i:i+least]] = append(parts[text[i:i+least]], i)
	}
	for _, form := range forms {
		for i := 0; i <= len(form)-least; i++ {
			for _, where := range parts[form[i:i+least]] {
				at(where, least)
			}
			delete(parts, form[i:i+least])
		}
		for from := 0; len(form) < least; {
			i := strings.Index(text[from:], form)
			if i < 0 {
				break
			}
			at(from+i, len(form))
			from += i + len(form)
		}
	}
}

// spread marks the rest of what is written in Base64 where a part of it is marked.
func spread(found []bool, text string) {
	inBase64 := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("+/-_=", c) >= 0
	}
	for i := 1; i < len(text); i++ {
		found[i] = found[i] || found[i-1] && inBase64(text[i])
	}
	for i := len(text) - 2; i >= 0; i-- {
		found[i] = found[i] || found[i+1] && inBase64(text[i])
	}
}

// without is a text with one mark in place of each stretch that was found.
func without(found []bool, text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !found[i]:
			b.WriteByte(text[i])
		case i == 0 || !found[i-1]:
			b.WriteString(redacted)
		}
	}
	return b.String()
}
