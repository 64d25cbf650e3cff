package imap

import (
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
)

// TestLoginTexts: what servers say to a login, in the field, and what it is told as. A guess is what
// the throttle counts.
func TestLoginTexts(t *testing.T) {
	const (
		wrong   = backends.BadCredentials
		limit   = backends.Throttled
		outage  = backends.Temporary
		blocked = backends.Permanent
	)
	for said, tt := range map[string]struct {
		kind  backends.Kind
		guess bool
		text  string // that the client is told; a part of it
	}{
		// The credential is wrong.
		"NO LOGIN failed.": {kind: wrong},
		"NO [AUTHENTICATIONFAILED] Authentication failed.":                              {kind: wrong},
		"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)":                       {kind: wrong},
		"NO [AUTHENTICATIONFAILED] LOGIN invalid credentials or IMAP is disabled sc=eb": {kind: wrong},
		"NO [ALERT] Invalid credentials (Failure)":                                      {kind: wrong},
		"NO [X-ODD] the password is wrong":                                              {kind: wrong},
		"NO Login failed: authentication failure":                                       {kind: wrong},
		"NO LOGIN Login error or password error":                                        {kind: wrong},
		"NO Invalid user name or password. Please use full email address as user name.": {kind: wrong},
		"NO Error in login or password":                                                 {kind: wrong},
		"NO user try again later@peer.example is not known":                             {kind: wrong},
		"BAD invalid login": {kind: wrong},
		// Limits.
		"NO [ALERT] Too many simultaneous connections. (Failure)":                                 {kind: limit, text: "Too many simultaneous connections"},
		"NO Too many login attempts, please try again later":                                      {kind: limit},
		"NO [ALERT] Account exceeded command or bandwidth limits. Read on (Failure)":              {kind: limit, text: "bandwidth limits"},
		"NO [OVERQUOTA] Account exceeded bandwidth limits.":                                       {kind: limit},
		"NO Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)": {kind: limit},
		"NO [LIMIT] LOGIN Rate limit hit":                                                         {kind: limit},
		"NO LOGIN Rate limit hit":                                                                 {kind: limit},
		"BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds":                    {kind: limit},
		"NO connection limit reached for this account":                                            {kind: limit},
		"BYE Too many invalid logon attempts.":                                                    {kind: limit},
		"NO [ALERT] Your account is temporarily blocked after too many attempts":                  {kind: limit},
		// Outages.
		"NO Server Unavailable. 15":                                           {kind: outage},
		"NO [UNAVAILABLE] LOGIN Server error - Please try again later":        {kind: outage},
		"NO Temporary authentication failure.":                                {kind: outage},
		"NO Temporary authentication failure (rate-limit)":                    {kind: limit},
		"NO Login failed: generic failure":                                    {kind: outage},
		"NO [ALERT] Temporary System Error":                                   {kind: outage},
		"BAD User is authenticated but not connected.":                        {kind: outage},
		"NO [X-DOWN] the user database cannot be reached: connection refused": {kind: outage},
		"NO the mail server is down for maintenance":                          {kind: outage},
		"BAD what is that":                                                    {kind: outage},
		// What the user, or somebody else, has to do.
		"NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)":                          {kind: blocked, text: "answer/185833"},
		"NO [AUTHENTICATIONFAILED] NEOBHODIM parol prilozheniya / Application password is REQUIRED":                                               {kind: blocked, text: "application password"},
		"NO [WEBALERT https://accounts.google.com/signin] Web login required.":                                                                    {kind: blocked, text: "Web login required"},
		"NO [ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)":                          {kind: blocked, text: "web browser"},
		"NO [ALERT] Your account is not enabled for IMAP use. Please visit your settings page and enable your account for IMAP access. (Failure)": {kind: blocked, text: "not enabled for IMAP"},
		"NO You are yet to enable IMAP for your account. Please contact your administrator":                                                       {kind: blocked, text: "enable IMAP"},
		"NO LOGIN Login error user suspended":               {kind: blocked, text: "suspended"},
		"NO account is locked":                              {kind: blocked},
		"NO [ALERT] Your password has expired, set another": {kind: backends.PasswordExpired, text: "expired"},
		"NO LogonDenied-BasicAuthBlocked":                   {kind: blocked},
		"NO [CONTACTADMIN] no":                              {kind: blocked},
		// Nobody knows: it is not told as a wrong password, and counts as a guess.
		"NO [ALERT] Read your mail on the web": {kind: outage, guess: true, text: "Read your mail on the web"},
		"NO [X-ODD] no":                        {kind: outage, guess: true},
		"NO Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy.": {kind: outage, guess: true},
		"NO [ALERT] the key ada-secret\x07 \xff does not fit":                                                                         {kind: outage, guess: true, text: "the key ... ? does not fit"},
	} {
		t.Run(said, func(t *testing.T) {
			found := status.FindStringSubmatch("T1 " + said)
			refusal := &imap.Error{Type: imap.StatusResponseType(found[2]), Code: imap.ResponseCode(found[3]), Text: found[5]}
			f := told(loginRefused(refusal, []string{"ada-secret", "try again later@peer.example"}), refusal, "login", refusal)
			if f.Kind != tt.kind || f.Guess != tt.guess {
				t.Errorf("it is told as %v (a guess: %v), not as %v (%v)", f.Kind, f.Guess, tt.kind, tt.guess)
			}
			if text := f.Reply().Text; !strings.Contains(text, tt.text) || strings.Contains(text, "ada-secret") {
				t.Errorf("the client is told %q", text)
			}
			if code := f.Reply().POP3; (code == "AUTH") != (tt.kind == wrong || tt.kind == backends.PasswordExpired) {
				t.Errorf("the response code is %s", code)
			}
		})
	}
}

