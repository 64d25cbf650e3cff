package jmap

import (
	"crypto/tls"
	"net/url"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/uidl"
	"github.com/dipylon/dipylon/backends/remote"
)

// settings are what an administrator writes under stores[].settings.
type settings struct {
	remote.Trust
	URL        string          `json:"url"`        // of the session resource, or of the server
	Hosts      []string        `json:"hosts"`      // other hosts, host or host:port, that the session resource may name
	Plaintext  bool            `json:"plaintext"`  // allow http://
	Auth       string          `json:"auth"`       // how a password is presented: basic, bearer
	Username   string          `json:"username"`   // address: user@domain as given; local: without the domain
	UIDL       string          `json:"uidl"`       // none, or header:NAME, see package uidl
	Requests   int             `json:"requests"`   // worth having under way at once for one maildrop
	Timeout    remote.Duration `json:"timeout"`    // of one API request, and of a transfer in which nothing moves
	Delivery   delivery        `json:"delivery"`   // how mail comes in
	Submission bool            `json:"submission"` // EmailSubmission sends
}

type delivery struct {
	remote.HopSettings
	// Accounts are the recipients' passwords by address: for Email/import, or with a server to
	// look whether a retry has been delivered before.
	Accounts map[string]string `json:"accounts"`
}

func defaults() settings {
	return settings{
		Auth: "basic", Username: "address", Requests: 16, Timeout: remote.Duration(time.Minute),
		Delivery: delivery{HopSettings: remote.HopSettings{TLS: "none"}},
	}
}

// read decodes and checks; everything wrong is told at once.
func read(given backends.Settings) (settings, *tls.Config, error) {
	set := defaults()
	if err := given.Decode(&set); err != nil {
		return set, nil, err
	}
	var wrong backends.SettingsError
	set.checkURL(&wrong)
	remote.OneOf(&wrong, "auth", set.Auth, "basic", "bearer")
	remote.OneOf(&wrong, "username", set.Username, "address", "local")
	if rule, err := uidl.Parse(set.UIDL); err != nil || rule.NeedsUID() {
		wrong.Add("uidl", "expected none or header:NAME: JMAP has no UIDs")
	}
	if set.Requests < 1 || set.Requests > 256 {
		wrong.Add("requests", "expected 1 to 256")
	}
	if set.Timeout < remote.Duration(time.Second) {
		wrong.Add("timeout", "is at least 1s")
	}
	set.Delivery.check(&wrong)
	return set, set.Config(&wrong, given.BaseDir, ""), wrong.Err()
}

func (set *settings) checkURL(wrong *backends.SettingsError) {
	u, err := url.Parse(set.URL)
	switch {
	case set.URL == "":
		wrong.Add("url", "the URL of the server, or of its session resource, is missing")
	case err != nil || u.Host == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		wrong.Add("url", "expected https://host or https://host/path")
	case u.User != nil:
		wrong.Add("url", "a login does not belong here: each client brings its own")
	case u.Scheme == "http" && !set.Plaintext:
		wrong.Add("url", "http:// sends passwords in clear; use https://, or set plaintext: true for a server on this machine")
	case u.Path == "" || u.Path == "/":
		set.URL = u.JoinPath("/.well-known/jmap").String() // RFC 8620 §2.2
	}
	for _, host := range set.Hosts {
		if host == "" || strings.ContainsAny(host, "/?#@ ") {
			wrong.Add("hosts", "%q is not a host or host:port", host)
		}
	}
}

// check makes the accounts' addresses lower case: that is how they are looked up.
func (d *delivery) check(wrong *backends.SettingsError) {
	d.Check(wrong, "delivery")
	accounts := make(map[string]string, len(d.Accounts))
	for address, password := range d.Accounts {
		switch {
		case !strings.Contains(address, "@"):
			wrong.Add("delivery.accounts", "%q is no address", address)
		case password == "":
			wrong.Add("delivery.accounts", "%s has no password", address)
		}
		accounts[strings.ToLower(address)] = password
	}
	d.Accounts = accounts
}

// trusts says whether a credential may be sent there: to the server itself, or to one of hosts.
func (set *settings) trusts(u *url.URL) bool {
	home, err := url.Parse(set.URL)
	if err != nil || u.Scheme != home.Scheme || u.User != nil {
		return false
	}
	if sameHost(u, home.Host) {
		return true
	}
	for _, host := range set.Hosts {
		if sameHost(u, host) {
			return true
		}
	}
	return false
}

// sameHost compares host and port, where a port that is not written is the scheme's.
func sameHost(u *url.URL, host string) bool {
	ports := map[string]string{"https": ":443", "http": ":80"}
	withPort := func(h string) string {
		if strings.LastIndexByte(h, ':') <= strings.LastIndexByte(h, ']') {
			h += ports[u.Scheme]
		}
		return strings.ToLower(h)
	}
	return withPort(u.Host) == withPort(host)
}

func (s *Store) hop() remote.Hop {
	return s.settings.Delivery.Hop(s.hostname, s.tls, s.tls.ServerName, time.Duration(s.settings.Timeout), s.stateDir)
}
