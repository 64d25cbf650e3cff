package backends

import (
	"strings"
	"unicode"
)

// Reply is what a kind of failure is told as.
type Reply struct {
	// POP3 is the response code inside the brackets (RFC 2449 §8, RFC 3206); empty: none.
	POP3 string
	// SMTP is the reply code (RFC 5321 §4.2, RFC 4954 for logins).
	SMTP int
	// Code is the enhanced status code (RFC 3463, RFC 5248).
	Code string
	// Text is told where the failure brings none of its own.
	Text string
}

// Replies is the one table from kinds to protocol replies. Every edge uses it.
var Replies = map[Kind]Reply{
	Temporary:      {"SYS/TEMP", 451, "4.3.0", "the mail store is not available now, try again later"},
	Permanent:      {"SYS/PERM", 554, "5.3.0", "the mail store refused this"},
	BadCredentials: {"AUTH", 535, "5.7.8", "the user name or the password is wrong"},
	InUse:          {"IN-USE", 450, "4.2.1", "another session has this mailbox open"},
	NotFound:       {"", 550, "5.1.1", "there is no such mailbox or message"},
	OverQuota:      {"SYS/PERM", 452, "4.2.2", "the mailbox is full"},
	TooLarge:       {"SYS/PERM", 552, "5.3.4", "the message is too large"},
	Throttled:      {"SYS/TEMP", 451, "4.7.0", "too many requests, try again later"},
	Unsupported:    {"SYS/PERM", 504, "5.5.4", "the mail store cannot do this"},
	Poison:         {"SYS/PERM", 554, "5.6.0", "the mail store cannot render this message"},
	Uncertain:      {"SYS/TEMP", 451, "4.4.2", "it is not known whether this was done"},

	// RFC 3206 §4: AUTH is for all that is wrong with a user's credentials, an expired account among
	// it. X.7.13 is the IANA registry's (RFC 5248), with the reply code 525.
	AccountDisabled: {"AUTH", 525, "5.7.13", "the account is disabled, ask its administrator"},
	PasswordExpired: {"AUTH", 535, "5.7.8", "the password has expired, change it first"},
	MailboxMoved:    {"SYS/PERM", 551, "5.1.6", "the mailbox has moved to another mail system"},
}

func (f *Failure) reply() Reply {
	r, ok := Replies[f.Kind]
	if !ok {
		return Replies[Temporary]
	}
	return r
}

// replyCodes are the reply codes that belong to an enhanced status code, whatever the kind.
var replyCodes = map[string]int{
	"4.3.1": 452, // RFC 5321 §4.2.3
	"4.5.3": 452, // RFC 5321 §4.5.3.1.10
	"5.6.7": 553, // RFC 6531 §3.5
}

// Reply is the kind's row of [Replies] with the failure's own code and text put in, both made
// safe (I10): a code is taken only where it is one, of the class that the kind has; a text
// becomes one line of at most 200 printable characters.
func (f *Failure) Reply() Reply {
	r := f.reply()
	if ValidCode(f.Code) && f.Code[0] == r.Code[0] {
		r.Code = f.Code
		if own, ok := replyCodes[f.Code]; ok {
			r.SMTP = own
		}
	}
	if text := SafeText(f.Text); text != "" {
		r.Text = text
	}
	return r
}

// ValidCode says whether a string is an enhanced status code (RFC 3463 §2) of a failure.
func ValidCode(code string) bool {
	parts := strings.Split(code, ".")
	if len(parts) != 3 || (parts[0] != "4" && parts[0] != "5") {
		return false
	}
	for _, p := range parts[1:] {
		if len(p) == 0 || len(p) > 3 || strings.Trim(p, "0123456789") != "" || (len(p) > 1 && p[0] == '0') {
			return false
		}
	}
	return true
}

// textMost is how many octets of a failure's text a client is shown: with reply code and
// CRLF it stays within the 512 octets of a POP3 response and of an SMTP reply line
// (RFC 2449 §4, RFC 5321 §4.5.3.1.5).
const textMost = 200

// SafeText makes one line of at most 200 printable ASCII characters, with no bracket at its
// start that a client could take for a response code.
func SafeText(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			r = ' '
		case r > '~':
			r = '?'
		}
		if b.Len() == textMost {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimLeft(strings.Join(strings.Fields(b.String()), " "), "[ ")
}
