// Package config reads the gateway's one configuration file.
//
// [Load] reads a file, [Default] is what runs without one:
//
//	cfg, err := config.Load("/etc/dipylon/dipylon.yaml", config.Options{Builtins: []string{"maildir"}})
//	var wrong *config.Error
//	if errors.As(err, &wrong) {
//		for _, p := range wrong.Problems {
//			fmt.Println(p) // dipylon.yaml:12:3: limits.conections: there is no such key (did you mean "connections"?)
//		}
//	}
//
// The reading is strict and tells everything that is wrong at once: a key that is not known,
// a value of the wrong type or out of its bounds, an address that is none, a file that is not
// there, a name that stands twice. What comes back without an error is complete (every value
// has a default) and its paths are absolute.
//
// What stands in a store's "settings" is the backend's to check. What it finds wrong there is
// told with the place in the file too, see [Config.Position].
//
// Secrets are referred to, not written down: a text in a store's settings, or in a plugin's
// env, may be "file:PATH" (the file's content, without the line end at its end) or "env:NAME".
// "literal:TEXT" is TEXT itself, for a text that would be taken for a reference.
package config

import (
	"cmp"
	"slices"
)

// Config is a configuration that was checked. Paths in it are absolute.
type Config struct {
	Hostname string `yaml:"hostname"`
	State    State  `yaml:"state"`
	// StateFolder is what the node has for itself, whatever State is: temporary files, the
	// self-signed certificate, the backends' folders.
	StateFolder string     `yaml:"state_folder"`
	Log         Log        `yaml:"log"`
	TLS         TLS        `yaml:"tls"`
	Listeners   []Listener `yaml:"listeners"`
	Stores      []Store    `yaml:"stores"`
	Limits      Limits     `yaml:"limits"`
	Timeouts    Timeouts   `yaml:"timeouts"`
	Login       Login      `yaml:"login"`
	Policy      Policy     `yaml:"policy"`
	POP3        POP3       `yaml:"pop3"`
	SMTP        SMTP       `yaml:"smtp"`
	Submission  Submission `yaml:"submission"`
	// Routes are where mail for the domains of others goes. None: it is refused.
	Routes []Route `yaml:"routes"`
	Relay  Relay   `yaml:"relay"`
	// Transfer is which way mail goes between the gateway and the Internet.
	Transfer Transfer `yaml:"transfer"`
	Track    Track    `yaml:"track"`
	// Collect are the mailboxes elsewhere whose mail is fetched.
	Collect []Collect `yaml:"collect"`
	// ETRN are servers elsewhere that are asked for the mail that they keep.
	ETRN []ETRN `yaml:"etrn"`
	// Attention is who is told of what needs attention, and what does.
	Attention Attention `yaml:"attention"`

	file      string
	dir       string
	positions map[string]Position
	source    source
}

// Log says what is logged, and how.
type Log struct {
	Level string `yaml:"level" enum:"debug info warn error"`
	// Format is console (for people), json, or auto: console on a terminal, json elsewhere.
	Format string `yaml:"format" enum:"auto console json"`
}

// Track is what is remembered of messages (dipylon track).
type Track struct {
	// Keep is for how long; 0: nothing is.
	Keep Duration `yaml:"keep" min:"0s" max:"3650d"`
}

// TLS names certificates. The first one is for clients that ask for no name, or for one that no
// certificate has.
type TLS struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	// Certificates are more of them: a client gets the one for the name that it asks for.
	Certificates []Certificate `yaml:"certificates,omitempty"`
	MinVersion   string        `yaml:"min_version" enum:"1.2 1.3"`
}

// Certificate is the two files of a certificate, both PEM; the certificate's has the whole chain.
type Certificate struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// All are the certificates, the first one first.
func (t TLS) All() []Certificate {
	return append([]Certificate{{t.Certificate, t.Key}}, t.Certificates...)
}

// SelfSigned says that no certificate is named: the gateway makes one and keeps it in the
// state folder.
func (t TLS) SelfSigned() bool { return t.Certificate == "" }

