// Package policy says what a mailbox's clients may do and what they see, from a configuration's
// three levels: the gateway's, a store's, and a mailbox's.
//
//	table := policy.NewTable(cfg)
//	p := table.Of("sakes", account) // one lookup: complete, and never changed
//
// A [Current] holds the current table: a reload puts another one there, and sessions that
// begin have its policies.
package policy

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/config"
)

// Policy is one mailbox's.
type Policy struct {
	POP3, Submission bool // whether the protocols can be used
	// Elsewhere are the domains that no store has to which mail may be sent; nil: all.
	Elsewhere *Domains
	Priority  int // the highest that mail may be given (MT-PRIORITY)

	Newest   bool          // the newest message has the number 1
	Age      time.Duration // how old a message may be to be shown; 0: any age
	Messages int           // how many are shown, the newest ones; 0: all

	// Disposal is what becomes of deleted messages, unless Keep is set: then they are removed
	// after that time, and hidden meanwhile.
	Disposal backends.Disposal
	Keep     time.Duration
	// NoticeRemoves lets a deleted notice remove the message that it stands for.
	NoticeRemoves bool
	MarkRead      bool
	FastSizes     bool // the store's estimates are told as sizes
	MeasureSizes  bool // what the store calls exact is no more than an estimate

	// OpensWinmail has TNEF opened in what clients read, and DeliversOpened before a store gets it.
	OpensWinmail, DeliversOpened bool

	// Rendering is the form in which a store that renders is asked for messages.
	Rendering backends.Rendering

	Idle, Session time.Duration // of a session that is logged in
	Sessions      int           // of one account at a time
}

// Default is the policy of an empty configuration, for mailboxes that nobody has said anything
// about.
var Default = Policy{
	POP3: true, Submission: true, Idle: 10 * time.Minute, Session: 24 * time.Hour, Sessions: 16,
}

// Domains are some domains.
type Domains struct{ patterns []string }

// every is the pattern of every domain.
const every = "*"

// DomainsOf reads patterns as routes have them: far.example, .far.example for each domain below it, or all.
func DomainsOf(patterns []string) *Domains {
	if slices.Contains(patterns, every) {
		return nil
	}
	return &Domains{patterns}
}

// Has says whether a domain, in lower-case A-labels, is one of them.
func (d *Domains) Has(domain string) bool {
	return d == nil || slices.ContainsFunc(d.patterns, func(pattern string) bool {
		return pattern == domain || strings.HasPrefix(pattern, ".") && strings.HasSuffix(domain, pattern)
	})
}

var disposals = map[string]backends.Disposal{
	"remove": backends.DisposalRemove, "trash": backends.DisposalTrash, "mark": backends.DisposalMark,
}

// DisposalOf is what a store is asked to do for a configuration's value of "deleted". A message that
// is kept for a time is removed then.
func DisposalOf(deleted string) backends.Disposal { return disposals[deleted] }

var encodings = map[string]backends.Encoding{
	"mime": backends.EncodingMIME, "uuencode": backends.EncodingUUENCODE,
}

// EncodingOf is what a store is asked for with a configuration's value of "encoding".
func EncodingOf(encoding string) backends.Encoding { return encodings[encoding] }

var bodies = map[string]backends.BodyForm{
	"best": backends.BodyBest, "text": backends.BodyText, "html": backends.BodyHTML,
	"both": backends.BodyTextAndHTML, "enriched": backends.BodyTextEnriched,
}

// BodyOf is what a store is asked for with a configuration's value of "body".
func BodyOf(body string) backends.BodyForm { return bodies[body] }

var calendars = map[string]backends.CalendarForm{
	"icalendar": backends.CalendarICal, "text": backends.CalendarText, "link": backends.CalendarLink,
}

// CalendarOf is what a store is asked for with a configuration's value of "calendar".
func CalendarOf(calendar string) backends.CalendarForm { return calendars[calendar] }

// renderingOf is the rendering of a configuration's complete policy. Values that mean the same give the
// same rendering: UTF-8 has no name in it.
func renderingOf(c config.Policy) backends.Rendering {
	r := backends.Rendering{Encoding: EncodingOf(*c.Encoding), Body: BodyOf(*c.Body), Charset: c.Charset.MIME(), RichText: *c.RichText, Wrap: *c.Wrap, Calendar: CalendarOf(*c.Calendar)}
	if r.Calendar == backends.CalendarLink {
		r.CalendarLink = string(*c.CalendarLink)
	}
	if strings.EqualFold(r.Charset, "UTF-8") {
		r.Charset = ""
	}
	return r
}

