// Package attention is the one list of what needs an administrator's attention, before it stops mail: secrets, certificates,
// passwords and devices that end soon or have ended, tokens that cannot be had, stores that fail, mail that waits too long.
//
//	all := attention.New(attention.Options{Log: log})
//	all.Source("devices", func(ctx context.Context) ([]attention.Concern, error) { … }) // what there is now, cheaply
//	all.Raise(attention.Concern{Key: "route:provider token", Kind: attention.Token, …})  // or as it happens,
//	all.Clear("route:provider token")                                                   // until it is over
//	go all.Run(ctx)
//	for _, c := range all.Concerns() { … }
//
// A source lists all things that end some day, those of next year, too: the registry decides by the day which of them need
// attention (30 days before), and tells metrics when the next one of a kind ends. What has no end needs attention as
// long as it is listed.
//
// It is told in a log line when it begins, each day while it lasts, and when it is over. Letter is the mail of a day about it.
// The package knows nothing of mail, stores or the state: who has a concern registers it.
package attention

import (
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what a concern is about. It is a label of metrics: there are these alone.
type Kind string

// The kinds.
const (
	Secret      Kind = "secret" // of an application at a provider
	Certificate Kind = "certificate"
	Token       Kind = "token" // it cannot be had
	Consent     Kind = "consent"
	Password    Kind = "password" // an application password
	Device      Kind = "device"
	Collect     Kind = "collect" // an account that mail is collected from
	Store       Kind = "store"   // or its plugin
	Spool       Kind = "spool"   // mail that waits
	Quarantine  Kind = "quarantine"
	Disk        Kind = "disk"
)

// Kinds are all of them.
var Kinds = []Kind{Secret, Certificate, Token, Consent, Password, Device, Collect, Store, Spool, Quarantine, Disk}

// Severity is how much it matters.
type Severity uint8

// The severities.
const (
	// Later needs no attention yet. In a concern that a source lists it means: by Until, or a Warning without one.
	Later    Severity = iota
	Notice            // something should be done within weeks
	Warning           // within days, or mail goes slower meanwhile
	Critical          // mail is not served, not sent, or is about not to be
)

var severities = [...]string{"later", "notice", "warning", "critical"}

// Severities are those of what needs attention, the worst first.
var Severities = []Severity{Critical, Warning, Notice}

// String is the severity in a word.
func (s Severity) String() string {
	if int(s) < len(severities) {
		return severities[s]
	}
	return fmt.Sprint("severity ", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is not known is critical.
func (s *Severity) UnmarshalText(text []byte) error {
	*s = Critical
	for i, word := range severities {
		if word == string(text) {
			*s = Severity(i)
		}
	}
	return nil
}

// Concern is one thing that needs attention, or will. Its texts are for the administrator, in plain words; no secret stands in
// them.
type Concern struct {
	// Key names it: another one for each thing, the same one as long as it lasts, over restarts and on all gateways that share
	// it: "certificate:/etc/dipylon/mail.crt".
	Key  string `json:"key"`
	Kind Kind   `json:"kind"`
	// Severity is given for what has no end, or is worse than its end. See [Later].
	Severity Severity `json:"severity"`
	// Text says what is wrong or about to be, in a sentence without the day: "the certificate mail.crt of the listeners ends". Advice
	// says what to do: a sentence or a few.
	Text   string `json:"text"`
	Advice string `json:"advice"`
	// Since is when it began; zero in what a source lists: when it was listed first.
	Since time.Time `json:"since"`
	// Until is when the thing ends; zero: it has no end.
	Until time.Time `json:"until,omitzero"`
	// Most is how severe its end is at the most, where that stops no more than somebody's mail; [Later]: it may be Critical.
	Most Severity `json:"-"`
	// Local says that it is this gateway's own, and not that of all that share a state.
	Local bool `json:"local,omitempty"`
}

const (
	// Ahead is how long before its end a thing needs attention.
	Ahead = 30 * day
	// soon is how long before its end it is a warning.
	soon = 7 * day
	day  = 24 * time.Hour
)

// DaysLeft is how many whole days something has until an end; less than 0: it is over.
func DaysLeft(until, now time.Time) int {
	left := until.Sub(now)
	if left < 0 {
		return int(-((-left + day - 1) / day))
	}
	return int(left / day)
}

// judge gives a concern its severity.
func (c *Concern) judge(now time.Time) {
	by := Later
	switch left := c.Until.Sub(now); {
	case c.Until.IsZero():
		if c.Severity == Later {
			by = Warning
		}
	case left <= 0:
		by = Critical
	case left <= soon:
		by = Warning
	case left <= Ahead:
		by = Notice
	}
	if c.Most != Later {
		by = min(by, c.Most)
	}
	c.Severity = max(c.Severity, by)
}

// End says in words when a concern's thing ends; empty: it has no end.
func (c Concern) End(now time.Time) string {
	on := c.Until.UTC().Format(time.DateOnly)
	switch left := DaysLeft(c.Until, now); {
	case c.Until.IsZero():
		return ""
	case !c.Until.After(now):
		return "since " + c.Until.UTC().Format(time.DateTime) + " UTC"
	case left == 0:
		return "on " + c.Until.UTC().Format(time.DateTime) + " UTC, within a day"
	case left == 1:
		return "on " + on + ", in one day"
	default:
		return fmt.Sprintf("on %s, in %d days", on, left)
	}
}

// Sentence is a concern's text with its end, ready to be read.
func (c Concern) Sentence(now time.Time) string {
	end := c.End(now)
	if end == "" {
		return c.Text
	}
	if what, ends := strings.CutSuffix(c.Text, " ends"); ends && !c.Until.After(now) {
		return what + " ended on " + c.Until.UTC().Format(time.DateTime) + " UTC"
	}
	return c.Text + " " + end
}

// textMost bounds a concern's texts, in octets.
const textMost = 600

// tidy makes texts printable and short: some of their words are strangers'.
func (c *Concern) tidy() {
	for _, text := range []*string{&c.Key, &c.Text, &c.Advice} {
		*text = plain(*text)
	}
}

func plain(text string) string {
	text = text[:min(len(text), 2*textMost)]
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	if len(text) <= textMost {
		return text
	}
	cut := textMost
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// worstFirst orders concerns: by severity, then by what ends first, then by key.
func worstFirst(a, b Concern) int {
	if a.Until.IsZero() != b.Until.IsZero() && a.Severity == b.Severity {
		return cmp.Compare(boolInt(b.Until.IsZero()), boolInt(a.Until.IsZero()))
	}
	return cmp.Or(cmp.Compare(b.Severity, a.Severity), a.Until.Compare(b.Until), cmp.Compare(a.Key, b.Key))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
