package config

import (
	"net/url"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// WebAddress is an address of a web server, with words in braces that others take the place of.
type WebAddress string

// webAddressMost is how many octets it has.
const webAddressMost = 1000

// decodeNode reads an address.
func (w *WebAddress) decodeNode(d *decoder, path string, n *yaml.Node) {
	var text string
	d.scalar(path, n, reflect.ValueOf(&text).Elem(), "")
	if d.failed[path] {
		return
	}
	u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(text))
	isWeb := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && !strings.ContainsAny(text, " <>\"\t\r\n")
	if text != "" && (!isWeb || len(text) > webAddressMost) {
		d.fail(path, n, "write it as https://owa.example/owa/", "%q is no address of a web server", clip(text))
		return
	}
	*w = WebAddress(text)
}

// calendarLinks refuses policies that want a link to meetings without saying where it leads.
func (d *decoder) calendarLinks(c *Config) {
	d.calendarLink("policy", c.Policy, c.Policy)
	for i, s := range c.Stores {
		at, own := index("stores", i), c.Policy.With(s.Policy)
		d.calendarLink(join(at, "policy"), s.Policy, own)
		for j, m := range s.Mailboxes {
			d.calendarLink(join(index(join(at, "mailboxes"), j), "policy"), m.Policy, own.With(m.Policy))
		}
	}
}

// calendarLink looks at a level: what it says itself, and what counts there.
func (d *decoder) calendarLink(at string, own, counts Policy) {
	if own.Calendar != nil && *own.Calendar == "link" && (counts.CalendarLink == nil || *counts.CalendarLink == "") {
		d.at(join(at, "calendar"), "write calendar_link: https://owa.example/owa/", "there is no address for a link")
	}
}
