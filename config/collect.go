package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/adhocore/gronx"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/oauth"
)

// Collect is a mailbox on a POP3 or IMAP server elsewhere whose mail is fetched.
type Collect struct {
	Name     string `yaml:"name"`
	Protocol string `yaml:"protocol" enum:"pop3 imap"`
	// Host is the server, with its port.
	Host string `yaml:"host"`
	// TLS is how it is reached: implicit, starttls (STLS), which is required then, or none. Empty in a file: implicit.
	TLS string `yaml:"tls,omitempty" enum:"implicit starttls none"`
	// CA is a file with the authorities that the certificate is verified by; empty: the system's. TLSName is the name
	// that it must have; empty: the host's.
	CA      string `yaml:"ca,omitempty"`
	TLSName string `yaml:"tls_name,omitempty"`
	User    string `yaml:"user"`
	// Password, or TokenFile with a bearer token, or OAuth, which gets one, logs User in.
	Password  Password `yaml:"password,omitempty"`
	TokenFile string   `yaml:"token_file,omitempty"`
	OAuth     *OAuth   `yaml:"oauth,omitempty"`
	// Folder is the mailbox that is read, by IMAP; empty: the inbox.
	Folder string `yaml:"folder,omitempty"`
	// To is the mailbox that gets all mail. CatchAll spreads it by Headers instead.
	To       string   `yaml:"to,omitempty"`
	CatchAll bool     `yaml:"catch_all,omitempty"`
	Headers  []string `yaml:"headers,omitempty"`
	// Fallback gets what names nobody here, and what its recipient refuses for good. Empty: that stays at the source.
	Fallback string `yaml:"fallback,omitempty"`
	// Every is how long after a run the next one begins; or Cron says when, in TimeZone. Neither in a file: every 5m.
	Every    Duration `yaml:"every,omitempty" min:"10s" max:"7d"`
	Cron     string   `yaml:"cron,omitempty"`
	TimeZone string   `yaml:"time_zone,omitempty"`
	// Leave is how long a message stays at the source once it is here: a time, or for-ever; empty: it is removed at once.
	Leave string `yaml:"leave,omitempty"`
	// MessageSize bounds a message; empty: as limits.message_size. Messages are how many are read in one run.
	MessageSize Size `yaml:"message_size,omitempty" min:"64KiB" max:"4GiB"`
	Messages    int  `yaml:"messages,omitempty" min:"1" max:"1000000"`
	// Timeout is how long the server may be silent.
	Timeout Duration `yaml:"timeout,omitempty" min:"5s" max:"10m"`

	leave time.Duration
	zone  *time.Location
}

// LeaveForEver is Leave's word for messages that always stay.
const LeaveForEver = "for-ever"

// Stays is how long messages stay at the source, or whether they always do.
func (c Collect) Stays() (time.Duration, bool) { return c.leave, c.Leave == LeaveForEver }

// Zone is where Cron is read; nil: the machine's own time.
func (c Collect) Zone() *time.Location { return c.zone }

// Fingerprint tells one configuration of an account from another, and is the same for the same one each time that it is read. It has
// secrets in it.
func (c Collect) Fingerprint() string {
	var login OAuth
	if c.OAuth != nil {
		login = *c.OAuth
	}
	c.OAuth, c.zone, login.Expires = nil, nil, nil // a pointer is another one each time; TimeZone says the zone
	return fmt.Sprintf("%#v %#v", c, login)
}

// mostCollected bounds the list.
const mostCollected = 10_000

// collects checks the accounts that are collected.
func (d *decoder) collects(c *Config) {
	if len(c.Collect) > mostCollected {
		d.at("collect", "", "there are more than %d accounts", mostCollected)
		return
	}
	names := make(map[string]int)
	for i := range c.Collect {
		a, at := &c.Collect[i], index("collect", i)
		if d.skipped[at] {
			continue
		}
		d.entryName("collect", "mailbox", a.Name, i, names)
		d.collectServer(at, a)
		d.collectLogin(at, a, c)
		d.collectTo(at, a, c)
		d.collectTimes(at, a)
		if a.MessageSize == 0 {
			a.MessageSize = c.Limits.MessageSize
		}
		if a.Messages == 0 {
			a.Messages = 10_000
		}
		if a.Timeout == 0 {
			a.Timeout = minutes(1)
		}
	}
}

// collectServer checks where an account is.
func (d *decoder) collectServer(at string, a *Collect) {
	if a.Protocol == "" && !d.failed[join(at, "protocol")] {
		d.at(at, "write protocol: pop3, or imap", "the account has no protocol")
	}
	if a.TLS == "" {
		a.TLS = "implicit"
	}
	port := map[string]string{"pop3 implicit": "995", "imap implicit": "993", "imap starttls": "143", "imap none": "143"}[a.Protocol+" "+a.TLS]
	if port == "" {
		port = "110"
	}
	switch {
	case a.Host == "" && d.failed[join(at, "host")]:
	case a.Host == "":
		d.at(at, "write host: "+a.Protocol+".provider.example", "the account has no host")
	default:
		d.host(join(at, "host"), port, &a.Host)
	}
	if a.TLS == "none" && (a.CA != "" || a.TLSName != "") {
		d.at(at, "leave out tls: none", "a ca or tls_name is for TLS")
	}
	if a.Folder != "" && a.Protocol == "pop3" {
		d.at(join(at, "folder"), "leave it out", "POP3 has no folders")
	}
	d.authorities(join(at, "ca"), &a.CA)
}

