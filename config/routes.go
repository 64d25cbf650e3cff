package config

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends/mail/address"
)

// Route is one way for mail to domains that no store has.
type Route struct {
	Name string `yaml:"name"`
	// Domains are patterns of recipients' domains: far.example is that domain, .far.example each domain
	// below it, "*" every domain. They are lower case A-labels here.
	Domains []string `yaml:"domains"`
	// Senders are such patterns of the reverse-path's domain; none: any sender.
	Senders []string `yaml:"senders,omitempty"`
	// To is what the route does: by MX, to Hosts by SMTP or LMTP, through a store's own transport, to nobody until
	// it is released, or refused.
	To string `yaml:"to" enum:"mx smtp lmtp transport hold reject"`
	// Store is whose own transport sends, with to: transport: as the mailbox that a message is from, or else as User.
	Store string `yaml:"store,omitempty"`
	// Provider fills in the limits that are known of one: see [ProviderLimits].
	Provider string `yaml:"provider,omitempty" enum:"microsoft google"`
	// Hosts are the servers of smtp and lmtp with their ports, the first one first; those of one group share the mail.
	Hosts []HostGroup `yaml:"hosts,omitempty"`
	// TLS is how connections are secured. Empty in a file: opportunistic by MX, and verified to hosts.
	TLS string `yaml:"tls,omitempty" enum:"clear opportunistic required verified"`
	// ImplicitTLS has TLS begin with the first octet, as servers on port 465 want it.
	ImplicitTLS bool `yaml:"implicit_tls,omitempty"`
	// CA is a file with the authorities that certificates are verified by; empty: the system's.
	CA string `yaml:"ca,omitempty"`
	// ClientCertificate and ClientKey are PEM files of what the gateway shows to the hosts in TLS; the certificate's
	// has the whole chain. External logs in with it (RFC 4422 appendix A), as User if there is one.
	ClientCertificate string `yaml:"client_certificate,omitempty"`
	ClientKey         string `yaml:"client_key,omitempty"`
	External          bool   `yaml:"external,omitempty"`
	// NTLM has User and Password log in with NTLM (MS-SMTPNTLM), and with nothing else.
	NTLM     bool     `yaml:"ntlm,omitempty"`
	User     string   `yaml:"user,omitempty"`
	Password Password `yaml:"password,omitempty"`
	// TokenFile has a bearer token that logs User in in place of a password, and TokenCommand prints one. They are asked
	// at each connection.
	TokenFile    string   `yaml:"token_file,omitempty"`
	TokenCommand []string `yaml:"token_command,omitempty"`
	// OAuth gets the token that logs User in, or, with AsSender, the mailbox that a message is from, where it is a store's.
	OAuth    *OAuth `yaml:"oauth,omitempty"`
	AsSender bool   `yaml:"as_sender,omitempty"`
	// Rewrite gives recipients at a domain another one, for the next server alone.
	Rewrite map[string]string `yaml:"rewrite,omitempty"`
	// AutomaticReplies says whether what was sent without a person (RFC 3834) passes; empty: pass. OutOfOffice is for
	// those of them that say that somebody is away; empty: as AutomaticReplies. AutomaticForwards says whether what a
	// mailbox sends on by itself passes; empty: pass.
	AutomaticReplies  string `yaml:"automatic_replies,omitempty" enum:"pass drop"`
	OutOfOffice       string `yaml:"out_of_office,omitempty" enum:"pass drop"`
	AutomaticForwards string `yaml:"automatic_forwards,omitempty" enum:"pass drop"`
	// Winmail says whether TNEF (winmail.dat) goes as the sender has made it (keep), is opened (open), or made of what a
	// message has beside its text (make); empty: keep. WinmailFor are the recipients alone who get it so; none: all.
	Winmail    string   `yaml:"winmail,omitempty" enum:"keep open make"`
	WinmailFor []string `yaml:"winmail_for,omitempty"`
	// Encoding, Body, Charset and Wrap are the form in which messages go out: MIME with files in UUENCODE and BinHex made parts, or
	// plain text with attachments in UUENCODE; which of their bodies, made of the other one if need be; the charset of texts; and how many
	// columns a line of plain text has at the most. Empty: as they came.
	Encoding string   `yaml:"encoding,omitempty" enum:"mime uuencode"`
	Body     string   `yaml:"body,omitempty" enum:"text html both enriched"`
	Charset  *Charset `yaml:"charset,omitempty"`
	Wrap     int      `yaml:"wrap,omitempty" min:"0" max:"998"`
	// MessageSize bounds a message; 0: not.
	MessageSize Size `yaml:"message_size,omitempty" min:"0" max:"4GiB"`
	// Connections are how many there are at a time, and PerMinute is how many messages go out in a minute: to each domain
	// by MX, and to the hosts otherwise. 0: as relay.per_destination says, and any number.
	Connections int `yaml:"connections,omitempty" min:"1" max:"1000"`
	PerMinute   int `yaml:"per_minute,omitempty" min:"1" max:"100000"`
	// RecipientsPerDay are those that get mail in a day, likewise. 0: any number.
	RecipientsPerDay int `yaml:"recipients_per_day,omitempty" min:"1" max:"100000000"`
	// RecipientsPerMessage are those that one message leaves with: what has more leaves in parts. 0: any number.
	RecipientsPerMessage int `yaml:"recipients_per_message,omitempty" min:"1" max:"100000"`
	// When is when mail leaves: now, or once somebody asks for it; empty: now. ETRN is who may ask by that command; nil: nobody.
	When string  `yaml:"when,omitempty" enum:"now asked"`
	ETRN *Askers `yaml:"etrn,omitempty"`
	// FallBack names the route that mail takes once no server of this one could be reached and it is older than FallBackAfter; nil: 1h.
	FallBack      string    `yaml:"fall_back,omitempty"`
	FallBackAfter *Duration `yaml:"fall_back_after,omitempty" min:"0s" max:"7d"`
	// Text is what clients are told by reject.
	Text string `yaml:"text,omitempty"`
}

