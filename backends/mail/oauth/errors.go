package oauth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// Kind is why there is no token.
type Kind string

// The kinds.
const (
	SecretExpired       Kind = "secret expired"
	SecretWrong         Kind = "secret wrong"
	CertificateExpired  Kind = "certificate expired"
	CertificateUnusable Kind = "certificate unusable" // here: it or its key cannot be read
	CertificateWrong    Kind = "certificate wrong"    // the issuer does not know it
	ConsentMissing      Kind = "consent missing"
	ScopeWrong          Kind = "scope wrong"
	ClientUnknown       Kind = "application unknown"
	TenantUnknown       Kind = "tenant unknown"
	AccountDisabled     Kind = "account disabled"
	AccountUnknown      Kind = "account unknown"
	LoginNeeded         Kind = "login needed" // the refresh token is void, or there is none
	AccessBlocked       Kind = "access blocked"
	PublicClientOff     Kind = "public client flows off"
	LoginRefused        Kind = "login refused"
	ClockWrong          Kind = "clock wrong"
	Throttled           Kind = "throttled"
	Outage              Kind = "outage" // the issuer's, or the network's
	Untrusted           Kind = "untrusted"
	VaultUnusable       Kind = "vault unusable"
	StateUnusable       Kind = "state unusable" // the gateway's, which has what is shared
	LoginUnkept         Kind = "login unkept"   // there is a token, and the refresh token beside it cannot be put into the state
	Refused             Kind = "refused"        // without a reason that is known
	loginPending        Kind = "login pending"  // nobody has confirmed the code yet
)

// advice is what to do.
var advice = map[Kind]string{
	SecretExpired:       "make a new client secret for the application, put it in the place of the old one (one in the configuration itself takes a reload, one behind file: does not); a certificate in its place lasts longer",
	SecretWrong:         "check client_id and client_secret: the secret's value is wanted, not its id",
	CertificateExpired:  "make a new certificate, add it to the application, and put it in the place of the old one",
	CertificateUnusable: "check the files: PEM, the key of this certificate, readable by the gateway's user",
	CertificateWrong:    "add this certificate to the application (Certificates & secrets), or use the one that is there",
	ConsentMissing:      "have an administrator consent to the application's permissions (Microsoft: IMAP.AccessAsApp, SMTP.SendAsApp; Google: domain-wide delegation of the client id, with the scope)",
	ScopeWrong:          "check scopes: the issuer does not know them, or does not give them to this application",
	ClientUnknown:       "check client_id (the application's id, not an object id) and tenant",
	TenantUnknown:       "check tenant: its id, or a domain of it",
	AccountDisabled:     "enable the account or the application at the provider, or use another one",
	AccountUnknown:      "the provider has no such mailbox",
	LoginNeeded:         "run dipylon oauth login",
	AccessBlocked:       "a policy of the provider's (conditional access, a second factor) stands in the way: exempt the application, or log in again with dipylon oauth login",
	PublicClientOff:     "allow public client flows for the application, or set its client_secret or certificate",
	LoginRefused:        "begin again, and confirm the code as somebody who may consent",
	ClockWrong:          "set this machine's clock (NTP)",
	Throttled:           "the issuer asks for fewer requests; it is asked again later",
	Outage:              "check the network and the issuer's state; it is asked again later",
	Untrusted:           "check issuer, endpoint and ca: secrets are sent to nobody else",
	VaultUnusable:       "check seal_key, which is the same for all gateways; dipylon oauth login makes the login anew",
	StateUnusable:       "check the gateway's state database; it is asked again later",
	LoginUnkept:         "check the gateway's state database, before the gateway is stopped: the refresh token is kept as soon as it can be, and is lost with the process",
	Refused:             "look for the code in the provider's documentation",
}

// Error is why there is no token. It has no secret in it.
type Error struct {
	Kind   Kind
	Code   string // the issuer's: invalid_client, AADSTS7000222; may be empty
	Detail string // what the issuer says, or which file it is about; may be empty
	// RetryAfter is when the issuer wants to be asked again; 0: it does not say.
	RetryAfter time.Duration
	Err        error // may be nil
}