// collectLogin checks how an account is logged in to.
func (d *decoder) collectLogin(at string, a *Collect, c *Config) {
	ways := 0
	for _, given := range []bool{!a.Password.IsZero() || d.failed[join(at, "password")], a.TokenFile != "", a.OAuth != nil} {
		if given {
			ways++
		}
	}
	if a.User == "" && !d.failed[join(at, "user")] {
		d.at(at, "write user: and the login name", "the account has no user")
	}
	if strings.ContainsAny(a.User+a.Password.Value, "\r\n\x00") {
		d.at(at, "", "a line end in user or password cannot be sent")
	}
	if ways != 1 {
		d.at(at, "write password: file:PATH, token_file, or oauth: one of them", "%d ways to log in are given", ways)
	}
	if a.TokenFile = d.path(a.TokenFile); a.TokenFile != "" {
		d.readable(join(at, "token_file"), a.TokenFile)
	}
	if a.OAuth != nil {
		d.oauth(join(at, "oauth"), a.OAuth, func() oauth.Config { return c.CollectOAuth(*a) })
	}
}

// CollectOAuth is what an account's tokens are asked for with. A refresh token is kept in a folder of the account's own.
func (c *Config) CollectOAuth(a Collect) oauth.Config {
	return a.OAuth.config(oauth.Vault{File: oauth.VaultIn(c.CollectFolder(a.Name)), Key: a.OAuth.SealKey.Value, Name: "collect " + a.Name})
}

// CollectFolder is where an account that is collected keeps what is its own.
func (c *Config) CollectFolder(name string) string {
	return filepath.Join(c.StateFolder, "collect", name)
}

// collectTo checks where an account's mail goes: to mailboxes of stores alone.
func (d *decoder) collectTo(at string, a *Collect, c *Config) {
	switch {
	case a.CatchAll && a.To != "":
		d.at(join(at, "to"), "leave one of them out", "all mail goes to one mailbox, and is spread by catch_all")
	case !a.CatchAll && a.To == "" && !d.failed[join(at, "to")]:
		d.at(at, "write to: and a mailbox here, or catch_all: true", "the account's mail goes nowhere")
	case !a.CatchAll && len(a.Headers) > 0:
		d.at(join(at, "headers"), "write catch_all: true, or leave them out", "all mail goes to one mailbox")
	case a.CatchAll && a.Fallback == "" && !d.failed[join(at, "fallback")]:
		d.at(at, "write fallback: and the mailbox of whoever looks after such mail", "mail that names nobody here would stay at the source")
	}
	for i, name := range a.Headers {
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			d.at(index(join(at, "headers"), i), "write Envelope-To, say", "%q is no header field's name", clip(name))
		}
	}
	if a.CatchAll && len(a.Headers) == 0 {
		a.Headers = []string{"Envelope-To", "X-Envelope-To", "Delivered-To", "X-Original-To", "Received"}
	}
	d.collectMailbox(join(at, "to"), &a.To, c)
	d.collectMailbox(join(at, "fallback"), &a.Fallback, c)
}

// collectMailbox puts the address of a mailbox here in order.
func (d *decoder) collectMailbox(at string, text *string, c *Config) {
	if *text == "" || d.failed[at] {
		return
	}
	box, err := address.Parse(*text)
	if err != nil {
		d.at(at, "write anna@ and a domain of a store", "%q is no mail address", clip(*text))
		return
	}
	*text = box.String()
	for _, s := range c.Stores {
		for _, domain := range s.Domains {
			if domain == box.Domain {
				return
			}
		}
	}
	d.at(at, "name a mailbox in one of the stores' domains", "no store has the domain %s", box.Domain)
}

// collectTimes checks when an account is collected, and how long its mail stays there.
func (d *decoder) collectTimes(at string, a *Collect) {
	a.zone = d.times(at, &a.Every, a.Cron, a.TimeZone, minutes(5))
	if a.Leave == "" || a.Leave == LeaveForEver {
		return
	}
	leave, err := ParseDuration(a.Leave)
	if err != nil || leave < 0 || leave > minutes(3650*24*60) {
		d.at(join(at, "leave"), "write 14d, or for-ever", "%q is no time", clip(a.Leave))
	}
	a.leave = leave.Std()
}

// times checks when something is done again and again: every so often, or as a cron expression says in a time zone.
func (d *decoder) times(at string, every *Duration, cron, zone string, otherwise Duration) *time.Location {
	switch {
	case *every != 0 && cron != "":
		d.at(join(at, "cron"), "leave one of them out", "every and cron are both given")
	case cron != "":
		d.cron(join(at, "cron"), cron)
	case *every == 0:
		*every = otherwise
	}
	if zone == "" {
		return nil
	}
	found, err := time.LoadLocation(zone)
	switch {
	case cron == "":
		d.at(join(at, "time_zone"), "leave it out", "the time zone is cron's")
	case err != nil:
		d.at(join(at, "time_zone"), "write Europe/Athens, say", "%q is no time zone that this machine knows", clip(zone))
	}
	return found
}

// cron checks a cron expression: minute, hour, day, month, weekday.
func (d *decoder) cron(at, expression string) {
	const suggest = `write "*/10 7-19 * * 1-5", say: minute, hour, day, month, weekday`
	if words := strings.Fields(expression); len(words) != 5 && !strings.HasPrefix(expression, "@") || !gronx.IsValid(expression) {
		d.at(at, suggest, "%q is no cron expression", clip(expression))
	} else if _, err := gronx.NextTickAfter(expression, time.Now(), false); err != nil {
		d.at(at, suggest, "%q never comes", clip(expression))
	}
}
