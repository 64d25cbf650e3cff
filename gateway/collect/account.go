package collect

import (
	"context"
	"net"
	"time"

	"github.com/adhocore/gronx"

	"github.com/dipylon/dipylon/backends/mail/pop3client"
)

// The protocols of a source.
const (
	POP3 = "pop3"
	IMAP = "imap"
)

// Account is a mailbox on a server elsewhere, and where its mail goes.
type Account struct {
	Name     string
	Protocol string
	Address  string // host:port
	User     string
	Folder   string // of IMAP; empty: the inbox
	// Secure is how a POP3 server is reached.
	Secure pop3client.Options
	// Credential gives what a POP3 server is shown, when it is needed.
	Credential func(ctx context.Context) (pop3client.Login, error)
	// Refused is told that the server refuses a token [nobody is].
	Refused func(token string)

	// To is the mailbox that gets all mail. Empty: it is spread by Headers.
	To string
	// Headers are the fields that say whom a message is for, the first one that names a mailbox here counts.
	Headers []string
	// Fallback gets what names nobody here, and what its recipient refuses for good. Empty: that stays at the source.
	Fallback string

	Schedule Schedule
	// Leave is how long a message stays at the source once it is here, and LeaveForEver says that it always does.
	Leave        time.Duration
	LeaveForEver bool

	// MessageMost is how many octets a message may have, and RunMost how many messages are read in one run.
	MessageMost int64
	RunMost     int

	// Settings tells one configuration of the account from another, secrets included. It is kept nowhere.
	Settings string
}

// mailbox says which one it is. Unique-ids are of one mailbox: those of another one may be the same (RFC 1939 §7, RFC 9051 §2.3.1.1).
func (a *Account) mailbox() string {
	host, _, err := net.SplitHostPort(a.Address)
	if err != nil {
		host = a.Address
	}
	text := a.Protocol + " " + host + " " + a.User
	if a.Folder != "" {
		text += " " + a.Folder
	}
	return text
}

// Schedule is when an account is collected: every so often, or as a cron expression says in a time zone.
type Schedule struct {
	Every time.Duration
	Cron  string
	Zone  *time.Location
}

// Next is when the account is collected after something at a time: the end of a run, or the gateway's start; zero: at once. A
// time that is not yet, as the clock was set back, is now.
func (s Schedule) Next(after, now time.Time) time.Time {
	if after.After(now) {
		after = now
	}
	if s.Cron == "" {
		if after.IsZero() {
			return now
		}
		return after.Add(s.Every)
	}
	zone := s.Zone
	if zone == nil {
		zone = time.Local
	}
	next, err := gronx.NextTickAfter(s.Cron, after.In(zone), false)
	if err != nil {
		return now.Add(24 * time.Hour) // the configuration was checked; it is looked at again
	}
	return next
}
