package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// ETRN is a server elsewhere that keeps mail for this gateway until it is asked for it (RFC 1985).
type ETRN struct {
	Name string `yaml:"name"`
	// Host is the server, with its port.
	Host string `yaml:"host"`
	// TLS, ImplicitTLS and CA are as of a route. Empty in a file: verified.
	TLS         string   `yaml:"tls,omitempty" enum:"clear opportunistic required verified"`
	ImplicitTLS bool     `yaml:"implicit_tls,omitempty"`
	CA          string   `yaml:"ca,omitempty"`
	User        string   `yaml:"user,omitempty"`
	Password    Password `yaml:"password,omitempty"`
	// For is what is asked for: domains, "@" and a domain with all below it, "#" and the name of a queue. Empty in a file: the domains of
	// all stores.
	For []string `yaml:"for,omitempty"`
	// Every is how long after it was asked it is asked again; or Cron says when, in TimeZone. Neither in a file: every 15m.
	Every    Duration `yaml:"every,omitempty" min:"1m" max:"7d"`
	Cron     string   `yaml:"cron,omitempty"`
	TimeZone string   `yaml:"time_zone,omitempty"`
	// Timeout is how long the server may be silent.
	Timeout Duration `yaml:"timeout,omitempty" min:"5s" max:"10m"`

	zone *time.Location
}

// Zone is where Cron is read; nil: the machine's own time.
func (e ETRN) Zone() *time.Location { return e.zone }

// Fingerprint tells one configuration of a server from another. It has secrets in it.
func (e ETRN) Fingerprint() string {
	e.zone = nil // a pointer is another one each time; TimeZone says the zone
	return fmt.Sprintf("%#v", e)
}

// mostETRN bounds the list, and mostNodes what one server is asked for.
const mostETRN, mostNodes = 1000, 1000

// etrns checks the servers that are asked.
func (d *decoder) etrns(c *Config) {
	if len(c.ETRN) > mostETRN {
		d.at("etrn", "", "there are more than %d servers", mostETRN)
		return
	}
	names := make(map[string]int)
	for i := range c.ETRN {
		e, at := &c.ETRN[i], index("etrn", i)
		if d.skipped[at] {
			continue
		}
		d.entryName("etrn", "server", e.Name, i, names)
		d.etrnServer(at, e)
		d.etrnNodes(at, e, c)
		e.zone = d.times(at, &e.Every, e.Cron, e.TimeZone, minutes(15))
		e.Timeout = cmp.Or(e.Timeout, minutes(1))
	}
}

// etrnServer checks where a server is, and how it is reached.
func (d *decoder) etrnServer(at string, e *ETRN) {
	if e.TLS == "" && !d.failed[join(at, "tls")] {
		e.TLS = "verified"
	}
	weak := e.TLS == "clear" || e.TLS == "opportunistic"
	port := "25"
	if e.ImplicitTLS {
		port = "465"
	}
	switch {
	case e.Host == "" && !d.failed[join(at, "host")]:
		d.at(at, "write host: mail.provider.example", "the server has no host")
	case e.Host != "":
		d.host(join(at, "host"), port, &e.Host)
	}
	d.authorities(join(at, "ca"), &e.CA)
	switch {
	case e.ImplicitTLS && weak:
		d.at(join(at, "implicit_tls"), "", "implicit TLS is for tls: required and verified")
	case e.User != "" && weak:
		d.at(join(at, "tls"), "write tls: verified", "a password needs TLS that is required or verified")
	case e.CA != "" && e.TLS != "verified":
		d.at(join(at, "ca"), "write tls: verified", "authorities are for tls: verified")
	}
	if (e.User == "") != e.Password.IsZero() && !d.failed[join(at, "password")] {
		d.at(at, "", "user and password belong together")
	}
}

// etrnNodes puts in order what a server is asked for.
func (d *decoder) etrnNodes(at string, e *ETRN, c *Config) {
	if len(e.For) == 0 && !d.failed[join(at, "for")] {
		for _, s := range c.Stores {
			e.For = append(e.For, s.Domains...)
		}
	}
	if len(e.For) == 0 && !d.failed[join(at, "for")] {
		d.at(at, "write for: [sakes.example]", "there is nothing to ask for: no store has a domain")
	}
	if len(e.For) > mostNodes {
		d.at(join(at, "for"), "name some of them", "a server is asked for more than %d domains", mostNodes)
	}
	for i, node := range e.For {
		at := index(join(at, "for"), i)
		name, below := strings.CutPrefix(node, "@")
		ascii, err := address.Domain(name)
		queue, isQueue := strings.CutPrefix(node, "#")
		switch {
		case d.failed[at]:
		case isQueue && (queue == "" || len(queue) > 64 || strings.ContainsFunc(queue, func(r rune) bool { return r <= ' ' || r > '~' })):
			d.at(at, `write "#office"`, "%q names no queue", clip(node))
		case isQueue:
		case err != nil:
			d.at(at, `write sakes.example, "@sakes.example" with all below it, or "#name" of a queue`, "%q is no domain", clip(node))
		case below:
			e.For[i] = "@" + ascii
		default:
			e.For[i] = ascii
		}
	}
	e.For = slices.Compact(e.For)
}
