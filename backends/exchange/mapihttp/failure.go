package mapihttp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/remote"
)

// ErrAbsent says that there is no MAPI over HTTP, or that who asks may not use it: they may do so by EWS.
var ErrAbsent = errors.New("there is no MAPI over HTTP here")

// ErrSilent says that the server has sent nothing for too long.
var ErrSilent = errors.New("the server has sent nothing for too long")

var errSlow = errors.New("the server has not finished for too long")

// TimedOut says of an error that nobody waited any longer: the server may still be at what it was asked.
func TimedOut(err error) bool { return errors.Is(err, ErrSilent) || errors.Is(err, errSlow) }

// noAnswer is the failure of a request whose reply did not come to its end.
func (c *caller) noAnswer(ctx context.Context, r call, err error) error {
	c.close()
	if f := (&backends.Failure{}); errors.As(err, &f) {
		return f
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which may name a mailbox
	}
	var refused *ResponseError
	if errors.As(err, &refused) && !refused.late {
		return backends.Fail(backends.Temporary, "%w: %w", rop.ErrLost, refused)
	}
	var dial *net.OpError
	failed := remote.ConnectFailure(c.target.Host, `"url"`, err)
	if errors.As(err, &dial) && dial.Op == "dial" || backends.AsFailure(failed).Code == "4.7.5" {
		return failed // it was not sent
	}
	return backends.Fail(r.unknown(), "%s: %w: %w", r.kind, rop.ErrLost, err).WithCode("4.4.2")
}

// unknown is the kind of a failure after which it is not known whether the server has done what was asked.
func (r call) unknown() backends.Kind {
	if r.once {
		return backends.Uncertain
	}
	return backends.Temporary
}

// refused is the failure of a reply that is no success to HTTP.
func (c *caller) refused(r call, response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, responseMost))
	said := strings.Join(strings.Fields(string(text)), " ")
	fail := func(kind backends.Kind, advice string) *backends.Failure {
		return backends.Fail(kind, "%s at %s: %s %s %.300q", r.kind, c.target.Host, response.Status, advice, said).
			After(remote.RetryAfter(response.Header.Get("Retry-After")))
	}
	switch response.StatusCode / 100 {
	case 3:
		return fail(backends.Temporary, `(is "url" right? The server leads elsewhere, where nobody follows with a password)`)
	case 5:
		if response.StatusCode == http.StatusServiceUnavailable {
			return fail(backends.Throttled, "")
		}
		return backends.Fail(r.unknown(), "%w: %w", rop.ErrLost, fail(backends.Temporary, ""))
	}
	switch response.StatusCode {
	case http.StatusForbidden:
		return withoutMAPI(fail(backends.Permanent, "(may the account use MAPI over HTTP?)"))
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return withoutMAPI(fail(backends.Unsupported, `(is MAPI over HTTP switched on, and "url" right?)`))
	case http.StatusTooManyRequests:
		return fail(backends.Throttled, "")
	case http.StatusRequestTimeout:
		return backends.Fail(backends.Temporary, "%w: %w", rop.ErrLost, fail(backends.Temporary, ""))
	}
	return fail(backends.Temporary, "")
}

func withoutMAPI(f *backends.Failure) error { return backends.Fail(f.Kind, "%w: %w", ErrAbsent, f) }

// codeKinds are the kinds of what requests and operations may fail with. What is not here is temporary.
var codeKinds = map[rop.Code]backends.Kind{
	rop.UnknownUser: backends.NotFound, rop.NotFound: backends.NotFound, rop.AccessDenied: backends.Permanent,
	rop.ServerBusy: backends.Throttled, rop.TooBusy: backends.Throttled, rop.NotSupported: backends.Unsupported,
	rop.WrongServer: backends.MailboxMoved, rop.QuotaExceeded: backends.OverQuota, rop.ShutoffQuotaExceeded: backends.OverQuota,
	rop.MaxSubmissionExceeded: backends.TooLarge, rop.SendAsDenied: backends.Permanent, rop.ObjectDeleted: backends.NotFound,
	rop.LogonFailed: backends.Permanent, rop.PasswordMustSet: backends.PasswordExpired, rop.PasswordExpired: backends.PasswordExpired,
	rop.LoginPerm: backends.Permanent, rop.ProfileNotConfigured: backends.Permanent, rop.MailboxDisabled: backends.AccountDisabled,
	rop.AccountDisabled: backends.AccountDisabled, rop.ServerPaused: backends.Throttled,
}

// KindOf returns the kind of failure that a code stands for.
func KindOf(code rop.Code) backends.Kind {
	if kind, ok := codeKinds[code]; ok {
		return kind
	}
	return backends.Temporary
}

// codeFailure is the failure of a request that was answered with codes: the StatusCode, or the ErrorCode (MS-OXCMAPIHTTP §2.2.4).
func codeFailure(kind string, status, code uint32) error {
	if status != 0 {
		code = status
	}
	if code == 0 {
		return nil
	}
	return backends.Fail(KindOf(rop.Code(code)), "%s: %w", kind, rop.Code(code))
}