// HostGroup is a server, or several of the same cost: the next group is for when all of them fail.
type HostGroup []string

func (g *HostGroup) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		d.list(path, n, reflect.ValueOf((*[]string)(g)).Elem(), "")
		if len(*g) == 0 && !d.failed[path] {
			d.fail(path, n, "write [a.example, b.example] for servers that share the mail", "the group has no hosts")
		}
		return
	}
	*g = HostGroup{""}
	d.scalar(path, n, reflect.ValueOf(*g).Index(0), "")
}

// MarshalYAML gives the form that the file has.
func (g HostGroup) MarshalYAML() (any, error) {
	if len(g) == 1 {
		return g[0], nil
	}
	return []string(g), nil
}

// Password is a secret text; in a file it is better a reference.
type Password struct {
	Value   string
	written string
}

// IsZero says that there is none.
func (p Password) IsZero() bool { return p.Value == "" }

func (p *Password) decodeNode(d *decoder, path string, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || n.Value == "" {
		d.fail(path, n, "write it as a text, or better as file:PATH or env:NAME", "expected a secret, found something else")
		return
	}
	value, err := d.secrets.resolve(n.Value)
	if err != nil {
		d.fail(path, n, "", "%v", err)
		return
	}
	*p = Password{Value: value, written: n.Value}
}

// MarshalYAML gives a reference as it is, and hides what is none.
func (p Password) MarshalYAML() (any, error) {
	if isReference(p.written) && !strings.HasPrefix(p.written, "literal:") {
		return p.written, nil
	}
	return hidden, nil
}

// mostRoutes bounds the list, and mostPatterns one of a route.
const mostRoutes, mostPatterns = 10_000, 10_000

