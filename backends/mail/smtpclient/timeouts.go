package smtpclient

import (
	"cmp"
	"time"
)

// Timeouts bound the waits, one by one. What is zero is what RFC 5321 §4.5.3.2 says.
type Timeouts struct {
	Connect  time.Duration // for the connection itself, of which the RFC says nothing [30 s]
	Greeting time.Duration // for the greeting, and for TLS that begins before it [5 min]
	Command  time.Duration // for the replies that are not named here: EHLO, STARTTLS and TLS, AUTH, RSET [5 min]
	Mail     time.Duration // for the reply to MAIL [5 min]
	Rcpt     time.Duration // for the reply to each RCPT [5 min]
	Data     time.Duration // for the reply to DATA [2 min]
	Block    time.Duration // for each block of content to be taken, and for the reply to a BDAT [3 min]
	End      time.Duration // for the reply to the end of the content [10 min]
}

// Within is one bound for every wait, and four times of it for the reply to the end of the content, where the
// server does its work; 0: those of RFC 5321.
func Within(d time.Duration) Timeouts {
	return Timeouts{Connect: d, Greeting: d, Command: d, Mail: d, Rcpt: d, Data: d, Block: d, End: 4 * d}
}

func (t Timeouts) orDefault() Timeouts {
	return Timeouts{
		Connect: cmp.Or(t.Connect, 30*time.Second), Greeting: cmp.Or(t.Greeting, 5*time.Minute), Command: cmp.Or(t.Command, 5*time.Minute),
		Mail: cmp.Or(t.Mail, 5*time.Minute), Rcpt: cmp.Or(t.Rcpt, 5*time.Minute), Data: cmp.Or(t.Data, 2*time.Minute),
		Block: cmp.Or(t.Block, 3*time.Minute), End: cmp.Or(t.End, 10*time.Minute),
	}
}
