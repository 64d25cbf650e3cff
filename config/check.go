package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// check looks at what no field can be asked alone, and makes paths absolute.
func (d *decoder) check(c *Config, builtins []string) {
	if d.skipped[""] {
		return
	}
	d.name("hostname", &c.Hostname)
	d.state(c)
	d.certificates("tls", &c.TLS)
	d.listeners(c)
	d.stores(c, builtins)
	d.calendarLinks(c)
	d.realms(c.Login.Realms)
	d.routes(c)
	d.transfer(c.Transfer)
	d.collects(c)
	d.etrns(c)
	d.attention(&c.Attention)
}

// realms puts the domains of the realms in order.
func (d *decoder) realms(realms map[string]string) {
	for _, realm := range slices.Sorted(maps.Keys(realms)) {
		name := realms[realm]
		d.name(join("login.realms", realm), &name)
		realms[realm] = name
	}
}

// authorities checks the file of those who sign clients' certificates.
func (d *decoder) authorities(path string, file *string) {
	*file = d.path(*file)
	if *file == "" || !d.readable(path, *file) {
		return
	}
	if text, err := os.ReadFile(*file); err != nil || !x509.NewCertPool().AppendCertsFromPEM(text) {
		d.at(path, "", "the file %s has no certificate in PEM form", *file)
	}
}

// path makes a path absolute.
func (d *decoder) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(d.secrets.dir, p)
}

// domain gives a name of DNS as lower case A-labels (RFC 5890), or an error.
func domain(name string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	switch {
	case err != nil || !hostname.MatchString(ascii) || len(ascii) > 253:
		return "", fmt.Errorf("%q is not a domain name", clip(name))
	case strings.Trim(ascii, "0123456789.") == "":
		return "", fmt.Errorf("%q is an address, not a domain name", clip(name))
	}
	return ascii, nil
}