func (d *decoder) routes(c *Config) {
	if len(c.Routes) > mostRoutes {
		d.at("routes", "", "there are more than %d routes", mostRoutes)
		return
	}
	names := make(map[string]int)
	for i := range c.Routes {
		r, at := &c.Routes[i], index("routes", i)
		if d.skipped[at] {
			continue
		}
		d.entryName("routes", "route", r.Name, i, names)
		if len(r.Domains) == 0 && !d.failed[join(at, "domains")] {
			d.at(at, `write domains: ["*"] for every domain`, "the route is for no domain")
		}
		d.patterns(join(at, "domains"), r.Domains)
		d.patterns(join(at, "senders"), r.Senders)
		if r.To == "" && !d.failed[join(at, "to")] {
			d.at(at, "write to: mx", "the route leads nowhere")
		}
		d.hosts(at, r)
		if d.throughStore(at, r, c); r.To != "transport" {
			d.routeTLS(at, r)
		}
		d.routeOAuth(at, r, c)
		d.routeLimits(at, r)
		d.askedFor(at, r, c)
		d.rewriting(at, r, c)
		d.winmail(at, r)
		d.form(at, r)
	}
	d.fallBacks(c, names)
	for i, n := range c.SMTP.RelayFor {
		if at := index("smtp.relay_for", i); n.Prefix().Bits() == 0 && !d.failed[at] {
			d.at(at, "name the networks of the machines that may", "%s would let everybody send to everybody", n)
		}
	}
	d.relaying(&c.Relay)
	d.sendTo(c)
}

// patterns puts patterns of domains in order.
func (d *decoder) patterns(path string, patterns []string) {
	if len(patterns) > mostPatterns {
		d.at(path, "", "there are more than %d patterns", mostPatterns)
		return
	}
	for i, p := range patterns {
		at := index(path, i)
		if d.failed[at] || p == "*" {
			continue
		}
		name, below := strings.CutPrefix(p, ".")
		ascii, err := domain(name)
		switch {
		case strings.HasPrefix(p, "*."):
			d.at(at, "write "+p[1:]+" for each domain below it", "%q is not a pattern of domains", clip(p))
			continue
		case err != nil:
			d.at(at, `write far.example, .far.example for each domain below it, or "*" for every domain`, "%v", err)
			continue
		}
		if patterns[i] = ascii; below {
			patterns[i] = "." + ascii
		}
	}
}

// hosts checks that those are there that a route needs.
func (d *decoder) hosts(at string, r *Route) {
	direct := r.To == "smtp" || r.To == "lmtp"
	switch {
	case d.failed[join(at, "to")] || d.failed[join(at, "hosts")]:
	case direct && len(r.Hosts) == 0:
		d.at(at, "write hosts: [mail.provider.example:587]", "the route has no hosts")
	case !direct && len(r.Hosts) > 0:
		d.at(join(at, "hosts"), "write to: smtp, or leave the hosts out", "hosts are for smtp and lmtp")
	}
	port := "25"
	switch {
	case r.To == "lmtp":
		port = "24"
	case r.ImplicitTLS:
		port = "465"
	case r.User != "" || r.External:
		port = "587"
	}
	for i, group := range r.Hosts {
		where := index(join(at, "hosts"), i)
		for j := range group {
			if len(group) == 1 {
				d.host(where, port, &group[j])
			} else {
				d.host(index(where, j), port, &group[j])
			}
		}
	}
}

// host puts a server's name and port in order.
func (d *decoder) host(at, port string, host *string) {
	if d.failed[at] {
		return
	}
	if _, _, err := net.SplitHostPort(*host); err != nil && !strings.Contains(*host, ":") {
		*host = net.JoinHostPort(*host, port)
	}
	address, err := listenAddress(*host)
	if name, _, split := net.SplitHostPort(address); err == nil && (split != nil || everyHost(name)) {
		err = errors.New("this names no server")
	}
	if err != nil {
		d.at(at, "write it as mail.example:"+port, "%v", err)
		return
	}
	*host = address
}

