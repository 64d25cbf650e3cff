// Package backends is the contract between the gateway and a mail store.
//
// A backend is the code that speaks to one kind of store: a Maildir tree, an IMAP
// server, an Exchange organisation. It implements [Store] and, of the capabilities
// below, those its store has:
//
//	Store          every backend: describe, configure, health, login, close
//	Reader         opens maildrops                          (POP3)
//	Receiver       resolves recipients and takes mail in    (MX, internal mail)
//	Sender         sends as an account through the store    (submission)
//	Outbox         hands over mail that the store wants sent to the Internet
//	Authenticator  conducts a SASL exchange of the store's own
//	Watcher        tells what has changed: passwords, rights, mail
//	SessionSender  a Sender of several messages under one login
//	SendRights     says which addresses an account may send as
//	Examiner       says step by step what works, and what does not
//
// What a backend can do is what it implements: [CapabilitiesOf] looks. The gateway
// never links a backend: it runs each one in a process of its own and reaches it through
// package plugins/host, which gives the same interfaces back.
//
// # Rules for all calls
//
//   - Every method may be called from several goroutines at once, unless it says otherwise.
//   - Every wait ends when its context does. A cancelled call may have happened or not;
//     for [Receiver.Deliver], [Sender.Send] and [Sending.Send] that is what [Delivery.Key] is for.
//   - An error is a [*Failure], or wraps one; anything else counts as temporary.
//   - Message content is a stream of octets in canonical form: every line, the last one
//     included, ends with CRLF, and neither CR nor LF stands alone (RFC 5322 §2.3). There
//     is no dot-stuffing and no terminator. A message is never held in memory as a whole.
//   - Addresses are in the form of RFC 5321 §4.1.2 without the angle brackets, local part
//     unquoted only where that is allowed, UTF-8 where the sender used SMTPUTF8 (RFC 6531).
//     The null reverse-path is the empty string.
//   - Sizes are octets of the canonical form. Times are UTC.
package backends

import (
	"context"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends/vault"
)

// Store is what every backend implements. Configure is called once, before everything
// else but Describe; Close once, after everything else.
type Store interface {
	// Describe says what the backend is and what it can do. It answers before Configure,
	// too, with what is known then, and it does not touch the network.
	Describe(ctx context.Context) (Description, error)

	// Configure checks the settings and, unless settings.Check is set, puts them to use.
	// What is wrong with them comes back as a [*SettingsError], all of it at once.
	Configure(ctx context.Context, settings Settings) error

	// Health asks whether the store behind can be used now: nil, or the failure that a
	// session would meet. It is cheap and is called every few seconds.
	Health(ctx context.Context) error

	// Login verifies a credential. Failures: [BadCredentials], [Throttled], [Temporary],
	// [Permanent] (the account exists and is not allowed to log in), [Unsupported] (a
	// credential of a kind that Description.Credentials does not name).
	Login(ctx context.Context, credential Credential) (Account, error)

	// Close ends the backend's connections. Calls still under way fail.
	Close() error
}

// Description is what a backend says of itself.
type Description struct {
	Name    string // of the backend's kind, lower case: "maildir"
	Version string // of the backend: "1.2.0"
	Vendor  string // who answers for it; may be empty

	// Capabilities is filled in by plugins/serve from the interfaces that are implemented;
	// a backend leaves it zero unless its configuration takes something away from them.
	Capabilities Capabilities

	// Credentials lists the kinds that Login, Reader.Open and Sender.Send accept.
	// [CredentialImpersonation] among them means that the store lets the gateway act for a user.
	Credentials []CredentialKind
	// Mechanisms lists the SASL mechanisms that Authenticator conducts, upper case.
	Mechanisms []string

	// ExactSizes says that Entry.Size is the number of octets that Fetch will give.
	ExactSizes bool

	Limits Limits

	// Reading is what its [Reader] can do in detail.
	Reading Reading

	// Settings documents what an administrator can set, see [SchemaOf]; it may be empty.
	Settings []Setting
}

// Reading is what a [Reader] can do beyond the least, which is the inbox, the messages in the form
// that they have or as MIME, and removal for good. What is not named is answered with [Unsupported],
// but for encodings and bodies where the store has its messages in one form only: it gives that one.
type Reading struct {
	// Disposals are those besides DisposalRemove that the store can have. Whether a mailbox has one,
	// DisposalRemove too, may depend on its server, its account and the folder, and is asked of the
	// maildrop: see Maildrop.Remove.
	Disposals []Disposal
	Encodings []Encoding     // besides EncodingMIME
	Bodies    []BodyForm     // besides BodyBest
	Calendars []CalendarForm // besides CalendarICal
	Wraps     bool           // it wraps plain text, see Rendering.Wrap
	MarksSeen bool           // its maildrops are [Marker]s
	Measures  bool           // its maildrops are [Measurer]s; plugins/serve sets it for a plugin's
	Parks     bool           // of a plugin: a maildrop that rests can give its stream back; plugins/serve sets it
	Folders   bool           // it opens other folders than the inbox
	// Renderer names the version of what makes messages out of the store's properties, at most 64
	// printable ASCII characters: sizes that were found with another one are forgotten. Empty:
	// the octets of a message never change. A store that renders names one, or an encoding or a body:
	// one that names none of the three is never asked for another Rendering than the zero value.
	Renderer string
}

// Disposes says whether deleted messages can be disposed of so.
func (r Reading) Disposes(d Disposal) bool {
	return d == DisposalRemove || slices.Contains(r.Disposals, d)
}

// Encodes says whether messages can be rendered with this encoding.
func (r Reading) Encodes(e Encoding) bool {
	return e == EncodingMIME || slices.Contains(r.Encodings, e)
}