// Error implements error.
func (e *Error) Error() string {
	text := "OAuth: " + string(e.Kind)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text + "; " + e.Advice()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Headline is what an error that [Config.Notice] is told means, for a line of the log.
func Headline(err error) string {
	if wrong, is := errors.AsType[*Error](err); is && wrong.Kind == LoginUnkept {
		return "the provider has given another refresh token, which cannot be kept now"
	}
	return "the provider gives no token"
}

// Advice is what to do.
func (e *Error) Advice() string { return advice[e.Kind] }

// Passes says whether the cause may pass without anybody's doing.
func (e *Error) Passes() bool {
	return e.Kind == Throttled || e.Kind == Outage || e.Kind == StateUnusable
}

// OfMailbox says whether another mailbox may get a token all the same.
func (e *Error) OfMailbox() bool { return e.Kind == AccountUnknown || e.Kind == AccountDisabled }

// aadsts are Microsoft's codes. The source is its list of Entra authentication and authorization error codes.
var aadsts = map[string]Kind{
	"7000222": SecretExpired, "7000215": SecretWrong,
	"700027": CertificateWrong, "700024": ClockWrong, "50013": CertificateWrong,
	"700016": ClientUnknown, "90002": TenantUnknown, "900023": TenantUnknown, "900021": TenantUnknown,
	"65001": ConsentMissing, "650056": ConsentMissing, "650057": ConsentMissing, "500011": ConsentMissing, "650052": ConsentMissing, "90094": ConsentMissing,
	"70011": ScopeWrong, "1002012": ScopeWrong,
	"50057": AccountDisabled, "7000112": AccountDisabled, "500571": AccountDisabled, "50034": AccountUnknown, "50053": AccountDisabled,
	"700082": LoginNeeded, "70008": LoginNeeded, "70043": LoginNeeded, "50173": LoginNeeded, "700084": LoginNeeded, "700081": LoginNeeded, "50078": LoginNeeded,
	"50076": AccessBlocked, "50079": AccessBlocked, "50158": AccessBlocked, "53000": AccessBlocked, "53001": AccessBlocked, "53003": AccessBlocked, "50105": AccessBlocked,
	"7000218": PublicClientOff,
	"70016":   loginPending, "70018": LoginRefused, "70020": LoginRefused,
	"50196": Throttled, "90055": Throttled,
	"90033": Outage, "90006": Outage, "90012": Outage, "90001": Outage, "50000": Outage,
}

// descriptions are what Google says beside a code that has many causes.
var descriptions = []struct {
	pattern *lazyregexp.Regexp
	kind    Kind
}{
	{lazyregexp.New(`(?i)iat and exp|reasonable timeframe`), ClockWrong},
	{lazyregexp.New(`(?i)invalid jwt signature`), CertificateWrong},
	{lazyregexp.New(`(?i)invalid email or user id|account not found`), AccountUnknown},
	{lazyregexp.New(`(?i)(account|user).{0,20}(disabled|deleted|suspended)`), AccountDisabled},
	{lazyregexp.New(`(?i)not authorized for any of the scopes`), ConsentMissing},
}

// codes are those of RFC 6749 §5.2, RFC 8628 §3.5 and of OpenID Connect, where nothing says it better.
var codes = map[string]Kind{
	"invalid_client": SecretWrong, "unauthorized_client": ConsentMissing, "invalid_scope": ScopeWrong, "consent_required": ConsentMissing,
	"invalid_grant": LoginNeeded, "interaction_required": AccessBlocked, "login_required": LoginNeeded,
	"authorization_pending": loginPending, "access_denied": LoginRefused, "authorization_declined": LoginRefused, "expired_token": LoginRefused,
	"temporarily_unavailable": Outage, "server_error": Outage, "slow_down": Throttled,
	"deleted_client": ClientUnknown, "admin_policy_enforced": AccessBlocked, "org_internal": AccessBlocked,
}

var (
	aadstsCode = lazyregexp.New(`\bAADSTS(\d{4,10})\b`)
	plainCode  = lazyregexp.New(`^[A-Za-z0-9_.-]{1,64}$`)
	looksToken = lazyregexp.New(`[A-Za-z0-9_~+/=-]{40,}(\.[A-Za-z0-9_~+/=-]+)*`)
)

// failed makes an error of what came of a request. secrets are what it had in it.
func failed(err error, secrets ...string) *Error {
	known, is := errors.AsType[*Error](err)
	if is {
		return known
	}
	if answer, is := errors.AsType[*oauth2.RetrieveError](err); is {
		return refused(answer, secrets)
	}
	e := &Error{Kind: Outage, Err: hide(err, secrets)}
	certificate, header := (*tls.CertificateVerificationError)(nil), tls.RecordHeaderError{}
	if errors.As(err, &certificate) || errors.As(err, &header) {
		e.Kind = Untrusted
	}
	return e
}

// refused makes an error of an issuer's answer.
func refused(answer *oauth2.RetrieveError, secrets []string) *Error {
	e := &Error{Kind: Refused, Detail: clean(answer.ErrorDescription, secrets)}
	if plainCode.MatchString(answer.ErrorCode) {
		e.Code = answer.ErrorCode
	}
	status := 0
	if answer.Response != nil {
		status, e.RetryAfter = answer.Response.StatusCode, retryAfter(answer.Response.Header)
	}
	if found := aadstsCode.FindStringSubmatch(answer.ErrorDescription); found != nil {
		e.Code = strings.TrimSpace(e.Code + " " + found[0])
	}
	switch kind := kindOf(answer); {
	case status == http.StatusTooManyRequests:
		e.Kind = Throttled
	case kind != "":
		e.Kind = kind
	case status >= 500:
		e.Kind = Outage
	}
	if e.Code == "" && status != 0 {
		e.Code = "HTTP " + strconv.Itoa(status)
	}
	return e
}

// kindOf is what an issuer's answer means by what it says; empty: nobody knows.
func kindOf(answer *oauth2.RetrieveError) Kind {
	if found := aadstsCode.FindStringSubmatch(answer.ErrorDescription); found != nil && aadsts[found[1]] != "" {
		return aadsts[found[1]]
	}
	if numbers := aadstsNumbers(answer.Body); len(numbers) > 0 {
		for _, n := range numbers {
			if kind := aadsts[strconv.Itoa(n)]; kind != "" {
				return kind
			}
		}
	}
	for _, d := range descriptions {
		if d.pattern.MatchString(answer.ErrorDescription) {
			return d.kind
		}
	}
	return codes[answer.ErrorCode]
}

// aadstsNumbers are the codes that Microsoft gives beside the text.
func aadstsNumbers(body []byte) []int {
	var answer struct {
		Codes []int `json:"error_codes"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return answer.Codes
}

// detailMost bounds what of an issuer's words is told, in octets.
const detailMost = 400

// clean is what may be shown of an issuer's words: printable, not long, and without what the request had in it.
func clean(text string, secrets []string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\r' || r == '\n':
			return ' '
		case r < ' ' || r > '~':
			return -1
		}
		return r
	}, text)
	for _, s := range secrets {
		if len(s) > 3 {
			text = strings.ReplaceAll(text, s, "(hidden)")
		}
	}
	text = looksToken.ReplaceAllStringFunc(text, hideToken)
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), detailMost)]
}

// hideToken hides what looks like a token, and is not the path of an address (https://…).
func hideToken(found string) string {
	if strings.HasPrefix(found, "//") {
		return found
	}
	return "(hidden)"
}

// hide takes out of an error's text what the request had in it, and keeps what it is.
func hide(err error, secrets []string) error {
	if text := err.Error(); clean(text, secrets) == text {
		return err
	}
	for _, known := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New(clean(err.Error(), secrets))
}

// retryMost bounds what an issuer asks for.
const retryMost = time.Hour

// retryAfter is when an issuer wants to be asked again (RFC 9110 §10.2.3).
func retryAfter(h http.Header) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return min(time.Duration(min(n, 3600))*time.Second, retryMost)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), retryMost)
	}
	return 0
}