// The protocols of a listener.
const (
	ProtocolPOP3        = "pop3"        // with STLS
	ProtocolPOP3S       = "pop3s"       // TLS from the first octet
	ProtocolSMTP        = "smtp"        // MX, with STARTTLS
	ProtocolSubmission  = "submission"  // with STARTTLS
	ProtocolSubmissions = "submissions" // TLS from the first octet
	ProtocolAdmin       = "admin"       // HTTP: metrics, health, and with a token the queue
)

// Listener is an address that clients connect to.
type Listener struct {
	Protocol string `yaml:"protocol" enum:"pop3 pop3s smtp submission submissions admin"`
	Address  string `yaml:"address"`
	// TLS is this listener's own certificates; what it leaves out comes from the file's tls.
	TLS *TLS `yaml:"tls,omitempty"`
	// Proxy says that clients come through load balancers, which say whose connection it is.
	Proxy *Proxy `yaml:"proxy,omitempty"`
	// ClientCA is a PEM file with the authorities whose certificates clients may log in with
	// (SASL EXTERNAL). Empty: clients are not asked for one.
	ClientCA string `yaml:"client_ca,omitempty"`
	// DeviceCertificates says that clients are asked for a certificate, whoever has signed it: devices prove themselves by
	// theirs.
	DeviceCertificates bool `yaml:"device_certificates,omitempty"`
	// Legacy says that devices of the old kind may come, without TLS, or with TLS 1.0 or 1.1.
	Legacy bool `yaml:"legacy,omitempty"`
	// Token lets whoever shows it handle mail in transit by an admin listener. Empty: nobody.
	Token Password `yaml:"token,omitempty"`
}

// Proxy is who may say whose connection it is, by the PROXY protocol. Nobody else may connect.
type Proxy struct {
	From []Network `yaml:"from"`
}

// ImplicitTLS says that the protocol begins with the TLS handshake (RFC 8314 §3).
func (l Listener) ImplicitTLS() bool {
	return l.Protocol == ProtocolPOP3S || l.Protocol == ProtocolSubmissions
}

// Store is one mail system behind the gateway.
type Store struct {
	Name    string   `yaml:"name"`
	Plugin  Plugin   `yaml:"plugin"`
	Domains []string `yaml:"domains"` // lower case A-labels
	// Default makes this the store of login names without a domain. A single store needs no
	// mark.
	Default bool `yaml:"default,omitempty"`
	// Sends says that what the store's accounts submit goes out through the store itself.
	Sends bool `yaml:"sends,omitempty"`
	// SendAs are the domains, and the addresses, beyond Domains that the store may let its accounts
	// send as.
	SendAs []string `yaml:"send_as,omitempty"`
	// Passwords says which passwords are good for the store's accounts: its own, application
	// passwords of the gateway's, or any of them.
	Passwords string `yaml:"passwords,omitempty" enum:"any store application"`
	// Policy is what is particular about the store's mailboxes, and Mailboxes about some of them.
	Policy    Policy    `yaml:"policy,omitempty"`
	Mailboxes []Mailbox `yaml:"mailboxes,omitempty"`
	Settings  Settings  `yaml:"settings"`
}

// Limits bound what clients can make the gateway hold or do. Those of connections are for each
// listener.
type Limits struct {
	Connections   int  `yaml:"connections" min:"1" max:"1000000"`
	PerAddress    int  `yaml:"per_address" min:"1" max:"1000000"`
	MessageSize   Size `yaml:"message_size" min:"64KiB" max:"4GiB"` // RFC 5321 §4.5.3.1.7
	HeaderSize    Size `yaml:"header_size" min:"16KiB" max:"64MiB"`
	Recipients    int  `yaml:"recipients" min:"100" max:"100000"` // RFC 5321 §4.5.3.1.8
	Messages      int  `yaml:"messages" min:"1" max:"1000000"`    // of one connection
	Errors        int  `yaml:"errors" min:"1" max:"1000"`
	Refusals      int  `yaml:"refusals" min:"1" max:"100000"`
	LoginFailures int  `yaml:"login_failures" min:"1" max:"100"`
	ListSize      Size `yaml:"list_size" min:"1MiB" max:"3GiB"`   // ids of one open maildrop
	ListsSize     Size `yaml:"lists_size" min:"1MiB" max:"64GiB"` // of all of them
	Collecting    int  `yaml:"collecting" min:"1" max:"1000"`     // accounts that are collected at a time
}

