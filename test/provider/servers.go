package provider

import (
	"encoding/base64"
	"strings"

	"github.com/dipylon/dipylon/test/fakeimap"
)

// IMAPCaps are the capabilities of a mail server that takes tokens alone.
const IMAPCaps = "IMAP4rev1 SASL-IR LITERAL- UIDPLUS MOVE UNSELECT SPECIAL-USE AUTH=XOAUTH2"

// What Exchange Online says to a token that it does not take, by IMAP and SMTP.
const (
	RefusedIMAP = "NO AUTHENTICATE failed."
	RefusedSMTP = "535 5.7.3 Authentication unsuccessful [FR0P281CA0001.DEUP281.PROD.OUTLOOK.COM 2026-11-30T12:00:00.000Z 08DE0000000000]"
)

// XOAuth2 reads the first line of a login (base64): who logs in, and the token.
func XOAuth2(initial string) (user, token string) {
	octets, err := base64.StdEncoding.DecodeString(initial)
	if err != nil {
		return "", ""
	}
	for _, part := range strings.Split(string(octets), "\x01") {
		if name, is := strings.CutPrefix(part, "user="); is {
			user = name
		}
		if text, is := strings.CutPrefix(part, "auth=Bearer "); is {
			token = text
		}
	}
	return user, token
}

// IMAP are the rules of a fake that takes this provider's tokens alone, and for the mailboxes that are there; nil: all.
func (p *Provider) IMAP(mailboxes map[string]bool) []fakeimap.Rule {
	return []fakeimap.Rule{
		{Command: "^AUTHENTICATE XOAUTH2 ", Make: func(tag, command, right string) string {
			user, token := XOAuth2(strings.TrimPrefix(command, "AUTHENTICATE XOAUTH2 "))
			if _, good := p.Check(token, user); !good || mailboxes != nil && !mailboxes[user] {
				return tag + " " + RefusedIMAP + "\r\n"
			}
			return right
		}},
		{Command: "^(LOGIN|AUTHENTICATE)", Answer: "TAG NO [AUTHENTICATIONFAILED] basic authentication is disabled\n"},
	}
}

// SMTP is what a fake of a submission server says to AUTH, that takes this provider's tokens alone. who is told who has
// logged in; nil: nobody.
func (p *Provider) SMTP(who func(user string)) func(line string) string {
	return func(line string) string {
		initial, is := strings.CutPrefix(line, "AUTH XOAUTH2 ")
		user, token := XOAuth2(initial)
		if _, good := p.Check(token, user); !is || !good {
			return RefusedSMTP
		}
		if who != nil {
			who(user)
		}
		return "235 2.7.0 Authentication successful"
	}
}
