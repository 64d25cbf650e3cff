package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/fold"
)

// Policy is what a mailbox's clients may do, and what they see. It stands at three levels, the
// gateway's, a store's and a mailbox's; each value is that of the nearest level that has one. In a
// configuration all of the gateway's values are set.
type Policy struct {
	// POP3 and Submission say whether the protocols can be used at all.
	POP3       *bool `yaml:"pop3,omitempty"`
	Submission *bool `yaml:"submission,omitempty"`
	// SendTo are the domains that no store has to which the mailbox may send, as a route's patterns; none: to no such domain.
	SendTo *[]string `yaml:"send_to,omitempty"`
	// Priority is the highest that mail may be given (MT-PRIORITY, RFC 6710).
	Priority *int `yaml:"priority,omitempty" min:"-9" max:"9"`
	// Order is which messages have the low numbers.
	Order *string `yaml:"order,omitempty" enum:"oldest newest"`
	// Age is how old a message may be to be shown, by when the store took it in; 0: any age.
	Age *Duration `yaml:"age,omitempty" min:"0s" max:"36500d"`
	// Messages is how many are shown, the newest ones; 0: all.
	Messages *int `yaml:"messages,omitempty" min:"0" max:"1000000"`
	// Deleted is what becomes of a message that a client has deleted: it is removed, goes to the
	// store's folder for that, is marked as deleted, or is kept for Keep and then removed.
	Deleted *string   `yaml:"deleted,omitempty" enum:"remove trash mark keep"`
	Keep    *Duration `yaml:"keep,omitempty" min:"1h" max:"3650d"`
	// Notices is what becomes of a message that could not be shown, when the notice in its place
	// is deleted: it is kept and hidden, or removed.
	Notices *string `yaml:"notices,omitempty" enum:"keep remove"`
	// Sizes says whether sizes are exact, by reading each message whose size the store does not
	// call exact (exact) or each message once (measure), or as the store estimates them (fast).
	Sizes *string `yaml:"sizes,omitempty" enum:"exact measure fast"`
	// Encoding, Body, Charset and RichText are the form in which a store that keeps properties renders
	// messages: MIME, or plain text with attachments in UUENCODE; which of its bodies; the charset of
	// text; and whether the store's own rich text is attached. Wrap is how many columns a line of plain text has at the most
	// (0: as many as it has), and Calendar what meetings are: text/calendar, plain text, or that with the address CalendarLink. Stores
	// that keep messages as they came have no other form.
	Encoding *string  `yaml:"encoding,omitempty" enum:"mime uuencode"`
	Body     *string  `yaml:"body,omitempty" enum:"best text html both enriched"`
	Charset  *Charset `yaml:"charset,omitempty"`
	RichText *bool    `yaml:"rich_text,omitempty"`
	Wrap     *int     `yaml:"wrap,omitempty" min:"0" max:"998"`
	Calendar *string  `yaml:"calendar,omitempty" enum:"icalendar text link"`
	// CalendarLink has "{uid}" for the id of a meeting, and "{message-id}" for that of its message.
	CalendarLink *WebAddress `yaml:"calendar_link,omitempty"`
	// Winmail says whether TNEF (winmail.dat) that is in messages stays (keep), is opened for clients that read them
	// (read), or already before the store gets them (deliver).
	Winmail *string `yaml:"winmail,omitempty" enum:"keep read deliver"`
	// MarkRead marks what is fetched as read, where the store can.
	MarkRead *bool `yaml:"mark_read,omitempty"`
	// Idle and Session bound a session that is logged in: how long its client may say nothing
	// (RFC 1939 §3: ten minutes at least), and how long it may last in all.
	Idle    *Duration `yaml:"idle,omitempty" min:"10m" max:"1d"`
	Session *Duration `yaml:"session,omitempty" min:"10m" max:"7d"`
	// Sessions is how many of one account there may be at a time, over all of its folders.
	Sessions *int `yaml:"sessions,omitempty" min:"1" max:"1000"`
}

// Mailbox is what is particular about one mailbox of a store.
type Mailbox struct {
	Address string `yaml:"address"`
	Policy  Policy `yaml:"policy"`
}

func defaultPolicy() Policy {
	return Policy{
		POP3: new(true), Submission: new(true), SendTo: &[]string{"*"}, Priority: new(0),
		Order: new("oldest"), Age: new(Duration(0)), Messages: new(0),
		Deleted: new("remove"), Keep: new(Duration(14 * 24 * time.Hour)), Notices: new("keep"), Sizes: new("exact"),
		Encoding: new("mime"), Body: new("best"), Charset: new(Charset("utf-8")), RichText: new(false),
		Wrap: new(0), Calendar: new("icalendar"), CalendarLink: new(WebAddress("")),
		Winmail:  new("keep"),
		MarkRead: new(false),
		Idle:     new(minutes(10)), Session: new(Duration(24 * time.Hour)), Sessions: new(16),
	}
}

