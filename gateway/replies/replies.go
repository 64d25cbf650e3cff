// Package replies turns a store's failure into what an engine tells its client. It is the one
// place where package backends' table of kinds meets the two protocols:
//
//	return replies.POP3(err)      // *pop3.Error: -ERR [SYS/TEMP] …
//	return replies.SMTP(err)      // *smtp.Error for MAIL, RCPT and DATA
//	return replies.SMTPLogin(err) // *smtp.Error for AUTH
//
// Every reply carries the error as its cause, for the log; its text is fit for a stranger.
package replies

import (
	"errors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// POP3 makes a negative response of an error; nil stays nil. A *pop3.Error passes as it is.
func POP3(err error) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*pop3.Error](err); ok {
		return reply
	}
	r := reply(backends.AsFailure(err))
	return &pop3.Error{Code: r.POP3, Text: r.Text, Err: err}
}

// SMTP makes a reply to MAIL, RCPT or DATA of an error; nil stays nil. A *smtp.Error passes
// as it is.
func SMTP(err error) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*smtp.Error](err); ok {
		return reply
	}
	failure := backends.AsFailure(err)
	r := reply(failure)
	switch failure.Kind {
	case backends.BadCredentials:
		// It is the gateway that the store has turned away. 535 belongs to AUTH, and the
		// client did nothing wrong: X.3.5, system incorrectly configured.
		r.SMTP, r.Code, r.Text = 451, "4.3.5", backends.Replies[backends.Temporary].Text
	case backends.Unsupported:
		// 504 speaks of a command's parameter; X.3.3, system not capable of selected features.
		r.SMTP, r.Code = 554, "5.3.3"
	}
	return &smtp.Error{Code: r.SMTP, Enhanced: r.Code, Text: r.Text, Err: err}
}

// SMTPLogin makes a reply to AUTH of an error (RFC 4954 §6); nil stays nil. A *smtp.Error
// passes as it is. An outage is 454, never 535: a client that is told 535 asks its user for
// another password.
func SMTPLogin(err error) error {
	if err == nil {
		return nil
	}
	if reply, ok := errors.AsType[*smtp.Error](err); ok {
		return reply
	}
	failure := backends.AsFailure(err)
	r := reply(failure)
	switch {
	case failure.Kind == backends.BadCredentials, failure.Kind == backends.Unsupported, failure.Kind == backends.AccountDisabled:
	case failure.Temporary():
		r.SMTP, r.Code = 454, "4.7.0"
	default:
		// The account is known and may not log in.
		r.SMTP, r.Code = 535, "5.7.8"
	}
	return &smtp.Error{Code: r.SMTP, Enhanced: r.Code, Text: r.Text, Err: err}
}

// reply is the failure's row. A refused login is told in the table's own words only: a store
// that says "no such user" to one and "wrong password" to the next tells a guesser who exists.
func reply(failure *backends.Failure) backends.Reply {
	if failure.Kind == backends.BadCredentials {
		return backends.Replies[backends.BadCredentials]
	}
	return failure.Reply()
}