// routeLimits refuses limits on what is not sent.
func (d *decoder) routeLimits(at string, r *Route) {
	const why = "nothing is sent by this route"
	switch sends := r.To != "hold" && r.To != "reject"; {
	case sends:
	case r.Connections > 0:
		d.at(join(at, "connections"), "leave it out", why)
	case r.AutomaticReplies != "":
		d.at(join(at, "automatic_replies"), "leave it out", why)
	case r.OutOfOffice != "":
		d.at(join(at, "out_of_office"), "leave it out", why)
	case r.AutomaticForwards != "":
		d.at(join(at, "automatic_forwards"), "leave it out", why)
	case r.Winmail != "":
		d.at(join(at, "winmail"), "leave it out", why)
	case r.Reforms():
		d.at(at, "leave out encoding, body, charset and wrap", why)
	case r.PerMinute > 0:
		d.at(join(at, "per_minute"), "leave it out", why)
	case r.RecipientsPerDay > 0:
		d.at(join(at, "recipients_per_day"), "leave it out", why)
	case r.RecipientsPerMessage > 0:
		d.at(join(at, "recipients_per_message"), "leave it out", why)
	}
}

// rewriting puts the domains in order that others take the place of. The route has the ones, and no store the others:
// what is rewritten takes no other way.
func (d *decoder) rewriting(at string, r *Route, c *Config) {
	at = join(at, "rewrite")
	if len(r.Rewrite) > mostPatterns {
		d.at(at, "", "there are more than %d domains", mostPatterns)
		return
	}
	rewrite := make(map[string]string, len(r.Rewrite))
	for _, from := range slices.Sorted(maps.Keys(r.Rewrite)) {
		at := join(at, from)
		if d.failed[at] {
			continue
		}
		old, err := domain(from)
		to, wrong := domain(r.Rewrite[from])
		switch {
		case err != nil || wrong != nil:
			d.at(at, "write old.example: new.example", "%v", cmp.Or(err, wrong))
		case old == to:
			d.at(at, "leave it out", "the domain stays as it is")
		case rewrite[old] != "":
			d.at(at, "", "%s is there already", old)
		case r.To == "hold" || r.To == "reject":
			d.at(at, "leave it out", "nothing is sent by this route")
		case !slices.ContainsFunc(r.Domains, func(pattern string) bool { return isIn(pattern, old) }):
			d.at(at, "add it to the route's domains", "the route is not for %s", old)
		case slices.ContainsFunc(c.Stores, func(s Store) bool { return slices.Contains(s.Domains, to) }):
			d.at(at, "add "+old+" to the store's domains", "%s is a domain of a store, where no route leads", to)
		default:
			rewrite[old] = to
		}
	}
	if len(rewrite) > 0 {
		r.Rewrite = rewrite
	}
}

// Reforms says whether messages go out in a form of the route's own.
func (r Route) Reforms() bool {
	return r.Encoding != "" || r.Body != "" || r.Charset != nil || r.Wrap > 0
}

// form refuses what cannot be done together.
func (d *decoder) form(at string, r *Route) {
	switch {
	case !r.Reforms():
	case r.Winmail == "make":
		d.at(join(at, "winmail"), "leave it out, or encoding, body, charset and wrap", "a message whose text and files are in a winmail.dat has no other form")
	case len(r.WinmailFor) > 0:
		d.at(join(at, "winmail_for"), "leave it out, or make a route for these domains", "encoding, body, charset and wrap are for all recipients")
	}
}

// winmail puts the recipients in order who get messages with their TNEF opened or made.
func (d *decoder) winmail(at string, r *Route) {
	at = join(at, "winmail_for")
	switch {
	case len(r.WinmailFor) > mostPatterns:
		d.at(at, "", "there are more than %d addresses", mostPatterns)
		return
	case len(r.WinmailFor) > 0 && (r.Winmail == "" || r.Winmail == "keep"):
		d.at(at, "write winmail: make, or open", "nothing is done for these recipients")
	}
	for i, text := range r.WinmailFor {
		box, err := address.Parse(text)
		switch at := index(at, i); {
		case d.failed[at]:
		case err != nil:
			d.at(at, "write partner@far.example", "%q is no mail address", clip(text))
		case !slices.ContainsFunc(r.Domains, func(pattern string) bool { return isIn(pattern, box.Domain) }):
			d.at(at, "add it to the route's domains", "the route is not for %s", box.Domain)
		default:
			r.WinmailFor[i] = box.String()
		}
	}
}

