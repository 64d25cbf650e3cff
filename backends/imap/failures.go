package imap

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/remote"
)

var errClosed = errors.New("the maildrop is closed")

// noTLS is the setting to look at where a server does not speak TLS.
const noTLS = `"tls" (implicit, starttls, none)`

// failures maps IMAP's response codes (RFC 9051 §7.1, RFC 5530) to kinds. The texts are for
// the client, who does not know that there is an IMAP server.
var failures = map[imap.ResponseCode]backends.Failure{
	imap.ResponseCodeAuthenticationFailed: {Kind: backends.BadCredentials},
	imap.ResponseCodeAuthorizationFailed: {
		Kind: backends.Permanent, Code: "5.7.1", Text: "this login may not use that mailbox",
	},
	imap.ResponseCodeExpired: {
		Kind: backends.PasswordExpired, Text: "the password or the account has expired",
	},
	imap.ResponseCodePrivacyRequired: {
		Kind: backends.Permanent, Code: "5.7.11", Text: "the mail store wants encryption, tell your administrator",
	},
	imap.ResponseCodeContactAdmin: {Kind: backends.Permanent, Text: "contact your administrator"},
	imap.ResponseCodeNoPerm:       {Kind: backends.Permanent, Code: "5.7.1", Text: "permission denied"},
	imap.ResponseCodeUnavailable:  {Kind: backends.Temporary},
	imap.ResponseCodeServerBug:    {Kind: backends.Temporary},
	imap.ResponseCodeInUse:        {Kind: backends.InUse},
	imap.ResponseCodeLimit:        {Kind: backends.Throttled},
	"THROTTLED":                   {Kind: backends.Throttled},
	imap.ResponseCodeOverQuota:    {Kind: backends.OverQuota},
	imap.ResponseCodeTooBig:       {Kind: backends.TooLarge},
	imap.ResponseCodeNonExistent:  {Kind: backends.NotFound},
	imap.ResponseCodeTryCreate:    {Kind: backends.NotFound},
	imap.ResponseCodeCorruption:   {Kind: backends.Poison},
	imap.ResponseCodeUnknownCTE:   {Kind: backends.Poison},
	imap.ResponseCodeCannot:       {Kind: backends.Unsupported},
	"REFERRAL": { // RFC 2221: the home of this mailbox is another server
		Kind: backends.Permanent, Code: "5.7.1", Text: "this mailbox is on another server, tell your administrator",
	},
}

// failure makes a failure of what a command met. without is the kind of a refusal (NO) that
// says nothing of its reason.
func failure(operation string, err error, without backends.Kind) error {
	var known *backends.Failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	var status *imap.Error
	if !errors.As(err, &status) {
		return backends.Fail(backends.Temporary, "%s: %w", operation, err)
	}
	f, ok := failures[status.Code]
	says := meaningOf(status.Text)
	trouble, troubled := says.trouble()
	switch {
	case ok && f.Kind == backends.OverQuota && ofTraffic(status):
		f = backends.Failure{Kind: backends.Throttled}
	case ok:
	case status.Code == "" && strings.EqualFold(status.Text, "Over quota"):
		f = backends.Failure{Kind: backends.OverQuota} // QUIRK: Cyrus 3.6 says it in words alone
	case troubled:
		f = trouble
	case without == backends.NotFound && says&saysBlocked != 0: // not the mailbox is missing: its owner may not
		f = backends.Failure{Kind: backends.Permanent, Code: "5.7.1", Text: alert("the mail server does not open the mailbox", status.Text, nil)}
	case status.Type == imap.StatusResponseTypeNo:
		f = backends.Failure{Kind: without}
	default: // BAD, BYE: the two sides do not understand each other, or the server goes down
		f = backends.Failure{Kind: backends.Temporary}
	}
	return told(f, status, operation, err)
}

// told makes a failure of a row of the table.
func told(f backends.Failure, status *imap.Error, operation string, err error) *backends.Failure {
	made := backends.Fail(f.Kind, "%s: %w", operation, err)
	made.Code, made.Text, made.Guess = f.Code, f.Text, f.Guess
	if f.Kind == backends.Throttled || f.Kind == backends.Temporary {
		made.RetryAfter = retryAfter(status.Text)
	}
	return made
}

// ofTraffic says whether a quota is one of traffic and not of space: that of a server that ends
// the connection by it, or speaks of bandwidth. The mailbox is not full then.
func ofTraffic(status *imap.Error) bool {
	return status.Type == imap.StatusResponseTypeBye || strings.Contains(strings.ToLower(status.Text), "bandwidth")
}

// connectFailure is what became of a connection before its login: a server that answers and
// does not want us says why.
func (s *Store) connectFailure(err error) error {
	address := s.settings.Address
	var (
		known  *backends.Failure
		status *imap.Error
	)
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &status):
		return s.advise(failure("connect to "+address, err, backends.Temporary))
	case errors.Is(err, errPlain):
		return remote.Unsafe(backends.Fail(backends.Temporary, "connect to %s: %w; is %s right?", address, err, noTLS))
	}
	failed := remote.ConnectFailure(address, noTLS, err)
	if failed == nil || errors.Is(err, context.Canceled) {
		return failed
	}
	return backends.AsFailure(failed).OfStore()
}
