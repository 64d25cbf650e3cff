package smtpclient

import (
	"math"
	"strconv"
	"strings"
)

// transaction is what MAIL and the RCPTs of one transaction were answered.
type transaction struct {
	mail    Reply
	taken   []int         // recipients, as indexes into the envelope
	refused map[int]error // for what they are
	// last is why a recipient was refused for the company it is in; those who are neither
	// taken nor refused were.
	last   error
	shrank bool // the server has gone, and shown how many would have fitted
}

// envelope sends MAIL and RCPT, all at once where the server allows it.
func (c *Client) envelope(e Envelope, group []int) (transaction, error) {
	t := transaction{refused: make(map[int]error)}
	paths := []string{e.ReversePath}
	if e.ReversePath != "" {
		paths[0], _ = c.path(e.ReversePath)
	}
	var asked []int // the recipients that can be named in a command
	for _, i := range group {
		path, err := c.path(e.Recipients[i])
		if err != nil {
			t.refused[i] = err
			continue
		}
		asked, paths = append(asked, i), append(paths, path)
	}
	commands := make([]string, len(paths))
	for n, i := range asked {
		commands[n+1] = "RCPT TO:<" + paths[n+1] + ">" + c.rcptNotice(e, i)
	}
	commands[0] = "MAIL FROM:<" + paths[0] + ">" + c.parameters(e, paths)
	c.transactions++
	var replies []Reply
	over := 0 // in a row
	err := c.exchange(commands, func(r Reply) bool {
		replies = append(replies, r)
		if over++; !overflow(r) {
			over = 0
		}
		return replies[0].Code/100 == 2 && over < enough
	})
	if err == nil {
		err = c.broken // by a 421, which is a reply like any other until then
	}
	if len(replies) > 0 {
		t.mail = replies[0]
		c.sort(&t, asked, replies[1:])
	}
	return t, err
}

// sort parts the recipients by their replies. A bare 452 or 552 is "too many" once somebody was
// taken, as long as nobody is after it (RFC 5321 §4.5.3.1.10); else the mailbox is full. Whoever is
// refused with nobody beside it is refused for itself.
func (c *Client) sort(t *transaction, asked []int, replies []Reply) {
	if t.mail.Code/100 != 2 {
		return
	}
	lastTaken, firstOver := -1, -1
	for n, r := range replies {
		if r.Code/100 == 2 {
			lastTaken = n
		}
	}
	for n, r := range replies {
		i := asked[n]
		refusal := &ReplyError{Reply: r, Command: AtRcpt}
		switch {
		case r.Code/100 == 2:
			t.taken = append(t.taken, i)
		case len(asked) > 1 && overflow(r) || bare(r) && len(t.taken) > 0 && n > lastTaken:
			t.last = refusal
			if firstOver < 0 {
				firstOver = n
			}
			t.shrank = r.Code == 421 && len(t.taken) > 0
		default:
			t.refused[i] = refusal
		}
	}
	// A server that goes is taken at its word whatever the order, or the next connection would be
	// asked the same.
	if len(t.taken) > 0 && (firstOver > lastTaken || t.shrank) {
		c.fits = len(t.taken)
	}
}

// overflow says whether a reply to RCPT speaks of the number of recipients.
func overflow(r Reply) bool {
	code, text := r.Enhanced()
	return r.Code/100 != 2 && ForNumber(code, strings.ToLower(text))
}

// bare says whether a reply to RCPT may speak of their number.
func bare(r Reply) bool {
	code, _ := r.Enhanced()
	return code == "" && (r.Code == 452 || r.Code == 552)
}

// enough refusals for their number, one after another, say that nobody else will be taken. Some
// servers refuse only recipients of another domain than the first one's.
const enough = 5

// window is how many commands are sent before their replies are read: enough to hide the
// round trip, and few enough that neither side's buffers fill (RFC 2920 §3.1).
const window = 50

// exchange sends commands, in groups where the server allows it. No further group is sent once
// each says no.
func (c *Client) exchange(commands []string, each func(Reply) bool) error {
	group, wait := 1, c.options.Timeouts.Mail
	if c.has("PIPELINING") {
		group = window
	}
	for start, more := 0, true; start < len(commands) && more; start += group {
		end := min(start+group, len(commands))
		for _, line := range commands[start:end] {
			if err := c.send("%s", line); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
		for range end - start {
			r, err := c.expectWithin(0, wait)
			if err != nil {
				return err
			}
			wait = c.options.Timeouts.Rcpt
			more = each(r) && more
		}
	}
	return nil
}

// limits are how much the server takes at once.
type limits struct {
	recipients int // of a transaction
	domains    int // of the recipients of a transaction
	mails      int // transactions of a connection
}

// limits are what the server has announced (RFC 9422 §4) and what it has shown.
func (c *Client) limits() limits {
	l := limits{recipients: math.MaxInt, domains: math.MaxInt, mails: math.MaxInt}
	for _, limit := range strings.Fields(c.extensions["LIMITS"]) {
		name, text, _ := strings.Cut(limit, "=")
		value, err := strconv.Atoi(text)
		if err != nil || value < 1 {
			continue
		}
		switch strings.ToUpper(name) {
		case "RCPTMAX":
			l.recipients = value
		case "RCPTDOMAINMAX":
			l.domains = value
		case "MAILMAX":
			l.mails = value
		}
	}
	if c.fits > 0 {
		l.recipients = min(l.recipients, c.fits)
	}
	return l
}

// needsAnother says whether the next transaction needs another connection.
func (c *Client) needsAnother() bool {
	return c.transactions > 0 && (c.broken != nil || c.spent || c.transactions >= c.limits().mails)
}

// reset takes a transaction back. A server that does not let us gets no other one on this
// connection.
func (c *Client) reset() {
	if _, err := c.command(250, "RSET"); err != nil {
		c.spent = true
	}
}
