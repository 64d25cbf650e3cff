package imap

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// meaning is what a refusal's text speaks of. A text can speak of several things at once.
type meaning uint8

const (
	saysWrong   meaning = 1 << iota // the user name or the password
	saysLimit                       // too much, too often, too many at once
	saysOutage                      // the server, or what it needs, is away
	saysAppPass                     // an application password is wanted instead of the account's own
	saysExpired                     // the password has to be changed
	saysBlocked                     // the account, or its use by IMAP, or by this client
)

// phrase is a family of texts and what they speak of.
type phrase struct {
	says    meaning
	pattern *regexp.Regexp
}

// texts are what servers say where they have no response code for it, or do not use it. Each
// pattern is for a family of texts; the sources are public reports of one each. They are compiled
// when they are first needed: this package is in every plugin's process.
var texts = sync.OnceValue(func() []phrase {
	return []phrase{
		// Gmail: too many simultaneous connections (zone-eu/wildduck#35, dinhvh/libetpan#160); others:
		// too many login attempts, requests, errors.
		{saysLimit, regexp.MustCompile(`\btoo (many|much|frequent|often)\b`)},
		// Dovecot: maximum number of connections from user+IP (mscdex/node-imap#606).
		{saysLimit, regexp.MustCompile(`\bmax(imum|\.)? (number|amount|count) of\b|\bmax\w* .{0,20}(connection|session|login)s?\b`)},
		// Gmail: account exceeded command or bandwidth limits; Yahoo: rate limit (postalsys/imapflow#75).
		{saysLimit, regexp.MustCompile(`\b(exceed(ed|s)?|reached|hit)\b.{0,40}\b(limits?|bandwidth|rate)\b|\blimits?\b.{0,20}\b(exceed|reach|hit)|\brate.?limit|\bbandwidth\b`)},
		// Microsoft: request is throttled, with a time (imapsync/imapsync#272, simonrob/email-oauth2-proxy#191).
		{saysLimit, regexp.MustCompile(`throttl|\bback[ -]?off\b`)},
		// QQ: login frequency limited, among other things (chengazhen/cursor-auto-free#294).
		{saysLimit, regexp.MustCompile(`\bfrequency limited\b`)},
		// Exchange: server unavailable (lefcha/imapfilter#146).
		{saysOutage, regexp.MustCompile(`\bunavailable\b|\bnot available\b`)},
		// Dovecot before 2.0 and Mailu (Mailu/Mailu#2283): temporary authentication failure. Gmail: temporary system error.
		{saysOutage, regexp.MustCompile(`\btemporar(y|il?y)\b|\b(try|retry|come back|log ?in|connect)\b.{0,20}\b(later|again in|again after)\b|\bagain later\b|\blater again\b`)},
		{saysOutage, regexp.MustCompile(`\b(server|system|internal|service|backend|back-end|database|directory|ldap|storage|disk|network|i/o)\b.{0,20}\b(errors?|busy|overload(ed)?|down|fail(ed|ure)|fault|offline|unreachable|problem)\b|\bbusy\b|\boverloaded\b`)},
		{saysOutage, regexp.MustCompile(`\bmaintenance\b|\bshutting down\b|\btim(ed|e)[ -]?out\b|\b(can.?not|can't|could not|unable to|failed to) (connect|contact|reach)\b|\bconnection (refused|failed|lost|reset|closed)\b`)},
		// Cyrus, where saslauthd is away: SASL's generic failure (cyrusimap/cyrus-sasl, SASL_FAIL).
		{saysOutage, regexp.MustCompile(`\bgeneric failure\b`)},
		// Microsoft (mscdex/node-imap#523, jstedfast/MailKit#1494).
		{saysOutage, regexp.MustCompile(`\bauthenticated but not connected\b`)},
		// Gmail (LukeSmithxyz/mutt-wizard#831), Mail.ru, Yahoo, iCloud, Fastmail.
		{saysAppPass, regexp.MustCompile(`\bapp(lication)?s?[- ]?(specific|generated)?[- ]?passwords?\b|\bauthori[sz]ation code\b`)},
		{saysExpired, regexp.MustCompile(`\bpassword\b.{0,20}\bexpired\b|\b(change|reset|renew) your password\b|\bmust be changed\b`)},
		// Gmail: web login required, log in via your web browser (smiley22/S22.Imap#116, pmengal/MailSystem.NET#17).
		{saysBlocked, regexp.MustCompile(`\bweb ?login\b|\bweb browser\b|\blog ?in via\b`)},
		// Gmail and Zoho: not enabled for IMAP use. Microsoft: basic authentication is blocked.
		{saysBlocked, regexp.MustCompile(`\b(imap4?|protocol|service|basic ?auth(entication)?)\b.{0,30}\b(disabled|blocked|not (enabled|allowed|permitted|open(ed)?|activated))\b|\b(not|yet to) (be )?enabled? (for )?imap|\bbasicauthblocked\b|\benable imap\b`)},
		{saysBlocked, regexp.MustCompile(`\b(account|user|mailbox|login|access)\b.{0,30}\b(locked|blocked|suspended|disabled|deactivated|restricted|banned|frozen|inactive|abnormal|expired)\b|\b(locked|blocked|suspended|disabled) (account|user|mailbox)\b`)},
		// NetEase: unsafe login, to clients that send no ID (mjs/imapclient#544, pimalaya/himalaya#549).
		{saysBlocked, regexp.MustCompile(`\bunsafe login\b`)},
		{saysWrong, regexp.MustCompile(`\b(invalid|incorrect|wrong|bad|unknown)\b.{0,20}\b(credentials?|pass(word|phrase|wd)?|user(name)?|login|account|token)\b`)},
		{saysWrong, regexp.MustCompile(`\b(credentials?|password|user ?name|login|token)\b.{0,10}\b(invalid|incorrect|wrong|rejected|not valid|not recognized|error|mismatch)\b|\bno such (user|account)\b`)},
	}
})

