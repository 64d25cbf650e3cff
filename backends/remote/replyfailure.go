package remote

import (
	"errors"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// Verdicts are what the outcomes of a transaction with a server are for the recipients: with its name and
// its last reply, where it was asked.
func Verdicts(server string, outcomes []smtpclient.Outcome) []backends.Verdict {
	verdicts := make([]backends.Verdict, len(outcomes))
	for i, o := range outcomes {
		verdicts[i] = backends.Verdict{Recipient: o.Recipient, Failure: outcomeFailure(o.Err)}
		if o.Asked() {
			verdicts[i].Destination = smtpclient.Line("dns; "+server, backends.DestinationMost)
		}
		if reply, said := o.Said(); said {
			verdicts[i].RemoteDiagnostic = reply.Diagnostic()
		}
	}
	return verdicts
}

func outcomeFailure(err error) *backends.Failure {
	var (
		uncertain *smtpclient.UncertainError
		unsent    *smtpclient.UnsentError
		address   *smtpclient.AddressError
		refused   *smtpclient.ReplyError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &uncertain):
		return backends.Fail(backends.Uncertain, "%w", err)
	case errors.As(err, &unsent):
		return backends.Fail(backends.Temporary, "%w", err).WithCode("4.4.2")
	case errors.As(err, &address):
		return addressFailure(address)
	case errors.As(err, &refused):
		return ReplyFailure(refused.Command, refused.Reply)
	}
	return backends.AsFailure(err)
}

// addressFailure is that of an address which the server cannot be told.
func addressFailure(e *smtpclient.AddressError) *backends.Failure {
	f := backends.Fail(backends.NotFound, "%w", e).WithCode(e.Status)
	if e.NeedsUTF8() {
		f.Kind, f.Text = backends.Permanent, "the mail server ahead takes no addresses with letters outside ASCII"
	} else if e.ReversePath {
		f.Kind, f.Code, f.Text = backends.Permanent, "5.1.7", "the sender is not a mail address"
	}
	return f
}

// SendFailure makes a failure of what [smtpclient.Client.Send] fails with as a whole. What the
// content failed with keeps its kind.
func SendFailure(what string, err error) error {
	var (
		known   *backends.Failure
		address *smtpclient.AddressError
	)
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.As(err, &address):
		return addressFailure(address)
	}
	return backends.Fail(backends.Temporary, "%s: %w", what, err)
}

// ReplyFailure makes a failure of a reply: its kind by the enhanced status code (RFC 3463) where
// there is one, else by the reply code and by what it answers.
func ReplyFailure(command string, r smtpclient.Reply) *backends.Failure {
	code, text := r.Enhanced()
	kind, ours := kindOf(command, r.Code, code, strings.ToLower(text))
	if kind == backends.Temporary && r.Throttles() {
		kind = backends.Throttled
	}
	f := backends.Fail(kind, "%s: %d %s", command, r.Code, strings.Join(r.Lines, " "))
	f.Code, f.Text = code, text
	if ours != "" {
		f.Code = ours
	}
	return f
}

// kindOf is the kind of a refusal, and the enhanced status code where the server's own would say
// something else.
func kindOf(command string, reply int, code, text string) (backends.Kind, string) {
	_, status, _ := strings.Cut(code, ".")
	permanent := reply/100 == 5
	switch {
	case code == "" && (reply == 552 || reply == 452):
		return storage(command, reply, text)
	case smtpclient.ForNumber(code, text):
		// RFC 5321 §4.5.3.1.10: whoever says 552 means 452.
		if !permanent || reply == 552 {
			return backends.Temporary, "4.5.3"
		}
		return backends.Permanent, "5.5.3"
	case status == "2.2":
		return backends.OverQuota, ""
	case permanent && (status == "3.4" || status == "2.3"):
		return backends.TooLarge, ""
	case permanent && (status == "1.1" || status == "1.2" || status == "1.10"):
		return backends.NotFound, ""
	case code == "" && reply == 550 && ofRecipient(command):
		return backends.NotFound, ""
	case permanent:
		return backends.Permanent, ""
	case status == "7.0":
		return backends.Throttled, ""
	}
	return backends.Temporary, ""
}

// storage is what 552 and 452 mean that say no more: the one table for them.
//
//	        552                                      452
//	MAIL    the message is too large (RFC 1870 §6.2)  the system has no space (RFC 5321 §4.2.3)
//	RCPT    too many recipients; see smtpclient. Said of the first one, of its mailbox:
//	        it is full
//	after   the mailbox is full, unless the words     with SMTP the system has no space, with
//	        are those of RFC 1870 §6.3                LMTP the mailbox is full (RFC 2033 §4.2)
func storage(command string, reply int, text string) (backends.Kind, string) {
	switch {
	case reply == 552 && (command == smtpclient.AtMail || ofSize(text)):
		return backends.TooLarge, ""
	case smtpclient.ForNumber("", text):
		return backends.Temporary, "4.5.3"
	case reply == 452 && !ofRecipient(command):
		return backends.Temporary, "4.3.1"
	}
	return backends.OverQuota, ""
}

// ofRecipient says whether a reply is about one recipient. A transport that is not SMTP, whose
// replies are handed to ReplyFailure, speaks of one.
func ofRecipient(command string) bool {
	return command != smtpclient.AtMail && command != smtpclient.AtData && command != smtpclient.AtBdat && command != smtpclient.AtEnd
}

func ofSize(text string) bool {
	return strings.Contains(text, "message size") || strings.Contains(text, "too large") || strings.Contains(text, "too big") ||
		strings.Contains(text, "size limit")
}