// Timeouts bound the waits that are not one protocol's own.
type Timeouts struct {
	Handshake   Duration `yaml:"handshake" min:"1s" max:"10m"`
	Write       Duration `yaml:"write" min:"1s" max:"1h"`
	Drain       Duration `yaml:"drain" min:"0s" max:"1d"`
	PluginStart Duration `yaml:"plugin_start" min:"1s" max:"1h"`
	PluginCall  Duration `yaml:"plugin_call" min:"1s" max:"1h"`
	PluginStall Duration `yaml:"plugin_stall" min:"1s" max:"1h"`
	PluginDrain Duration `yaml:"plugin_drain" min:"1s" max:"7d"`
	Lease       Duration `yaml:"lease" min:"2s" max:"1h"`
}

// Login is how clients of all protocols log in.
type Login struct {
	// Mechanisms are the SASL mechanisms that are offered as far as a store can check them.
	// Empty: all that are sound without anybody's asking for them.
	Mechanisms []string `yaml:"mechanisms" enum:"PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL NTLM" gone:"APOP CRAM-MD5"`
	// Names are the forms of login names that are understood, beside addresses.
	Names []string `yaml:"names" enum:"alias realm mailbox shared folder"`
	// Realms gives the domains (lower case A-labels) that Windows domains are for.
	Realms map[string]string `yaml:"realms"`
	// Certificate says where in a client's certificate its login name stands.
	Certificate string `yaml:"certificate" enum:"email common_name dns"`
	// Remember is for how long a password that was good need not be verified again; 0: not.
	Remember Duration `yaml:"remember" min:"0s" max:"1h"`
	Throttle Throttle `yaml:"throttle"`
}

// Throttle is how guessers are made to wait.
type Throttle struct {
	Free         int      `yaml:"free" min:"1" max:"1000"` // failures without a delay
	FirstDelay   Duration `yaml:"first_delay" min:"10ms" max:"1h"`
	LongestDelay Duration `yaml:"longest_delay" min:"10ms" max:"1h"`
	Queue        Duration `yaml:"queue" min:"1s" max:"10m"` // how long an attempt waits
	HalfLife     Duration `yaml:"half_life" min:"1s" max:"7d"`
	Refusal      Duration `yaml:"refusal" min:"10ms" max:"1m"` // how long one takes, at the least
}

// LoginNames are all values of Login.Names.
var LoginNames = []string{"alias", "realm", "mailbox", "shared", "folder"}

// POP3 is what the protocols pop3 and pop3s do.
type POP3 struct {
	Login      Duration `yaml:"login" min:"5s" max:"1h"`
	LoginDelay Duration `yaml:"login_delay" min:"0s" max:"1d"`
	// Unauthenticated bounds the connections that have not logged in, of each listener.
	Unauthenticated int `yaml:"unauthenticated" was:"strangers" min:"1" max:"1000000"`
	// Measure bounds what is read only to know sizes: octets a second of each store.
	Measure        Size `yaml:"measure" min:"64KiB" max:"100GiB"`
	PlaintextLogin bool `yaml:"plaintext_login"`
	// Quirks are what is done for old clients, see pop3.Quirks.
	Quirks []string `yaml:"quirks" enum:"auth-list bare-lf last long-auth no-nul"`
}

