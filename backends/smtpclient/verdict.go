package smtpclient

import (
	"strings"

	"github.com/dipylon/dipylon/backends"
)

// The points of a transaction at which a server refuses. The same code means something else
// at each.
const (
	atMail = "MAIL"
	atRcpt = "RCPT"
	atData = "DATA"
	atBdat = "BDAT"
	atEnd  = "end of content"
	// atEndLMTP is one recipient's reply to the content (RFC 2033 §4.2).
	atEndLMTP = "end of content, LMTP"
)

// FailureOf makes a failure of a reply: its kind by the enhanced status code (RFC 3463) where
// there is one, else by the reply code and by what it answers.
func FailureOf(command string, r Reply) *backends.Failure {
	code, text := split(r)
	kind, ours := kindOf(command, r.Code, code, strings.ToLower(text))
	f := backends.Fail(kind, "%s: %d %s", command, r.Code, strings.Join(r.Lines, " "))
	f.Code, f.Text = code, text
	if ours != "" {
		f.Code = ours
	}
	return f
}

// split takes the enhanced status code off a reply, which has it in each of its lines
// (RFC 2034 §4).
func split(r Reply) (code, text string) {
	var words []string
	for i, line := range r.Lines {
		first, rest, _ := strings.Cut(line, " ")
		switch {
		case i == 0 && backends.ValidCode(first):
			code, line = first, rest
		case code != "" && first == code:
			line = rest
		}
		if line = strings.TrimSpace(line); line != "" {
			words = append(words, line)
		}
	}
	return code, strings.Join(words, " ")
}

// kindOf is the kind of a refusal, and the enhanced status code where the server's own would say
// something else.
func kindOf(command string, reply int, code, text string) (backends.Kind, string) {
	_, status, _ := strings.Cut(code, ".")
	permanent := reply/100 == 5
	switch {
	case code == "" && (reply == 552 || reply == 452):
		return storage(command, reply, text)
	case forNumber(code, text):
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
	case status == "7.0" || status == "4.5":
		return backends.Throttled, ""
	}
	return backends.Temporary, ""
}

// storage is what 552 and 452 mean that say no more: the one table for them.
//
//	        552                                      452
//	MAIL    the message is too large (RFC 1870 §6.2)  the system has no space (RFC 5321 §4.2.3)
//	RCPT    too many recipients; see transactions.go. Said of the first one, of its mailbox:
//	        it is full
//	after   the mailbox is full, unless the words     with SMTP the system has no space, with
//	        are those of RFC 1870 §6.3                LMTP the mailbox is full (RFC 2033 §4.2)
func storage(command string, reply int, text string) (backends.Kind, string) {
	switch {
	case reply == 552 && (command == atMail || ofSize(text)):
		return backends.TooLarge, ""
	case forNumber("", text):
		return backends.Temporary, "4.5.3"
	case reply == 452 && !ofRecipient(command):
		return backends.Temporary, "4.3.1"
	}
	return backends.OverQuota, ""
}

// ofRecipient says whether a reply is about one recipient. A transport that is not SMTP, whose
// replies are handed to FailureOf, speaks of one.
func ofRecipient(command string) bool {
	return command != atMail && command != atData && command != atBdat && command != atEnd
}

func ofSize(text string) bool {
	return strings.Contains(text, "message size") || strings.Contains(text, "too large") || strings.Contains(text, "too big") ||
		strings.Contains(text, "size limit")
}

// forNumber says whether a recipient was refused for the company it is in: another transaction
// may take it. X.5.3 is "too many recipients" (RFC 3463 §3.6); the words are those of servers
// that have no code, or another one, for it.
func forNumber(code, text string) bool {
	if _, status, _ := strings.Cut(code, "."); status == "5.3" {
		return true
	}
	for _, words := range []string{
		"too many recipients", "too many rcpt", "recipients limit", "recipient limit", "maximum number of recipients", "number of recipients exceed",
		"per transaction", "separate transaction", "one recipient at a time", // Google's, for recipients of several domains
	} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
