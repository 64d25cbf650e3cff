package stores

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// redacted stands for a secret that was taken out.
const redacted = "[redacted]"

// shortestSecret is the octets from which on a secret is taken out: a shorter one stands in many a word
// by chance.
const shortestSecret = 6

// Redacted takes the call's secret out of what its failure says: a server that quotes what it was sent, or
// a plugin that does, would have passwords and tokens stand in the log. It is a [Middleware], and
// belongs behind those that write anything.
func Redacted(ctx context.Context, call Call, next func(context.Context) error) error {
	err := next(ctx)
	if err == nil || len(call.secrets) == 0 {
		return err
	}
	clean := strings.NewReplacer(call.secrets...)
	failure := backends.AsFailure(err)
	if said := err.Error(); clean.Replace(said) == said && clean.Replace(failure.Text) == failure.Text {
		return err
	}
	result := failure.Say(clean.Replace(failure.Text))
	if err == error(failure) { //nolint:errorlint // or else something is said around it
		result.Detail = clean.Replace(failure.Detail)
	} else {
		result.Detail = clean.Replace(err.Error())
	}
	return result
}

// secretsOf are the forms in which a secret may be quoted, each with what stands for it: as it is, as a
// string of Go's or JSON's, and in Base64, as SASL's LOGIN and PLAIN (RFC 4616 §2) send it.
func secretsOf(user, actAs string, secret []byte) (forms []string) {
	if len(secret) < shortestSecret {
		return nil
	}
	text := string(secret)
	quoted := strconv.Quote(text)
	for _, form := range []string{
		base64.StdEncoding.EncodeToString([]byte(actAs + "\x00" + user + "\x00" + text)),
		base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + text)),
		base64.StdEncoding.EncodeToString(secret), text, quoted[1 : len(quoted)-1],
	} {
		forms = append(forms, form, redacted)
	}
	return forms
}

func secretsIn(c backends.Credential) []string { return secretsOf(c.User, c.ActAs, c.Secret) }
