package login

import (
	"bytes"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// separator is kvsep of RFC 7628 §3.1, and what Google and Microsoft part XOAUTH2's fields with.
const separator = "\x01"

// What a client is told of a token that is not good, before it is told that the exchange has
// failed (RFC 7628 §3.2.2). It answers with a dummy.
var (
	oauthBearerRefusal = []byte(`{"status":"invalid_token"}`)
	xoauth2Refusal     = []byte(`{"status":"401","schemes":"bearer"}`)
)

// ParseXOAUTH2 reads the one message of XOAUTH2, which Google and Microsoft document and no
// RFC does:
//
//	"user=" name %x01 "auth=Bearer " token %x01 %x01
func ParseXOAUTH2(message []byte) (*Proof, error) {
	fields := strings.Split(string(message), separator)
	if len(fields) != 4 || fields[2] != "" || fields[3] != "" {
		return nil, ErrMalformed
	}
	user, ok := strings.CutPrefix(fields[0], "user=")
	auth, found := strings.CutPrefix(fields[1], "auth=")
	if !ok || !found {
		return nil, ErrMalformed
	}
	return bearer(user, auth)
}

// ParseOAuthBearer reads the one message of OAUTHBEARER (RFC 7628 §3.1):
//
//	gs2-header %x01 *(key "=" value %x01) %x01
//
// The name in the header is optional there and needed here: it says which store the token is
// for. Of the keys, auth is what counts; host and port tell nothing that the connection does not.
func ParseOAuthBearer(message []byte) (*Proof, error) {
	header, rest, found := strings.Cut(string(message), separator)
	pairs, ended := strings.CutSuffix(rest, separator+separator)
	user, ok := gs2Name(header)
	if !found || !ended || !ok {
		return nil, ErrMalformed
	}
	auth := ""
	for pair := range strings.SplitSeq(pairs, separator) {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok, key == "", strings.Trim(strings.ToLower(key), "abcdefghijklmnopqrstuvwxyz") != "":
			return nil, ErrMalformed
		case key == "auth" && auth != "":
			return nil, ErrMalformed
		case key == "auth":
			auth = value
		}
	}
	return bearer(user, auth)
}

// bearer reads the value of an Authorization header (RFC 6750 §2.1).
func bearer(user, auth string) (*Proof, error) {
	scheme, token, _ := strings.Cut(auth, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isToken(token) {
		return nil, ErrMalformed
	}
	proof := &Proof{Kind: backends.CredentialToken, User: user, Secret: []byte(token)}
	return proof, proof.check()
}

// isToken says whether a text is a b64token (RFC 6750 §2.1).
func isToken(text string) bool {
	text = strings.TrimRight(text, "=")
	return text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/") == ""
}

// gs2Name is the authorization identity in a GS2 header without channel binding (RFC 5801 §4),
// which is the user for OAUTHBEARER.
func gs2Name(header string) (string, bool) {
	fields := strings.Split(header, ",")
	if len(fields) != 3 || fields[2] != "" || fields[0] != "n" && fields[0] != "y" {
		return "", false
	}
	name, ok := strings.CutPrefix(fields[1], "a=")
	if !ok {
		return "", false
	}
	return saslName(name)
}

// saslName undoes the escapes of a saslname (RFC 5801 §4): "=2C" and "=3D".
func saslName(text string) (string, bool) {
	var b bytes.Buffer
	for {
		plain, rest, found := strings.Cut(text, "=")
		b.WriteString(plain)
		if !found {
			return b.String(), b.Len() > 0
		}
		switch {
		case strings.HasPrefix(rest, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(rest, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		text = rest[2:]
	}
}