// SMTP is what the protocol smtp does; its timeouts are for submission too.
type SMTP struct {
	BareNewlines string   `yaml:"bare_newlines" enum:"reject repair"`
	EarlyTalkers string   `yaml:"early_talkers" enum:"reject allow"`
	GreetDelay   Duration `yaml:"greet_delay" min:"0s" max:"1m"`
	Hops         int      `yaml:"hops" min:"10" max:"1000"` // RFC 5321 §6.3
	Command      Duration `yaml:"command" min:"5s" max:"1h"`
	Data         Duration `yaml:"data" min:"5s" max:"1h"`
	Session      Duration `yaml:"session" min:"1m" max:"7d"`
	// RelayFor are the networks whose clients may send by the routes without a login, and RelayNever
	// those that may not, though they are within. None: nobody (RFC 5321 §7.2).
	RelayFor   []Network `yaml:"relay_for"`
	RelayNever []Network `yaml:"relay_never"`
}

// Submission is what the protocols submission and submissions do.
type Submission struct {
	BareNewlines   string `yaml:"bare_newlines" enum:"reject repair"`
	PlaintextLogin bool   `yaml:"plaintext_login"`
	HideClient     bool   `yaml:"hide_client"`
	// Quirks are what is done for old devices, see smtp.Quirks and routing.Quirks.
	Quirks []string `yaml:"quirks" enum:"blanks empty-fields helo no-from no-header notify paths"`
}

// defaultHostname is what a gateway calls itself on a machine without a full name. Names
// under localhost never leave the machine (RFC 6761 §6.3).
const defaultHostname = "dipylon.localhost"

// withDefaults is the configuration of an empty file.
func withDefaults(hostname string) Config {
	return Config{
		Hostname: cmp.Or(hostname, defaultHostname),
		State:    State{Folder: defaultStateFolder},
		Log:      Log{Level: "info", Format: "auto"},
		TLS:      TLS{MinVersion: "1.2"},
		Listeners: []Listener{
			{Protocol: ProtocolPOP3, Address: "127.0.0.1:1110"},
			{Protocol: ProtocolPOP3S, Address: "127.0.0.1:1995"},
			{Protocol: ProtocolSMTP, Address: "127.0.0.1:1025"},
			{Protocol: ProtocolSubmission, Address: "127.0.0.1:1587"},
			{Protocol: ProtocolSubmissions, Address: "127.0.0.1:1465"},
		},
		Limits: Limits{
			Connections: 1000, PerAddress: 50,
			MessageSize: 50 << 20, HeaderSize: 1 << 20, ListSize: 64 << 20, ListsSize: 256 << 20, Recipients: 1000, Messages: 1000, Collecting: 4,
			Errors: 20, Refusals: 100, LoginFailures: 3,
		},
		Timeouts: Timeouts{
			Handshake: minutes(1), Write: minutes(2), Drain: minutes(1) / 2,
			PluginStart: minutes(1) / 3, PluginCall: minutes(3) / 4, PluginStall: minutes(5), PluginDrain: minutes(60), Lease: minutes(1) / 2,
		},
		Login: Login{Names: slices.Clone(LoginNames), Certificate: "email", Remember: minutes(5), Throttle: Throttle{
			Free: 4, FirstDelay: Duration(500e6), LongestDelay: minutes(1) / 4, Queue: minutes(1) / 2, HalfLife: minutes(10), Refusal: Duration(1e9),
		}},
		Policy:     defaultPolicy(),
		POP3:       POP3{Login: minutes(1), Unauthenticated: 500, Measure: 32 << 20, Quirks: []string{"auth-list", "bare-lf", "long-auth"}},
		SMTP:       SMTP{BareNewlines: "reject", EarlyTalkers: "reject", Hops: 100, RelayFor: []Network{}, RelayNever: []Network{}, Command: minutes(5), Data: minutes(3), Session: minutes(120)},
		Submission: Submission{BareNewlines: "repair", Quirks: []string{"blanks", "empty-fields", "helo", "no-from", "no-header", "notify", "paths"}},
		Routes:     []Route{},
		Relay:      defaultRelay(),
		Transfer:   Transfer{Mode: "both", Queue: "deliver"},
		Collect:    []Collect{},
		ETRN:       []ETRN{},
		Track:      Track{Keep: minutes(7 * 24 * 60)},
		Attention:  defaultAttention(),
	}
}

func minutes(n int64) Duration { return Duration(n * 60e9) }
