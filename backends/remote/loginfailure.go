package remote

import (
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// LoginFailure makes a failure of a reply to AUTH (RFC 4954 §6). A login that the server does not
// allow is no wrong password and nothing that passes: the client is told for good, and why.
func LoginFailure(r smtpclient.Reply) *backends.Failure {
	code, text := r.Enhanced()
	text = strings.ToLower(text)
	fail := func(kind backends.Kind) *backends.Failure {
		return backends.Fail(kind, "log in: %w", &smtpclient.ReplyError{Reply: r, Command: "AUTH"})
	}
	if r.Code/100 != 5 {
		if r.Throttles() {
			return fail(backends.Throttled).WithCode(code)
		}
		return fail(backends.Temporary).WithCode(code)
	}
	for _, refusal := range loginRefusals {
		if refusal.fits(r.Code, code, text) {
			f := fail(refusal.kind).Say(refusal.say)
			f.Code = refusal.code
			if f.Code == "" {
				f.Code = code
			}
			return f
		}
	}
	return fail(backends.BadCredentials)
}

// loginRefusal is a reply to AUTH that does not say that the password is wrong, known by its code,
// its enhanced status code or its words. What is empty does not count.
type loginRefusal struct {
	reply  int
	status string
	words  []string // one of them
	kind   backends.Kind
	code   string // empty: the server's
	say    string
}

func (l loginRefusal) fits(reply int, status, text string) bool {
	if l.reply != 0 && l.reply != reply || l.status != "" && l.status != status {
		return false
	}
	for _, w := range l.words {
		if strings.Contains(text, w) {
			return true
		}
	}
	return len(l.words) == 0
}

// What users are told.
const (
	saySwitchedOff = "the mail server ahead does not allow this mailbox to send with a password, tell your administrator"
	sayDisabled    = "the mail server ahead has disabled this account for sending, tell your administrator"
	sayOtherWay    = "the mail server ahead wants an application password, or a login in its web page first"
	sayEncryption  = "the mail server ahead wants encryption, tell your administrator"
)

// loginRefusals are tried in their order. The codes are those of RFC 5248's registry, RFC 4954 §6,
// Exchange Online (5.7.30, 5.7.139: sending with passwords is off; also a wrong password, in words)
// and Google (5.7.9, 5.7.14).
var loginRefusals = []loginRefusal{
	{status: "5.7.139", words: []string{"incorrect", "invalid credential", "bad username or password"}, kind: backends.BadCredentials, code: "5.7.8"},
	{words: []string{"too many", "rate limit", "temporar", "try again later"}, kind: backends.Throttled, code: "4.7.0"},
	{status: "5.7.139", kind: backends.Permanent, say: saySwitchedOff},
	{status: "5.7.30", kind: backends.Permanent, say: saySwitchedOff},
	{words: []string{"clientauthentication is disabled", "smtp auth is disabled", "basic authentication", "basic auth"}, kind: backends.Permanent, code: "5.7.139", say: saySwitchedOff},
	{reply: 525, kind: backends.Permanent, code: "5.7.13", say: sayDisabled},
	{status: "5.7.13", kind: backends.Permanent, say: sayDisabled},
	{words: []string{"account is disabled", "account disabled", "account has been disabled", "account is locked", "account suspended", "account has been suspended", "account is suspended", "smtp access is disabled", "smtp is disabled", "not enabled for smtp", "not permitted to use smtp"}, kind: backends.Permanent, code: "5.7.13", say: sayDisabled},
	{status: "5.7.14", kind: backends.Permanent, say: sayOtherWay},
	{words: []string{"application-specific password", "application specific password", "app password", "web browser", "web login"}, kind: backends.Permanent, code: "5.7.9", say: sayOtherWay},
	{reply: 538, kind: backends.Permanent, code: "5.7.11", say: sayEncryption},
	{status: "5.7.11", kind: backends.Permanent, say: sayEncryption},
	{reply: 534, kind: backends.Permanent, code: "5.7.9", say: sayOtherWay},
	{reply: 500, kind: backends.Unsupported},
	{reply: 501, kind: backends.Unsupported},
	{reply: 502, kind: backends.Unsupported},
	{reply: 503, kind: backends.Unsupported},
	{reply: 504, kind: backends.Unsupported},
}
