package imap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

var (
	errPin    = errors.New("the server's public key is not the pinned one")
	errClosed = errors.New("the maildrop is closed")
)

// failures maps IMAP's response codes (RFC 9051 §7.1, RFC 5530) to kinds. The texts are for
// the client, who does not know that there is an IMAP server.
var failures = map[imap.ResponseCode]backends.Failure{
	imap.ResponseCodeAuthenticationFailed: {Kind: backends.BadCredentials},
	imap.ResponseCodeAuthorizationFailed: {
		Kind: backends.Permanent, Code: "5.7.1", Text: "this login may not use that mailbox",
	},
	imap.ResponseCodeExpired: {
		Kind: backends.Permanent, Code: "5.7.8", Text: "the password or the account has expired",
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
	if errors.As(err, &status) {
		f, ok := failures[status.Code]
		switch {
		case ok:
		case status.Type == imap.StatusResponseTypeNo:
			f = backends.Failure{Kind: without}
		default: // BAD, BYE: the two sides do not understand each other, or the server goes down
			f = backends.Failure{Kind: backends.Temporary}
		}
		made := backends.Fail(f.Kind, "%s: %w", operation, err)
		made.Code, made.Text = f.Code, f.Text
		return made
	}
	return backends.Fail(backends.Temporary, "%s: %w", operation, err)
}

// connectFailure tells a TLS that cannot be trusted from a server that is away.
func connectFailure(address string, err error) error {
	var (
		certificate *tls.CertificateVerificationError
		header      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		name        x509.HostnameError
		alert       tls.AlertError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &header):
		return backends.Fail(backends.Temporary, "connect to %s: the server does not speak TLS here; is \"tls\" right (implicit, starttls, none)? %w", address, err).
			WithCode("4.7.5").Say("the mail store cannot be reached safely, tell your administrator")
	case errors.Is(err, errPin), errors.As(err, &certificate), errors.As(err, &authority), errors.As(err, &name), errors.As(err, &alert):
		return backends.Fail(backends.Temporary, "connect to %s: the server's certificate is not trusted; see \"ca\", \"pin\", \"tls_name\": %w", address, err).
			WithCode("4.7.5").Say("the mail store cannot be reached safely, tell your administrator")
	case errors.Is(err, context.DeadlineExceeded):
		return backends.Fail(backends.Temporary, "connect to %s: no answer in time: %w", address, err).WithCode("4.4.1")
	}
	return backends.Fail(backends.Temporary, "connect to %s: %w", address, err).WithCode("4.4.1")
}
