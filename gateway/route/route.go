// Package route decides which way mail for a domain goes on from here, when it is in none of the stores:
// by MX, to a server that is named, or not at all.
//
//	table, err := route.NewTable([]route.Route{{Name: "internet", Domains: []string{"*"}, Kind: route.MX}})
//	decision, ok := table.Find("sakes.example", "far.example") // from a domain, to a domain
//	decision.Destination                                       // far.example: what waits for it waits together
//	r, domain, ok := table.Of(decision.Destination)            // later, when it is tried
//
// Of the routes whose patterns have the recipient's domain, the one with the most labels is taken: the domain
// itself, then the nearest domain above it, then every domain. Of routes for the same pattern, one that is for
// the sender's domain goes before one that is for any sender, and then the first one.
package route

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// Kind is what a route does.
type Kind uint8

// The kinds.
const (
	MX        Kind = iota + 1 // to the hosts that DNS names (RFC 5321 §5)
	SMTP                      // to hosts that are named here
	LMTP                      // the same, by LMTP (RFC 2033)
	Hold                      // kept until somebody releases it
	Reject                    // refused
	Transport                 // through a store's own transport
)

// kinds are their names in the configuration.
var kinds = []string{MX: "mx", SMTP: "smtp", LMTP: "lmtp", Hold: "hold", Reject: "reject", Transport: "transport"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// Sends says whether mail leaves by a route of the kind.
func (k Kind) Sends() bool { return k == MX || k == SMTP || k == LMTP || k == Transport }

// ParseKind reads a kind's name.
func ParseKind(name string) (Kind, bool) {
	i := slices.Index(kinds, name)
	return Kind(max(i, 0)), i > 0
}

// Every is the pattern of every domain.
const Every = "*"

// Route is one way.
type Route struct {
	// Name is what it is called in destinations, in the log and in metrics.
	Name string
	// Domains are patterns of recipients' domains, lower-case A-labels: "far.example" is that domain,
	// ".far.example" each domain below it, "*" every domain.
	Domains []string
	// Senders are the same patterns, of the reverse-path's domain. None: any sender, and the null
	// reverse-path.
	Senders []string
	Kind    Kind
	// Hosts are the servers of SMTP and LMTP, "host:port", in groups: those of the first one are tried first, in any order.
	Hosts [][]string
	TLS   smtpclient.TLS
	// Store is whose transport Transport takes, as the mailbox that a message is from, or else as User.
	Store string
	// User and Password log in at the hosts; no User: nobody does.
	User     string
	Password string
	// Tokens gives what logs a mailbox in by a bearer token, in place of a password; nil: nothing does. It is User, or with
	// AsSender the mailbox that a message is from.
	Tokens   func(mailbox string) smtpclient.Tokens
	AsSender bool
	// External logs in by the certificate that TLS shows (RFC 4422 appendix A), as User if there is one.
	External bool
	// NTLM logs User in with Password by NTLM, and by nothing else.
	NTLM bool
	// Rewrite gives recipients at a domain another one, where the next server is told of them; it is for theirs that
	// DNS is asked. The domains are lower-case A-labels.
	Rewrite map[string]string
	// DropReplies has automatic replies dropped (RFC 3834), DropOutOfOffice those that say that somebody is away, and
	// DropForwards what a mailbox sends on by itself.
	DropReplies, DropOutOfOffice, DropForwards bool
	// OpenWinmail has TNEF in messages opened, and MakeWinmail made; WinmailFor are those who get it so, in lower case.
	// None: all.
	OpenWinmail, MakeWinmail bool
	WinmailFor               []string
	// Reforms has messages given the form Form.
	Reforms bool
	Form    Form
	// MessageSize bounds a message, in octets; 0: not.
	MessageSize int64
	// Connections bounds those to one destination at the same time, and PerMinute its messages; 0: not.
	Connections, PerMinute int
	// RecipientsPerDay bounds those of one destination that get mail in a day; 0: not.
	RecipientsPerDay int
	// RecipientsPerMessage bounds those that one message leaves with; 0: not. A message that has more leaves in parts.
	RecipientsPerMessage int
	// FallBack is the name of the route that mail older than FallBackAfter takes when no server could be reached; empty: none.
	FallBack      string
	FallBackAfter time.Duration
	// Text is what a client that is refused is told.
	Text string
	// Asked has mail wait until somebody asks for it. Askers are who may by ETRN; nobody else is told of the route.
	Asked  bool
	Askers Askers
}

// Form is how messages are written for a domain whose readers are old or odd, by the words of the configuration. Empty: as they came.
type Form struct {
	Encoding string // mime, uuencode
	Body     string // text, html, both, enriched
	Charset  string // the name that a message has for it
	Wrap     int    // columns of a line of plain text at the most; 0: as many as it has
}

// String says what the form is, for people.
func (f Form) String() string {
	var words []string
	for _, word := range []string{f.Encoding, f.Body, f.Charset} {
		if word != "" {
			words = append(words, word)
		}
	}
	if f.Wrap > 0 {
		words = append(words, fmt.Sprintf("%d columns", f.Wrap))
	}
	return strings.Join(words, ", ")
}

// IsWinmailFor says whether a recipient is among those who get TNEF opened, or made.
func (r *Route) IsWinmailFor(recipient string) bool {
	return len(r.WinmailFor) == 0 || slices.ContainsFunc(r.WinmailFor, func(address string) bool { return fold.Equal(address, recipient) })
}

// Table is what routes there are. It does not change.
type Table struct {
	routes  []*Route
	pattern map[string][]*Route
	named   map[string]*Route
}

// NewTable makes a table. What is wrong with the routes comes back all at once.
func NewTable(routes []Route) (*Table, error) {
	t := &Table{pattern: make(map[string][]*Route), named: make(map[string]*Route)}
	var problems []error
	for _, r := range routes {
		if err := r.check(); err != nil {
			problems = append(problems, fmt.Errorf("route %q: %w", r.Name, err))
			continue
		}
		if t.named[r.Name] != nil {
			problems = append(problems, fmt.Errorf("two routes have the name %q", r.Name))
			continue
		}
		t.routes = append(t.routes, &r)
		t.named[r.Name] = &r
		for _, p := range r.Domains {
			t.pattern[p] = append(t.pattern[p], &r)
		}
	}
	return t, errors.Join(problems...)
}

func (r *Route) check() error {
	switch {
	case r.Name == "" || strings.ContainsAny(r.Name, ": "):
		return errors.New("it needs a name, without blanks and colons")
	case r.Kind.String() == "":
		return errors.New("it has no kind")
	case len(r.Domains) == 0:
		return errors.New("it is for no domain")
	case (r.Kind == SMTP || r.Kind == LMTP) != (len(r.Hosts) > 0):
		return errors.New("hosts are for smtp and lmtp, which need at least one")
	case (r.Kind == Transport) != (r.Store != "") || r.Kind == Transport && r.User == "":
		return errors.New("a store, and a user, are for transport, which needs both")
	case (r.Asked || r.Askers.Any()) && (r.perMailbox() || !r.Kind.Sends()):
		return errors.New("mail can be asked for that goes by mx, smtp or lmtp, and not as each sender")
	case r.Kind != Transport && (r.User != "" || r.External) && (r.TLS.Policy == smtpclient.Opportunistic || len(r.Hosts) == 0):
		return errors.New("a login needs hosts and TLS that is required")
	}
	for _, p := range slices.Concat(r.Domains, r.Senders) {
		name := strings.TrimPrefix(p, ".")
		if domain, err := address.Domain(name); p != Every && (err != nil || domain != name) {
			return fmt.Errorf("%q is not a pattern of domains", p)
		}
	}
	return nil
}

// Rewritten is the domain that the next server is told in the place of a recipient's. What comes of it is not rewritten
// again, and takes no other route.
func (r *Route) Rewritten(domain string) string { return cmp.Or(r.Rewrite[domain], domain) }

// Decision is where a recipient's mail goes, and why.
type Decision struct {
	*Route
	// Pattern is the pattern that has decided.
	Pattern string
	// Destination is what the mail waits for together with others: the recipient's domain where it goes by
	// MX, or else the route.
	Destination string
}

// Find is the way from a sender's domain (empty: the null reverse-path) to a recipient's; not ok: there is none.
func (t *Table) Find(from, domain string) (Decision, bool) {
	for pattern := range above(domain) {
		if r := best(t.pattern[pattern], from); r != nil {
			return Decision{Route: r, Pattern: pattern, Destination: r.destination(domain)}, true
		}
	}
	return Decision{}, false
}

// destination is where mail for a domain waits that goes this way. A way that is some senders' alone has one of
// its own, or it would not be found again by the domain.
func (r *Route) destination(domain string) string {
	switch {
	case r.Kind == MX && len(r.Senders) > 0:
		return prefix + r.Name + ":" + domain
	case r.Kind == MX:
		return domain
	}
	return prefix + r.Name
}

// perMailbox says whether it logs in as the mailbox that a message is from.
func (r *Route) perMailbox() bool { return r.Kind == Transport || r.AsSender }

// mailbox is the destination of what goes by this way from a mailbox. Each has one of its own where the way logs in as the
// mailbox: what a provider bounds is bounded for each.
func (d Decision) mailbox(from address.Mailbox) string {
	if local, _, detailed := strings.Cut(from.Local, "+"); detailed && !strings.HasPrefix(local, `"`) { // RFC 5233
		from.Local = local
	}
	return d.Destination + ":" + from.String()
}

// above are the patterns that a domain has, from the one with the most labels.
func above(domain string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(domain) {
			return
		}
		for i := range len(domain) {
			if domain[i] == '.' && !yield(domain[i:]) {
				return
			}
		}
		yield(Every)
	}
}