// TestRetryAfter: a time in a text is taken with its unit, and bounded.
func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"Request is throttled. Suggested Backoff Time: 299961 milliseconds": 299961 * time.Millisecond,
		"back off 10000 ms":                           10 * time.Second,
		"Too many attempts, try again in 5 minutes":   5 * time.Minute,
		"please wait 30 s":                            30 * time.Second,
		"retry after 99999999 hours":                  time.Hour,
		"Backoff 7":                                   0,
		"Maximum number of connections (10) exceeded": 0,
		"try again later":                             0,
		"Server Unavailable. 15":                      0,
	} {
		if got := retryAfter(text); got != want {
			t.Errorf("of %q it is %v, not %v", text, got, want)
		}
	}
}

// TestTroubleTexts: a limit or an outage is that for each command, and not a mailbox that is missing.
func TestTroubleTexts(t *testing.T) {
	for said, want := range map[string]backends.Kind{
		"NO Server Unavailable. 15": backends.Temporary,
		"NO Request is throttled. Suggested Backoff Time: 10000 milliseconds": backends.Throttled,
		"NO SELECT Unsafe Login. Please contact kefu@188.com for help":        backends.Permanent,
		"NO SELECT Could not open trash: No such file or directory":           backends.NotFound,
		"NO Unknown Mailbox: INBOX (Failure)":                                 backends.NotFound,
		"NO Mailbox doesn't exist: busybox":                                   backends.NotFound,
		"BAD User is authenticated but not connected.":                        backends.Temporary,
		"NO [OVERQUOTA] Account exceeded bandwidth limits.":                   backends.Throttled,
		"NO [OVERQUOTA] the mailbox is full":                                  backends.OverQuota,
	} {
		found := status.FindStringSubmatch("T1 " + said)
		refusal := &imap.Error{Type: imap.StatusResponseType(found[2]), Code: imap.ResponseCode(found[3]), Text: found[5]}
		if got := backends.KindOf(failure("select INBOX", refusal, backends.NotFound)); got != want {
			t.Errorf("%s is told as %v, not as %v", said, got, want)
		}
	}
}