// meaningOf is all that a text speaks of. What the client has typed is not to be in it: whoever
// guesses passwords could choose a name that sounds like an outage.
func meaningOf(text string, typed ...string) (all meaning) {
	text = strings.ToLower(text)
	for _, t := range typed {
		if t = strings.ToLower(t); t != "" {
			text = strings.ReplaceAll(text, t, " ")
		}
	}
	for _, known := range texts() {
		if known.pattern.MatchString(text) {
			all |= known.says
		}
	}
	return all
}

// trouble is the failure of a text that speaks of a limit or an outage, whatever the command was.
func (m meaning) trouble() (backends.Failure, bool) {
	switch {
	case m&saysLimit != 0:
		return backends.Failure{Kind: backends.Throttled}, true
	case m&saysOutage != 0:
		return backends.Failure{Kind: backends.Temporary}, true
	}
	return backends.Failure{}, false
}

// loginRefused says what a refused login is told as: by its response code, then by what is known of
// the text. A refusal without either is a wrong password; one with ALERT, with a code that nobody
// knows, or with a text that lists every cause, is not told as one (RFC 3206 §4), and counts as a
// guess all the same. typed is what the client has sent.
func loginRefused(said *imap.Error, typed []string) backends.Failure {
	says := meaningOf(said.Text, typed...)
	if f, known := failures[said.Code]; known && said.Code != imap.ResponseCodeAuthenticationFailed {
		if f.Kind == backends.OverQuota && ofTraffic(said) {
			f = backends.Failure{Kind: backends.Throttled}
		}
		return f
	}
	trouble, troubled := says.trouble()
	switch {
	case says&saysAppPass != 0:
		return backends.Failure{Kind: backends.Permanent, Code: "5.7.8", Text: alert("the mail server wants an application password", said.Text, typed)}
	case said.Code == imap.ResponseCodeAuthenticationFailed, says == saysWrong:
		return backends.Failure{Kind: backends.BadCredentials}
	case says&saysWrong != 0 && troubled:
	case troubled:
		if isAlert(said.Code) {
			trouble.Text = alert("the mail server says", said.Text, typed)
		}
		return trouble
	case says&saysExpired != 0:
		return failures[imap.ResponseCodeExpired]
	case says&saysBlocked != 0:
		return backends.Failure{Kind: backends.Permanent, Code: "5.7.1", Text: alert("the mail server does not let you in", said.Text, typed)}
	case said.Type != imap.StatusResponseTypeNo:
		return backends.Failure{Kind: backends.Temporary}
	case said.Code == "":
		return backends.Failure{Kind: backends.BadCredentials}
	}
	f := backends.Failure{Kind: backends.Temporary, Guess: true, Text: "the mail server does not accept this login now"}
	if isAlert(said.Code) || says != 0 {
		f.Text = alert("the mail server does not accept this login", said.Text, typed)
	}
	return f
}

// isAlert says whether a code's text is for the user (RFC 9051 §7.1). WEBALERT is Gmail's.
func isAlert(code imap.ResponseCode) bool {
	return code == imap.ResponseCodeAlert || code == "WEBALERT"
}

// alert is what the user is shown of a server's text, without what was typed, which may be a secret.
func alert(introduction, text string, typed []string) string {
	for _, t := range typed {
		if len(t) > 3 {
			text = strings.ReplaceAll(text, t, "...")
		}
	}
	if text = backends.SafeText(text); text == "" {
		return introduction
	}
	return introduction + ": " + text
}

var (
	backOffTime  = lazyregexp.New(`(?i)\b(?:back[ -]?off|retry|again|wait)\b\D{0,30}?(\d{1,8}) *(ms|msecs?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)?\b`)
	backOffUnits = map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour}
)

// retryAfter is when a text says to come back; 0: it does not. Microsoft says milliseconds.
func retryAfter(text string) time.Duration {
	found := backOffTime.FindStringSubmatch(text)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	unit := strings.ToLower(found[2])
	switch {
	case strings.HasPrefix(unit, "ms"), strings.HasPrefix(unit, "milli"):
		return min(time.Duration(n)*time.Millisecond, time.Hour)
	case unit == "":
		return 0
	}
	return min(time.Duration(min(n, 3600))*backOffUnits[unit[0]], time.Hour)
}