// HasBody says whether messages can be rendered with this form of the body.
func (r Reading) HasBody(b BodyForm) bool {
	return b == BodyBest || slices.Contains(r.Bodies, b)
}

// HasCalendar says whether meetings can be rendered so.
func (r Reading) HasCalendar(c CalendarForm) bool {
	return c == CalendarICal || slices.Contains(r.Calendars, c)
}

// Renders says whether the store makes messages of properties: it names a renderer, an encoding or a
// form of the body.
func (r Reading) Renders() bool {
	return r.Renderer != "" || len(r.Encodings) > 0 || len(r.Bodies) > 0
}

// Rendering is what the store can give of a rendering: the usual encoding and body in the place of
// those that it does not name, and the zero value where it keeps messages as they came.
func (r Reading) Rendering(wanted Rendering) Rendering {
	if !r.Renders() {
		return Rendering{}
	}
	if !r.Encodes(wanted.Encoding) {
		wanted.Encoding = EncodingMIME
	}
	if !r.HasBody(wanted.Body) {
		wanted.Body = BodyBest
	}
	if !r.HasCalendar(wanted.Calendar) {
		wanted.Calendar = CalendarICal
	}
	if !r.Wraps {
		wanted.Wrap = 0
	}
	if wanted.Calendar != CalendarLink {
		wanted.CalendarLink = "" // one form has one name
	}
	return wanted
}

// Limits tell the gateway what the store takes. Zero means: no limit of its own.
type Limits struct {
	MessageSize     int64 // octets of the largest message that Deliver or Send takes
	Recipients      int   // recipients of one Deliver or Send
	Maildrops       int   // maildrops open at once
	FetchesAtOnce   int   // requests of one maildrop that are worth having in flight together
	RemovalsAtATime int   // ids of one Remove
}

// Capabilities are what a store can do beyond [Store].
type Capabilities struct {
	Reader        bool
	Receiver      bool
	Sender        bool
	Outbox        bool
	Authenticator bool
	Watcher       bool
	SendRights    bool
	SendSessions  bool // its Sender is a [SessionSender]
	Examiner      bool
	Deliveries    bool // its Receiver takes small messages over one stream; plugins/serve sets it for a plugin's
}

// CapabilitiesOf says which of the optional interfaces a store implements.
func CapabilitiesOf(s Store) Capabilities {
	var c Capabilities
	_, c.Reader = s.(Reader)
	_, c.Receiver = s.(Receiver)
	_, c.Sender = s.(Sender)
	_, c.Outbox = s.(Outbox)
	_, c.Authenticator = s.(Authenticator)
	_, c.Watcher = s.(Watcher)
	_, c.SendRights = s.(SendRights)
	_, c.SendSessions = s.(SessionSender)
	_, c.Examiner = s.(Examiner)
	return c
}

// Settings is what the administrator configured for one store.
type Settings struct {
	Store    string   // the store's name in the configuration
	Hostname string   // the gateway's name, for trace headers and unique names
	Domains  []string // the domains this store is authoritative for, lower case A-labels
	// StateDir is a folder for what the backend wants to keep that can be built again.
	// It exists when Configure is called; it is empty when Check is set.
	StateDir string
	// Raw is the "settings" mapping of the configuration as JSON. It holds secrets: it is
	// not logged. Relative paths in it are relative to BaseDir.
	Raw     []byte
	BaseDir string
	// Check asks for the verdict alone: nothing is created, locked, listened on or kept.
	Check bool
	// Vault is where the backend keeps small things that all gateways on one state have to know, as a token that one of them
	// has got; see package vault for its rules. What is secret the backend encrypts. Nil: there is none, as with Check, or where
	// no gateway stands behind; what is kept is in StateDir then. It may be used until Close returns.
	Vault vault.Vault
}

// SettingsError tells all that is wrong with a store's settings.
type SettingsError struct {
	Problems []SettingsProblem
}

// SettingsProblem is one thing wrong with the settings.
type SettingsProblem struct {
	Path    string // where in the settings, keys joined with dots: "tls.ca"; empty: the whole
	Problem string // what is wrong and what was expected, without the value of a secret
	Suggest string // what to write instead; may be empty
}

func (e *SettingsError) Error() string {
	text := ""
	for i, p := range e.Problems {
		if i > 0 {
			text += "; "
		}
		if p.Path != "" {
			text += p.Path + ": "
		}
		text += p.Problem
		if p.Suggest != "" {
			text += " (" + p.Suggest + ")"
		}
	}
	return text
}

// Account is who somebody is once a store has accepted the login.
type Account struct {
	// ID names the account inside the store, the same whatever form of name was used to log
	// in: what locks, limits and logs are keyed by. Printable, at most 255 octets.
	ID string
	// FormerIDs are ids that earlier versions of the backend gave to this very account: what is
	// remembered under them is taken over. Never one that another account has, or may get.
	FormerIDs []string
	// Address is the primary address; it is empty where the account has none.
	Address string
	// Addresses are all that the account may send as, the primary one included. An entry
	// "@domain" stands for every address of the domain. The gateway believes that for the store's
	// own domains, and for others where the administrator has listed them. What a store cannot list
	// it is asked for, see [SendRights].
	Addresses []string
	// DisplayName is for people; may be empty.
	DisplayName string
	// Grant, when not empty, is a token of the backend's own that may be presented once as a
	// [CredentialGrant] to Open, Send or OpenSending instead of the credential that was used up.
	Grant []byte
	// PasswordExpires is when the credential stops working; zero: unknown or never.
	PasswordExpires time.Time
	// CredentialGeneration is another text whenever the account's password has been changed, and
	// the same one as long as it has not: printable ASCII, at most 128 octets, no secret. What the
	// gateway remembers of a password is bound to it. Empty: the store does not know.
	CredentialGeneration string
}
