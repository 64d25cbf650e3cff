package signin

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// challengesMost bounds what is read of the challenges of a reply, in octets.
const challengesMost = 64 << 10

// challengesMany is how many challenges are remembered.
const challengesMany = 20

// challenge is one of a WWW-Authenticate, RFC 9110 §11.6.1.
type challenge struct {
	scheme string // in lower case
	token  string // token68; empty: none, or parameters in its place
}

// challenges are those of a reply. Servers of this kind send a field for each; parameters behind a comma, which may
// look like a scheme of their own, are left out.
func challenges(h http.Header) []challenge {
	var all []challenge
	read := 0
	for _, field := range h.Values("WWW-Authenticate") {
		if read += len(field); read > challengesMost {
			break
		}
		for one := range strings.SplitSeq(field, ",") {
			scheme, rest, _ := strings.Cut(strings.TrimSpace(one), " ")
			if rest = strings.TrimSpace(rest); scheme == "" || strings.ContainsAny(scheme, `="`) {
				continue
			}
			c := challenge{scheme: strings.ToLower(scheme)}
			if _, err := base64.StdEncoding.DecodeString(rest); err == nil {
				c.token = rest
			}
			all = append(all, c)
		}
	}
	return all
}

// find returns the challenge of a scheme.
func find(all []challenge, scheme string) (challenge, bool) {
	for _, one := range all {
		if one.scheme == scheme {
			return one, true
		}
	}
	return challenge{}, false
}

// octets are those of the token; nil: there is none.
func (c challenge) octets() []byte {
	octets, err := base64.StdEncoding.DecodeString(c.token)
	if err != nil || len(octets) == 0 {
		return nil
	}
	return octets
}

// schemes are the names of what is offered, for people.
func schemes(all []challenge) []string {
	var names []string
	for _, one := range all {
		names = append(names, one.scheme)
	}
	return names
}

// notOffered is the failure of a method that a server does not have.
func (l *lane) notOffered(part string, m Method, offered []challenge) error {
	return backends.Fail(backends.Permanent, "%s offers %.200q for /%s, and not what %q needs: allow it there "+
		"(Set-MapiVirtualDirectory -IISAuthenticationMethods, Set-WebServicesVirtualDirectory and such), or set \"authentication\"",
		l.login.server.host, schemes(offered), part, m).
		WithCode("5.7.4").Say(sayMethod)
}
