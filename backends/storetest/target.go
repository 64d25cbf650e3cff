package storetest

import (
	"cmp"
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Target is a store under test and what the suite needs to know of it. Open, User, Password
// and Address are required; a second account is, for all that concerns two of them.
type Target struct {
	// Open gives the store, configured. It is called once, and the suite closes the store
	// when it is done.
	Open func(ctx context.Context) (backends.Store, error)
	// KeepOpen leaves the closing to whoever opened the store.
	KeepOpen bool

	// New gives a store that is not configured, each time another. Without it, what comes
	// before Configure and after Close cannot be tested.
	New func(ctx context.Context) (backends.Store, error)
	// Settings configure a store that New gave.
	Settings backends.Settings
	// Configure tries settings on a store of its own, as host.CheckSettings does. Nil: New,
	// Configure, Close.
	Configure func(ctx context.Context, settings backends.Settings) error
	// BadSettings are settings (JSON) that must be refused, by the path of the problem.
	BadSettings map[string]string

	// The two accounts. Their inboxes are emptied, again and again.
	User, Password, Address                   string
	SecondUser, SecondPassword, SecondAddress string
	// Unknown is an address in the store's domain without a mailbox; empty: one is made up.
	Unknown string
	// CatchAll says that the store takes mail for every address of its domain.
	CatchAll bool
	// List is an address of a list whose members are the two accounts; empty: what a list's entry says
	// cannot be tested.
	List string
	// Preferences are those of the first account; zero: what its entry says of them cannot be tested.
	Preferences backends.Preferences
	// Folder is a folder of the first account besides the inbox; it is only looked at.
	Folder string

	// Put puts a message into a user's inbox as another program would. Nil: Deliver is used.
	Put func(ctx context.Context, user string, message []byte) error
	// Expunge removes a message from a user's inbox as another program would. Nil: a second
	// session is used.
	Expunge func(ctx context.Context, user string, id backends.MessageID) error
	// Enqueue puts a message into the store's outbox. Nil: it is sent to Outside.
	Enqueue func(ctx context.Context, envelope backends.Outgoing, message []byte) error
	// Defer has the store's own transport put an address off, as a server does that is asked too
	// often or greylists, until undone. Only the second account's address is put off. Nil: the
	// cases about it cannot be run.
	Defer func(ctx context.Context, address string) (undo func(), err error)
	// SendLogins counts the logins at the store's own transport. Nil: that a sending session needs one
	// cannot be seen.
	SendLogins func() int
	// EndSending ends the connections of the store's own transport, as a server does that is restarted.
	// Nil: what a sending session does then cannot be seen.
	EndSending func(ctx context.Context) error
	// Outside are two addresses that mail sent by an account leaves through the outbox for.
	Outside []string
	// SASL gives the client's side of a mechanism. Nil: NTLM, PLAIN and LOGIN are known.
	SASL func(mechanism, user, password string) SASLClient

	// Process is the process that the store runs in. Nil: what concerns its end is not tested.
	Process Process

	// KeysInMailbox says that the store finds what it has delivered under a key among the
	// messages that are there, and remembers no key of a message that is gone.
	KeysInMailbox bool
	// Described says that the store offers what its description says and no more, as one behind the
	// process boundary does: a description without any capability is of a store that takes logins.
	Described bool
	// Renders says that the store keeps properties, and makes a message of them when asked.
	Renders bool
	// AltersNUL says that the store does not keep NUL octets (RFC 5321 §4.5.2 lets it): Dovecot
	// makes 0x80 of them.
	AltersNUL bool
	// InMemory says that the store keeps its mail in this process's memory: memory that grows
	// with a message is not held against it.
	InMemory bool

	// Begins, where it is set, is told of each case that [Check] begins: group/name.
	Begins func(name string)
	// Only, where it is set, are the cases that [Check] runs, by their names: group/name.
	Only *regexp.Regexp

	Large    int64         // octets of a large message; 0: 40 MiB
	Many     int           // messages of a full mailbox; 0: 300
	Lease    time.Duration // for the cases that let a lease run out; 0: 2 s
	Timeout  time.Duration // of a case; 0: 1 minute, 5 by Run
	Patience time.Duration // how long a call may take to notice that its context ended; 0: 5 s, 1 minute by Run
}

// Options describe a target in words, as flags or a file would.
type Options struct {
	// Settings are the ones that the store was configured with; they are what is spoilt to see
	// whether it notices. Not needed without Configure and New.
	Settings backends.Settings

	User, Password, Address                   string
	SecondUser, SecondPassword, SecondAddress string
	Unknown                                   string
	CatchAll                                  bool
	Folder                                    string
	Outside                                   []string
	Renders, InMemory, KeysInMailbox          bool
	Only                                      *regexp.Regexp

	Large    int64
	Many     int
	Timeout  time.Duration
	Patience time.Duration
}

// TargetFor makes a target of a store that is configured, and that stays open: whoever
// opened it closes it. Hooks can be added to what it returns.
func TargetFor(store backends.Store, o Options) Target {
	return Target{
		Open:     func(context.Context) (backends.Store, error) { return store, nil },
		KeepOpen: true,
		Settings: o.Settings,
		User:     o.User, Password: o.Password, Address: o.Address,
		SecondUser: o.SecondUser, SecondPassword: o.SecondPassword, SecondAddress: o.SecondAddress,
		Unknown: o.Unknown, CatchAll: o.CatchAll, Folder: o.Folder, Outside: o.Outside,
		Renders: o.Renders, InMemory: o.InMemory, KeysInMailbox: o.KeysInMailbox, Only: o.Only,
		Large: o.Large, Many: o.Many, Timeout: o.Timeout, Patience: o.Patience,
	}
}

func (t Target) withDefaults() Target {
	t.Large = cmp.Or(t.Large, 40<<20)
	t.Many = cmp.Or(t.Many, 300)
	t.Lease = cmp.Or(t.Lease, 2*time.Second)
	t.Timeout = cmp.Or(t.Timeout, time.Minute)
	t.Patience = cmp.Or(t.Patience, 5*time.Second)
	if t.Unknown == "" {
		_, domain, _ := strings.Cut(t.Address, "@")
		t.Unknown = "storetest-no-such-mailbox@" + domain
	}
	if t.Configure == nil && t.New != nil {
		t.Configure = t.configureNew
	}
	if t.SASL == nil {
		t.SASL = NewSASLClient
	}
	return t
}

func (t Target) configureNew(ctx context.Context, settings backends.Settings) error {
	store, err := t.New(ctx)
	if err != nil {
		return err
	}
	defer store.Close() //nolint:errcheck // the verdict on the settings is what counts
	return store.Configure(ctx, settings)
}

// mailbox is one of the two accounts.
type mailbox struct{ user, password, address string }

func (t Target) first() mailbox  { return mailbox{t.User, t.Password, t.Address} }
func (t Target) second() mailbox { return mailbox{t.SecondUser, t.SecondPassword, t.SecondAddress} }