// hostname is letters, digits and hyphens (RFC 1123 §2.1).
var hostname = lazyregexp.New(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$`)

func (d *decoder) name(path string, name *string) {
	ascii, err := domain(*name)
	if err != nil {
		d.at(path, "", "%v", err)
		return
	}
	*name = ascii
}

// certificates checks those of a tls mapping.
func (d *decoder) certificates(path string, t *TLS) {
	d.certificate(path, "", &t.Certificate, &t.Key)
	if len(t.Certificates) > 0 && t.SelfSigned() && !d.failed[path] {
		d.at(join(path, "certificates"), "make it certificate and key", "there are more certificates, and no first one")
	}
	if len(t.Certificates) > mostCertificates {
		d.at(join(path, "certificates"), "", "there are more than %d certificates", mostCertificates)
		return
	}
	for i := range t.Certificates {
		c, at := &t.Certificates[i], index(join(path, "certificates"), i)
		if c.Certificate == "" && c.Key == "" && !d.failed[at] {
			d.at(at, "write it as {certificate: FILE, key: FILE}", "the certificate has no files")
		}
		d.certificate(at, "", &c.Certificate, &c.Key)
	}
}

// mostCertificates bounds a list: each handshake may look at all of them.
const mostCertificates = 100

// certificate checks that the files are there and belong together. A prefix is in front of the keys' names.
func (d *decoder) certificate(path, prefix string, certificate, key *string) {
	certificateKey, keyKey := prefix+"certificate", prefix+"key"
	switch {
	case *certificate == "" && *key == "":
		return
	case *key == "":
		d.at(path, "", "%s is set, and %s is not", certificateKey, keyKey)
		return
	case *certificate == "":
		d.at(path, "", "%s is set, and %s is not", keyKey, certificateKey)
		return
	}
	*certificate, *key = d.path(*certificate), d.path(*key)
	ok := d.readable(join(path, certificateKey), *certificate)
	if !d.readable(join(path, keyKey), *key) || !ok {
		return
	}
	if _, err := tls.LoadX509KeyPair(*certificate, *key); err != nil {
		d.at(join(path, certificateKey), "", "certificate and key cannot be used: %s", strings.TrimPrefix(err.Error(), "tls: "))
	}
}

func (d *decoder) readable(path, file string) bool {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() { // to open a pipe could take for ever
		d.at(path, "", "%s is no regular file", file)
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		d.at(path, "", "the file %s cannot be read: %v", file, reason(err))
		return false
	}
	return f.Close() == nil
}

// mostListeners bounds the list.
const mostListeners = 256

func (d *decoder) listeners(c *Config) {
	switch {
	case d.failed["listeners"] && len(c.Listeners) == 0:
		return
	case len(c.Listeners) == 0:
		d.at("listeners", "leave the key out for the default ones", "there is no listener")
	case len(c.Listeners) > mostListeners:
		d.at("listeners", "", "there are more than %d listeners", mostListeners)
		return
	}
	for i := range c.Listeners {
		l, at := &c.Listeners[i], index("listeners", i)
		if d.skipped[at] {
			continue
		}
		if l.Protocol == "" && !d.failed[join(at, "protocol")] {
			d.at(at, "", "the listener has no protocol")
		}
		if l.TLS != nil {
			d.certificates(join(at, "tls"), l.TLS)
			l.TLS.inherit(c.TLS)
		}
		if l.Proxy != nil {
			d.proxy(join(at, "proxy"), l.Proxy)
		}
		d.authorities(join(at, "client_ca"), &l.ClientCA)
		address, err := listenAddress(l.Address)
		if err != nil {
			if !d.failed[join(at, "address")] {
				d.at(join(at, "address"), "write it as 127.0.0.1:1110, [::1]:1110 or :1110", "%v", err)
			}
			continue
		}
		l.Address = address
		d.overlaps(c.Listeners, i)
		d.forAdministrators(*l, at)
		d.forDevices(*l, at)
	}
}

// forDevices checks the keys of listeners that devices come to.
func (d *decoder) forDevices(l Listener, at string) {
	keys := map[string]bool{"legacy": l.Legacy, "device_certificates": l.DeviceCertificates}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if keys[key] && (l.Protocol == ProtocolSMTP || l.Protocol == ProtocolAdmin) {
			d.at(join(at, key), "devices use pop3, pop3s, submission and submissions, on any port", "no devices log in on a listener of the protocol %s", l.Protocol)
		}
	}
	if l.DeviceCertificates && l.ClientCA != "" {
		d.at(join(at, "device_certificates"), "leave it out if the devices' certificates are signed by client_ca, or use another listener",
			"client_ca refuses the certificates of others")
	}
}

// tokenLeast is how long a token is: nobody slows down who guesses.
const tokenLeast = 20

// tokenCharacters are those of a token (RFC 6750 §2.1). With another one nobody could show it.
const tokenCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

const makeToken = "make one with: openssl rand -hex 32"

// forAdministrators: what administrators' programs ask has no login but the token, which goes over TLS or stays on this
// machine.
func (d *decoder) forAdministrators(l Listener, at string) {
	if l.Protocol != ProtocolAdmin {
		if !l.Token.IsZero() {
			d.at(join(at, "token"), "leave it out", "only admin has a token")
		}
		return
	}
	host, _, _ := net.SplitHostPort(l.Address) // it was made by JoinHostPort
	addr, err := netip.ParseAddr(host)
	here := host == "localhost" || err == nil && addr.IsLoopback()
	switch {
	case l.Token.IsZero() && !here:
		d.at(join(at, "address"), "write 127.0.0.1 or [::1], or give it a token and tls", "admin without a token is for this machine alone")
	case l.Token.IsZero() && l.TLS != nil:
		d.at(join(at, "tls"), "leave it out, or give it a token", "admin without a token is for this machine alone, and has no tls")
	case l.TLS == nil && !here:
		d.at(join(at, "address"), "give it tls ({} has the certificate of the whole gateway), or write 127.0.0.1 or [::1]",
			"admin without tls is for this machine alone: the token would be readable on the way")
	}
	if n := len(l.Token.Value); n > 0 && n < tokenLeast {
		d.at(join(at, "token"), makeToken, "the token has %d characters, and less than %d can be guessed", n, tokenLeast)
	} else if strings.Trim(l.Token.Value, tokenCharacters) != "" {
		d.at(join(at, "token"), makeToken, "the token has a blank, a line end or another character that HTTP cannot show in it")
	}
	if l.Proxy != nil || l.ClientCA != "" {
		d.at(at, "leave them out", "admin has no proxy or client_ca")
	}
}

// overlaps finds a listener before the i-th one that has its port and its address.
func (d *decoder) overlaps(listeners []Listener, i int) {
	host, port, _ := net.SplitHostPort(listeners[i].Address) // it was made by JoinHostPort
	for first, l := range listeners[:i] {
		h, p, err := net.SplitHostPort(l.Address)
		if err == nil && p == port && p != "0" && sameHost(h, host) {
			d.at(join(index("listeners", i), "address"), "", "%s is taken by %s already, which listens on %s",
				listeners[i].Address, index("listeners", first), l.Address)
			return
		}
	}
}

// sameHost says whether somebody who listens on one host keeps another from listening on the
// other.
func sameHost(a, b string) bool {
	switch {
	case a == b || everyHost(a) && everyHost(b):
		return true
	case a == "0.0.0.0":
		return !strings.Contains(b, ":")
	case b == "0.0.0.0":
		return !strings.Contains(a, ":")
	}
	return everyHost(a) || everyHost(b)
}

// everyHost knows the hosts that stand for all of the machine's addresses, of IPv4 or IPv6.
func everyHost(host string) bool { return host == "" || host == "::" || host == "0.0.0.0" }

// inherit fills in what a listener's own TLS leaves out.
func (t *TLS) inherit(from TLS) {
	if t.MinVersion == "" {
		t.MinVersion = from.MinVersion
	}
	if t.Certificate == "" && t.Key == "" && t.Certificates == nil {
		t.Certificate, t.Key, t.Certificates = from.Certificate, from.Key, slices.Clone(from.Certificates)
	}
}

// proxy checks who may say whose connection it is.
func (d *decoder) proxy(path string, p *Proxy) {
	if len(p.From) == 0 && !d.failed[path] {
		d.at(path, "write it as {from: [10.0.0.0/8]}", "the proxy has no networks to come from")
	}
	for i, n := range p.From {
		if at := index(join(path, "from"), i); n.Prefix().Bits() == 0 && !d.failed[at] {
			d.at(at, "name the balancers' networks", "%s would let everybody claim any address", n)
		}
	}
}

// listenAddress checks and normalizes "host:port".
func listenAddress(address string) (string, error) {
	if address == "" {
		return "", errors.New("the listener has no address")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q is not an address with a port", clip(address))
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("%q is not a port", clip(port))
	}
	switch ip, err := netip.ParseAddr(host); {
	case host == "":
	case err == nil && ip.IsUnspecified():
		host = ip.String()
	case err == nil:
		host = ip.Unmap().String()
	default:
		if host, err = domain(host); err != nil {
			return "", err
		}
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10)), nil
}

// entryName is what can stand in a path, a destination, a log line and a metric's label.
var entryName = lazyregexp.New(`^[a-z0-9][-a-z0-9_]{0,62}$`)

// entryName checks the name of an entry of a list, and that no entry before it has the name.
func (d *decoder) entryName(list, kind, name string, i int, names map[string]int) {
	at := index(list, i)
	switch first, twice := names[name]; {
	case name == "" && d.failed[join(at, "name")]:
	case name == "":
		d.at(at, "", "the %s has no name", kind)
	case !entryName.MatchString(name):
		d.at(join(at, "name"), "", "a %s's name is up to 63 lower case letters, digits, hyphens and underscores", kind)
	case twice:
		d.at(join(at, "name"), "", "%q is the name of %s already", name, index(list, first))
	default:
		names[name] = i
	}
}

func (d *decoder) stores(c *Config, builtins []string) {
	if len(c.Stores) == 0 && !d.failed["stores"] {
		d.at("stores", "", "there is no store: nobody could read or send mail")
	}
	names, domains := make(map[string]int), make(map[string]int)
	for i := range c.Stores {
		s, at := &c.Stores[i], index("stores", i)
		if d.skipped[at] {
			continue
		}
		d.entryName("stores", "store", s.Name, i, names)
		d.domains(join(at, "domains"), s.Domains, i, domains)
		d.sendAs(join(at, "send_as"), s.SendAs)
		d.onlyDefault(c.Stores, i)
		d.mailboxes(join(at, "mailboxes"), s)
		d.plugin(join(at, "plugin"), &s.Plugin, builtins)
		if s.Settings.JSON == nil {
			s.Settings.JSON = []byte("{}")
		}
	}
}

// onlyDefault finds a store before the i-th one that is the default as well.
func (d *decoder) onlyDefault(stores []Store, i int) {
	first := slices.IndexFunc(stores, func(s Store) bool { return s.Default })
	if stores[i].Default && first != i {
		d.at(join(index("stores", i), "default"), "", "%s is the default already", index("stores", first))
	}
}

func (d *decoder) domains(path string, names []string, store int, seen map[string]int) {
	for i := range names {
		at := index(path, i)
		if d.failed[at] {
			continue
		}
		d.name(at, &names[i])
		if first, twice := seen[names[i]]; twice {
			d.at(at, "", "%s is a domain of %s already", names[i], index("stores", first))
			continue
		}
		seen[names[i]] = store
	}
}

// sendAs puts domains and addresses in order: their domains are lower case A-labels.
func (d *decoder) sendAs(path string, names []string) {
	for i, name := range names {
		at := index(path, i)
		if d.failed[at] {
			continue
		}
		local, host, found := strings.Cut(name, "@")
		if !found {
			local, host = "", name
		}
		if found && (local == "" || strings.ContainsAny(local, " <>,\t")) {
			d.at(at, "", "%q is neither a domain nor an address", clip(name))
			continue
		}
		d.name(at, &host)
		if names[i] = host; found {
			names[i] = local + "@" + host
		}
	}
}

func (d *decoder) plugin(path string, p *Plugin, builtins []string) {
	switch {
	case p.Builtin != "":
		if !slices.Contains(builtins, p.Builtin) {
			d.at(path, cmp.Or(didYouMean(p.Builtin, builtins), pluginShapes), "there is no built-in backend %q", clip(p.Builtin))
		}
	case len(p.Command) > 0:
		d.executable(join(path, "command"), &p.Command)
	case !d.failed[path]:
		d.at(path, pluginShapes, "the store has no plugin")
	}
}

// executable finds a command's executable.
func (d *decoder) executable(path string, command *[]string) {
	at := index(path, 0)
	name := (*command)[0]
	if name == "" {
		if !d.failed[at] {
			d.at(at, "", "the command is empty")
		}
		return
	}
	if strings.ContainsRune(name, '/') || strings.ContainsRune(name, filepath.Separator) {
		name = d.path(name)
	}
	found, err := exec.LookPath(name)
	if err != nil {
		d.at(at, "", "%s cannot be run: %v", name, lookupReason(err))
		return
	}
	*command = slices.Clone(*command)
	(*command)[0] = found
}

func lookupReason(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return reason(e.Err)
	}
	return reason(err)
}
