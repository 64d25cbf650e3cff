package jmap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/remote"
)

// submission is the failure that a refused submission is for its recipients: what the server's
// transport said where that is known, else what the type of the error means (RFC 8621 §7.5). The
// texts are for the account's own client.
func (e methodError) submission() *backends.Failure {
	if reply := replyOf(e.Description); reply.Code != 0 {
		return remote.ReplyFailure("submit", reply)
	}
	fail := func(kind backends.Kind, code, text string) *backends.Failure {
		return backends.Fail(kind, "submit: %w", e).WithCode(code).Say(text)
	}
	switch e.Type {
	case "forbiddenFrom":
		return fail(backends.Permanent, "5.7.1", "this login may not send with the address in From")
	case "forbiddenMailFrom":
		return fail(backends.Permanent, "5.7.1", "this login may not send with that sender's address (MAIL FROM)")
	case "forbiddenToSend", "forbidden", "accountReadOnly":
		return fail(backends.Permanent, "5.7.1", joined("this login may not send mail", e.forUser()))
	case "invalidEmail":
		return fail(backends.Permanent, "5.6.0", joined("the message is not valid", strings.Join(e.Properties, ", ")))
	case "tooLarge":
		if e.MaxSize > 0 {
			return fail(backends.TooLarge, "5.3.4", fmt.Sprintf("the message is too large: %d octets are the most", e.MaxSize))
		}
		return fail(backends.TooLarge, "5.3.4", "")
	case "noRecipients":
		return fail(backends.Permanent, "5.5.1", "the message has no recipients")
	case "tooManyRecipients":
		return fail(backends.Permanent, "5.5.3", "the message has too many recipients")
	case "invalidRecipients":
		return fail(backends.NotFound, "5.1.3", "the recipient's address is refused as not valid")
	case "overQuota":
		return fail(backends.OverQuota, "4.2.2", "your own mailbox is full, or its limit for sending is reached")
	case "invalidProperties", "invalidArguments":
		return fail(backends.Permanent, "5.5.4", "the mail store refused the message as it is addressed")
	}
	return e.failure("submit")
}

// forUser is what a server wants the user to read (RFC 8621 §7.5: forbiddenToSend).
func (e methodError) forUser() string {
	if e.Type != "forbiddenToSend" {
		return ""
	}
	return backends.SafeText(e.Description)
}

func joined(text, more string) string {
	if more == "" {
		return text
	}
	return text + ": " + more
}

// importing is the failure that a refused import is (RFC 8621 §4.8). What is not found is something
// of ours, the blob or the mailbox, and not the recipient.
func (e methodError) importing() *backends.Failure {
	switch e.Type {
	case "invalidEmail":
		return backends.Fail(backends.Permanent, "import: %w", e).WithCode("5.6.0").Say("the mail store refuses the message as not valid")
	case "notFound", "blobNotFound":
		return backends.Fail(backends.Temporary, "import: %w", e)
	}
	return e.failure("import")
}

// blobMissing says of a refused import whether it is because of the blob (RFC 8621 §4.8).
func (e methodError) blobMissing() bool {
	return e.Type == "blobNotFound" || e.Type == "invalidProperties" && slices.Contains(e.Properties, "blobId")
}

// failure is that of a recipient who does not get the message, for good.
func (d deliveryStatus) failure() *backends.Failure {
	if reply := replyOf(d.SMTPReply); reply.Code/100 == 5 {
		return remote.ReplyFailure("submit", reply)
	}
	return backends.Fail(backends.Permanent, "submit: not delivered: %.300q", d.SMTPReply)
}

// replyOf reads an SMTP reply of a failure in a text, or one that lacks its code and has the
// enhanced one. Code 0: there is none.
func replyOf(text string) smtpclient.Reply {
	if reply := anyReply(text); reply.Code >= 400 {
		return reply
	}
	first, _, _ := strings.Cut(text, " ")
	if backends.ValidCode(first) {
		return smtpclient.Reply{Code: int(first[0]-'0') * 100, Lines: []string{text}}
	}
	return smtpclient.Reply{}
}

// anyReply reads an SMTP reply, also one of success (RFC 8621 §7: smtpReply). Code 0: it is none.
func anyReply(text string) smtpclient.Reply {
	first, rest, _ := strings.Cut(text, " ")
	if code, err := strconv.Atoi(first); err == nil && code >= 200 && code < 600 && code/100 != 3 {
		return smtpclient.Reply{Code: code, Lines: []string{rest}}
	}
	return smtpclient.Reply{}
}

// enhanced is the enhanced status code of a reply, without its class (RFC 3463 §2).
func enhanced(r smtpclient.Reply) (code struct{ class, status string }) {
	if len(r.Lines) == 0 {
		return code
	}
	first, _, _ := strings.Cut(r.Lines[0], " ")
	if backends.ValidCode(first) {
		code.class, code.status, _ = strings.Cut(first, ".")
	}
	return code
}