// PolicyValue is one value of a mailbox's policy, and where it stands.
type PolicyValue struct {
	Name  string
	Value any // of the field's type, without the pointer
	// Position is where it stands in the file; its line is 0 for a default.
	Position Position
	// Level is "default", "gateway", "store" or "mailbox".
	Level string
}

// With gives the policy with the values of a nearer level in the place of its own.
func (p Policy) With(nearer Policy) Policy {
	for i := range reflect.TypeFor[Policy]().NumField() {
		if v := reflect.ValueOf(nearer).Field(i); !v.IsNil() {
			reflect.ValueOf(&p).Elem().Field(i).Set(v)
		}
	}
	return p
}

// PolicyOf gives a mailbox's policy, complete, and where each value comes from. An address that
// the store has nothing particular about has the store's.
func (c *Config) PolicyOf(store, address string) (Policy, []PolicyValue) {
	levels := []policyLevel{{"gateway", "policy", c.Policy}}
	for i, s := range c.Stores {
		if s.Name != store {
			continue
		}
		at := index("stores", i)
		levels = append(levels, policyLevel{"store", join(at, "policy"), s.Policy})
		for j, m := range s.Mailboxes {
			if fold.Equal(m.Address, address) {
				levels = append(levels, policyLevel{"mailbox", join(index(join(at, "mailboxes"), j), "policy"), m.Policy})
			}
		}
	}
	var result Policy
	var values []PolicyValue
	for i := range reflect.TypeFor[Policy]().NumField() {
		for j := len(levels) - 1; j >= 0; j-- {
			if v := reflect.ValueOf(levels[j].policy).Field(i); !v.IsNil() {
				reflect.ValueOf(&result).Elem().Field(i).Set(v)
				values = append(values, c.policyValue(levels[j], reflect.TypeFor[Policy]().Field(i), v))
				break
			}
		}
	}
	return result, values
}

// PerAddress is the limit of connections of one address, which is the gateway's alone: it counts
// before it is known whose mailbox it will be.
func (c *Config) PerAddress() PolicyValue {
	v := PolicyValue{Name: "limits.per_address", Value: c.Limits.PerAddress, Level: "default", Position: Position{File: c.file}}
	if at, ok := c.positions[v.Name]; ok {
		v.Level, v.Position = "gateway", at
	}
	return v
}

type policyLevel struct {
	name, path string
	policy     Policy
}

func (c *Config) policyValue(l policyLevel, f reflect.StructField, v reflect.Value) PolicyValue {
	value := PolicyValue{Name: yamlName(f), Value: v.Elem().Interface(), Level: "default", Position: Position{File: c.file}}
	if at, ok := c.positions[join(l.path, value.Name)]; ok {
		value.Level, value.Position = l.name, at
	}
	return value
}

// sendTo checks the patterns of the three levels.
func (d *decoder) sendTo(c *Config) {
	check := func(at string, p Policy) {
		if p.SendTo != nil {
			d.patterns(join(at, "send_to"), *p.SendTo)
		}
	}
	check("policy", c.Policy)
	for i, s := range c.Stores {
		at := index("stores", i)
		check(join(at, "policy"), s.Policy)
		for j, m := range s.Mailboxes {
			check(join(index(join(at, "mailboxes"), j), "policy"), m.Policy)
		}
	}
}

// mostMailboxes bounds a store's list.
const mostMailboxes = 100_000

// mailboxes checks the list of a store.
func (d *decoder) mailboxes(path string, s *Store) {
	if len(s.Mailboxes) > mostMailboxes {
		d.at(path, "", "there are more than %d mailboxes", mostMailboxes)
		return
	}
	seen := make(map[string]int)
	for i := range s.Mailboxes {
		m, at := &s.Mailboxes[i], index(path, i)
		m.Address = fold.Lower(m.Address)
		_, domain, ok := strings.Cut(m.Address, "@")
		first, twice := seen[m.Address]
		switch {
		case d.failed[at]:
		case m.Address == "":
			d.at(at, "", "the mailbox has no address")
		case twice:
			d.at(join(at, "address"), "", "%s is the address of %s already", m.Address, index(path, first))
		case ok && len(s.Domains) > 0 && !contains(s.Domains, domain):
			d.at(join(at, "address"), didYouMean(domain, s.Domains), "%s is not a domain of the store", clip(domain))
		}
		seen[m.Address] = i
	}
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}