// best is the first route for the sender, or else the first for any.
func best(routes []*Route, from string) *Route {
	var anybody *Route
	for _, r := range routes {
		if len(r.Senders) == 0 {
			if anybody == nil {
				anybody = r
			}
			continue
		}
		for pattern := range above(from) {
			if from != "" && slices.Contains(r.Senders, pattern) {
				return r
			}
		}
	}
	return anybody
}

// prefix is in front of a route's name in a destination. No domain has a colon.
const prefix = "route:"

// Of is the route of a destination as it is now, which a new configuration may have changed; domain is the
// one to ask DNS for, where it goes by MX, and the mailbox to log in as, where it goes as its sender (empty: as User). It is not ok where there is no such route any more.
func (t *Table) Of(destination string) (r *Route, domain string, ok bool) {
	if name, is := strings.CutPrefix(destination, prefix); is {
		name, domain, _ = strings.Cut(name, ":")
		r = t.named[name]
		if r != nil && r.perMailbox() {
			return r, domain, true
		}
		return r, domain, r != nil && (r.Kind == MX) == (domain != "")
	}
	d, ok := t.Find("", destination)
	if ok && d.Kind != MX {
		return d.Route, "", true
	}
	return d.Route, destination, ok
}

// FallBack is the destination of mail that falls back from a route, and the route of that; not ok: it has none.
func (t *Table) FallBack(from *Route) (destination string, r *Route, ok bool) {
	r = t.named[from.FallBack]
	if r == nil || len(r.Hosts) == 0 || r.perMailbox() || r.Asked {
		return "", nil, false
	}
	return r.destination(""), r, true
}

// Routes are all routes, in their order.
func (t *Table) Routes() []*Route { return slices.Clone(t.routes) }