// from makes a policy of a configuration's complete one.
func from(c config.Policy) *Policy {
	p := &Policy{
		POP3: *c.POP3, Submission: *c.Submission, Elsewhere: DomainsOf(*c.SendTo), Priority: *c.Priority,
		Newest: *c.Order == "newest", Age: c.Age.Std(), Messages: *c.Messages,
		Disposal: DisposalOf(*c.Deleted), NoticeRemoves: *c.Notices == "remove", MarkRead: *c.MarkRead, FastSizes: *c.Sizes == "fast", MeasureSizes: *c.Sizes == "measure",
		OpensWinmail: *c.Winmail != "keep", DeliversOpened: *c.Winmail == "deliver",
		Rendering: renderingOf(c),
		Idle:      c.Idle.Std(), Session: c.Session.Std(), Sessions: *c.Sessions,
	}
	if *c.Deleted == "keep" {
		p.Keep = c.Keep.Std()
	}
	return p
}

// Expire is what CAPA says (RFC 2449 §6.7): after how many days a message is not shown any more,
// read or not. It is 1 at least: 0 would say that nothing may be left on the server.
func (p *Policy) Expire() string {
	if p.Age == 0 {
		return "NEVER"
	}
	return strconv.FormatInt(max(1, int64(p.Age/(24*time.Hour))), 10)
}

// Table is the policies of one configuration.
type Table struct {
	gateway *Policy
	stores  map[string]*store
	expire  string
}

type store struct {
	policy    *Policy
	mailboxes map[string]*Policy // by address, in lower case
}

// NewTable reads a configuration that was checked.
func NewTable(cfg *config.Config) *Table {
	gateway, _ := cfg.PolicyOf("", "")
	b := &Table{gateway: from(gateway), stores: make(map[string]*store, len(cfg.Stores))}
	b.expire = b.gateway.Expire()
	differs := func(p *Policy) {
		if p.Age != b.gateway.Age {
			b.expire = b.gateway.Expire() + " USER" // RFC 2449 §6.7
		}
	}
	for _, s := range cfg.Stores {
		own, _ := cfg.PolicyOf(s.Name, "")
		st := &store{policy: from(own), mailboxes: make(map[string]*Policy, len(s.Mailboxes))}
		differs(st.policy)
		for _, m := range s.Mailboxes {
			st.mailboxes[fold.Lower(m.Address)] = from(own.With(m.Policy))
			differs(st.mailboxes[fold.Lower(m.Address)])
		}
		b.stores[s.Name] = st
	}
	return b
}

// Of is the policy of a store's account: that of the mailbox with its primary address, or with
// its id where that is what the configuration names, or with another address of its.
func (t *Table) Of(storeName string, account backends.Account) *Policy {
	s := t.stores[storeName]
	if s == nil {
		return t.gateway
	}
	if len(s.mailboxes) == 0 {
		return s.policy
	}
	if p := s.mailboxes[fold.Lower(account.Address)]; p != nil {
		return p
	}
	if p := s.mailboxes[fold.Lower(account.ID)]; p != nil {
		return p
	}
	for _, address := range account.Addresses {
		if p := s.mailboxes[fold.Lower(address)]; p != nil {
			return p
		}
	}
	return s.policy
}

// Expire is what CAPA says before it is known whose mailbox it will be.
func (t *Table) Expire() string { return t.expire }

// Current holds the current table. A nil Current, and one without a table, holds [Default] for
// everybody.
type Current struct{ table atomic.Pointer[Table] }

// Always is a Current that holds one policy for everybody.
func Always(p Policy) *Current {
	s := &Current{}
	s.Put(&Table{gateway: &p, expire: p.Expire()})
	return s
}

// DeliversOpened says whether a store gets mail for an address with its TNEF opened.
func (c *Current) DeliversOpened(storeName, address string) bool {
	return c.Of(storeName, backends.Account{Address: address}).DeliversOpened
}

// Put makes this the current table.
func (c *Current) Put(b *Table) { c.table.Store(b) }

// Of is the policy of a store's account, see [Table.Of].
func (c *Current) Of(storeName string, account backends.Account) *Policy {
	if c == nil || c.table.Load() == nil {
		p := Default
		return &p
	}
	return c.table.Load().Of(storeName, account)
}