// isIn says whether a pattern has a domain.
func isIn(pattern, domain string) bool {
	return pattern == "*" || pattern == domain || strings.HasPrefix(pattern, ".") && strings.HasSuffix(domain, pattern)
}

// byToken says whether a token logs in.
func (r *Route) byToken() bool { return r.TokenFile != "" || len(r.TokenCommand) > 0 || r.OAuth != nil }

// token checks where the token of a route comes from. What is in a file, and what a command prints, changes.
func (d *decoder) token(at string, r *Route) {
	file, command := join(at, "token_file"), join(at, "token_command")
	switch {
	case r.TokenFile != "" && len(r.TokenCommand) > 0:
		d.at(command, "leave one of them out", "the token is in a file already")
	case r.OAuth != nil && (r.TokenFile != "" || len(r.TokenCommand) > 0):
		d.at(join(at, "oauth"), "leave one of them out", "the token comes from elsewhere already")
	case r.External || !r.Password.IsZero():
		d.at(at, "leave the others out", "the login is by token, and not by certificate or password as well")
	case r.User == "":
		d.at(at, "set user: whose the token is", "a token needs a user")
	case r.OAuth != nil:
	case r.TokenFile != "":
		r.TokenFile = d.path(r.TokenFile)
		d.readable(file, r.TokenFile)
	default:
		d.executable(command, &r.TokenCommand)
	}
}

// routeTLS settles how a route's connections are secured.
func (d *decoder) routeTLS(at string, r *Route) {
	byMX := r.To == "mx"
	d.authorities(join(at, "ca"), &r.CA)
	d.certificate(at, "client_", &r.ClientCertificate, &r.ClientKey)
	if r.TLS == "" && !d.failed[join(at, "tls")] {
		r.TLS = "verified"
		if byMX {
			r.TLS = "opportunistic"
		}
	}
	weak := r.TLS == "clear" || r.TLS == "opportunistic"
	switch {
	case d.failed[join(at, "tls")]:
	case r.ImplicitTLS && (weak || byMX):
		d.at(join(at, "implicit_tls"), "", "implicit TLS is for hosts, and tls is required or verified then")
	case r.User != "" && weak && r.byToken():
		d.at(join(at, "tls"), "write tls: verified", "a token needs TLS that is required or verified")
	case r.User != "" && weak:
		d.at(join(at, "tls"), "write tls: verified", "a password needs TLS that is required or verified")
	case r.ClientCertificate != "" && weak && !byMX:
		d.at(join(at, "tls"), "write tls: verified", "a client's certificate needs TLS that is required or verified")
	case r.CA != "" && r.TLS != "verified":
		d.at(join(at, "ca"), "write tls: verified", "authorities are for tls: verified")
	}
	switch {
	case byMX && r.User != "":
		d.at(join(at, "user"), "write to: smtp and the hosts", "strangers' hosts get no password")
	case r.ClientCertificate != "" && len(r.Hosts) == 0 && !d.failed[join(at, "hosts")]:
		d.at(join(at, "client_certificate"), "write to: smtp and the hosts", "only hosts that are named are shown a certificate")
	case r.External && r.ClientCertificate == "" && !d.failed[join(at, "client_certificate")]:
		d.at(join(at, "external"), "set client_certificate and client_key", "there is no certificate to log in with")
	case r.NTLM && (r.External || r.byToken()):
		d.at(join(at, "ntlm"), "leave it out", "the login is by certificate or token")
	case r.NTLM && r.User == "":
		d.at(join(at, "ntlm"), "set user and password", "there is nobody to log in as")
	case r.External && !r.Password.IsZero():
		d.at(join(at, "password"), "leave it out", "the login is by certificate")
	case d.failed[join(at, "token_file")] || d.failed[join(at, "token_command")]:
	case r.byToken():
		d.token(at, r)
	case r.External:
	case (r.User == "") != r.Password.IsZero() && !d.failed[join(at, "password")]:
		d.at(cmp.Or(map[bool]string{true: join(at, "password")}[r.User == ""], at), "", "user and password belong together")
	}
}
