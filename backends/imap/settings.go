package imap

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/backends/remote"
)

// settings are what an administrator writes under stores[].settings.
type settings struct {
	remote.Trust
	Address  string       `json:"address"`  // host or host:port of the IMAP server
	TLS      string       `json:"tls"`      // implicit, starttls, none
	Username string       `json:"username"` // address: user@domain as given; local: without the domain
	Master   master       `json:"master"`   // acts for any user
	OAuth    remote.OAuth `json:"oauth"`    // the same, by tokens
	Folder   string       `json:"folder"`   // the mailbox that is served, as the server spells it
	// SizeEstimates says that the server's RFC822.SIZE is no evidence of where a message ends.
	SizeEstimates bool            `json:"size_estimates"`
	UIDL          string          `json:"uidl"`  // rule for unique-ids, see package uidl
	Trash         string          `json:"trash"` // folder for deleted mail; empty: the one marked \Trash
	Pool          pool            `json:"connections"`
	Timeout       remote.Duration `json:"timeout"` // for one command without content, and for connecting
	Delivery      delivery        `json:"delivery"`
	Sending       sending         `json:"submission"`
	Allowed       *[]string       `json:"recipients"` // who gets mail, where the server cannot be asked
}

type master struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

type pool struct {
	PerAccount int             `json:"per_account"` // open at once for one account
	Total      int             `json:"total"`       // open at once
	Keep       remote.Duration `json:"keep"`        // how long one is kept after its session
	// Age is how old a connection that is kept may become: a password that was changed, or an
	// account that was disabled, is noticed by then, however often the connection is used.
	Age remote.Duration `json:"age"`
	// Noop is how often an idle session says NOOP: under the half hour that RFC 9051 §5.4
	// gives it, and under the ten minutes after which some firewalls forget a connection.
	Noop remote.Duration `json:"noop"`
	// Appends is how many APPENDs a second one mailbox gets at the most; 0: any number, or what the provider of oauth advises.
	Appends int `json:"appends"`
}

type delivery struct {
	remote.HopSettings
	Append bool   `json:"append"` // by IMAP APPEND as the master user
	Folder string `json:"folder"` // for APPEND
}

type sending struct {
	Address string `json:"address"` // host:port of the store's submission server
	TLS     string `json:"tls"`     // implicit, starttls, none
	Sent    string `json:"sent"`    // folder for a copy, or \Sent: the one marked so; empty: the server makes its own, or none is wanted
	// Saves says whether the server puts what is sent into the Sent folder of who has logged in; nil: as the provider of oauth does.
	Saves  *bool      `json:"saves"`
	Copies copyLimits `json:"copies"`
	// LoginAs is, by mailbox, who logs in to send from it, with oauth.
	LoginAs map[string]string `json:"login_as"`
}

// copyLimits bound what is kept on the disk for copies that wait to be made.
type copyLimits struct {
	Messages int   `json:"messages"`
	Octets   int64 `json:"octets"`
}

func defaults() settings {
	return settings{
		TLS:      "implicit",
		Username: "address",
		Folder:   "INBOX",
		Pool:     pool{PerAccount: 8, Total: 512, Keep: remote.Duration(20 * time.Second), Age: remote.Duration(5 * time.Minute), Noop: remote.Duration(4 * time.Minute)},
		Timeout:  remote.Duration(30 * time.Second),
		Delivery: delivery{HopSettings: remote.HopSettings{TLS: "none"}, Folder: "INBOX"},
		Sending:  sending{TLS: "starttls", Copies: copyLimits{Messages: 10_000, Octets: 1 << 30}},
	}
}

// read decodes and checks; everything wrong is told at once.
func read(s backends.Settings) (settings, *tls.Config, error) {
	set := defaults()
	if err := s.Decode(&set); err != nil {
		return set, nil, err
	}
	var wrong backends.SettingsError
	remote.OneOf(&wrong, "tls", set.TLS, "implicit", "starttls", "none")
	remote.OneOf(&wrong, "username", set.Username, "address", "local")
	remote.OneOf(&wrong, "submission.tls", set.Sending.TLS, "implicit", "starttls", "none")
	if set.Address == "" {
		wrong.Add("address", "the IMAP server's host, or host:port, is missing")
	}
	set.Address = withPort(set.Address, map[string]string{"implicit": "993"}[set.TLS], "143")
	if set.Sending.Address != "" {
		set.Sending.Address = withPort(set.Sending.Address, map[string]string{"implicit": "465"}[set.Sending.TLS], "587")
	}
	set.Delivery.Check(&wrong, "delivery")
	if set.Delivery.Given() && set.Delivery.Append {
		wrong.Add("delivery", "append and a server are both set: choose one")
	}
	if set.Allowed != nil && !set.Delivery.Given() && !set.Delivery.Append {
		wrong.Add("recipients", "says who gets mail, and nothing says how: set delivery, or take it out")
	}
	if (set.Master.User == "") != (set.Master.Password == "") {
		wrong.Add("master", "user and password go together")
	}
	if set.Delivery.Append && !set.actsForUsers() {
		wrong.Add("delivery.append", "needs the master user, or oauth: somebody has to append for the recipients")
	}
	set.checkTokens(&wrong, s)
	if set.Pool.PerAccount < 1 || set.Pool.Total < 1 {
		wrong.Add("connections", "per_account and total are at least 1")
	}
	if set.Pool.Appends < 0 || set.Pool.Appends > 1000 {
		wrong.Add("connections.appends", "is a number of APPENDs a second, up to 1000; 0 for any number")
	}
	if set.Sending.Copies.Messages < 2 || set.Sending.Copies.Messages > 1_000_000 {
		wrong.Add("submission.copies.messages", "is how many messages may wait for their copies: 2 to 1000000")
	}
	if set.Sending.Copies.Octets < 2<<20 {
		wrong.Add("submission.copies.octets", "is how many octets they may have: at least 2097152 (2 MiB)")
	}
	if set.Pool.Noop < remote.Duration(10*time.Millisecond) {
		wrong.Add("connections.noop", "is at least 10ms")
	}
	if _, err := uidl.Parse(set.UIDL); err != nil {
		wrong.Add("uidl", "%v", err)
	}
	if set.Folder == "" || strings.ContainsAny(set.Folder, "\x00\r\n*%") {
		wrong.Add("folder", "expected a mailbox's name")
	}
	if set.Timeout < remote.Duration(time.Second) {
		wrong.Add("timeout", "is at least 1s")
	}
	host, _ := hostPort(set.Address)
	config := set.Config(&wrong, s.BaseDir, host)
	return set, config, wrong.Err()
}

// checkTokens notes what is wrong with how tokens are got and used.
func (set *settings) checkTokens(wrong *backends.SettingsError, s backends.Settings) {
	if !set.OAuth.Given() {
		if len(set.Sending.LoginAs) > 0 {
			wrong.Add("submission.login_as", "is for tokens: set oauth, or take it out")
		}
		return
	}
	if set.Master.User != "" {
		wrong.Add("oauth", "master is set, too: choose one")
	}
	set.OAuth.Config(wrong, "oauth", s)
}

func withPort(address, port, otherwise string) string {
	if port == "" {
		port = otherwise
	}
	if _, _, err := net.SplitHostPort(address); err == nil || address == "" {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}
