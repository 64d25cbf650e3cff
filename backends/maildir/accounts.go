package maildir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
)

// account is one entry of the accounts file.
type account struct {
	address  address
	hash     *argon2id.Hash // nil: no password has been set
	name     string
	aliases  []address
	sendAs   []string  // addresses, or "@domain"
	opens    []address // of accounts whose mailboxes it may open as well
	quota    int64     // octets; 0: the store's
	disabled bool
	line     int
}

// directory is the accounts file as it was read. It is not changed any more.
type directory struct {
	accounts []*account
	mail     map[address]*account // by address and alias
	catchAll map[string]*account  // by domain
	login    map[string]*account  // by local part; nil: more than one account has it
	decoy    *argon2id.Hash
	octets   int // of the file
	// nowhere is the path where there is no file of accounts; empty: there is one. Nothing is known then of who has a mailbox here: the
	// disk may not be mounted.
	nowhere string
}

// lacks counts the accounts that another reading of the file has.
func (d *directory) lacks(other *directory) (n int) {
	for _, a := range other.accounts {
		if d.mail[a.address] == nil {
			n++
		}
	}
	return n
}

// account's view for the rest of the world.
func (a *account) view() backends.Account {
	all := []string{a.address.String()}
	add := func(another string) {
		if !slices.Contains(all, another) {
			all = append(all, another)
		}
	}
	for _, alias := range a.aliases {
		if alias.local != "" { // who gets the mail of a domain may not send as everybody in it
			add(alias.String())
		}
	}
	for _, another := range a.sendAs {
		add(another)
	}
	return backends.Account{
		ID: a.address.String(), Address: a.address.String(), Addresses: all, DisplayName: a.name,
		CredentialGeneration: a.generation(),
	}
}

// generation is another text once the password is another one: a digest of its salted hash, too
// short to be tried a dictionary against without the hash's own salt.
func (a *account) generation() string {
	if a.hash == nil {
		return "none"
	}
	sum := sha256.Sum256([]byte(a.hash.String()))
	return hex.EncodeToString(sum[:8])
}

// byLogin finds the account that a login name means: an address, an alias, or a local part
// that only one account has.
func (d *directory) byLogin(name string) *account {
	if a, err := parseAddress(name); err == nil {
		return d.mail[a]
	}
	if local, err := parseLocal(name); err == nil {
		return d.login[local]
	}
	return nil
}

// byRecipient finds the account that takes mail for an address: its own, one with a detail
// behind the separator (RFC 5233), or the domain's catch-all.
func (d *directory) byRecipient(a address, separator string) *account {
	if found := d.byOwnAddress(a, separator); found != nil {
		return found
	}
	return d.catchAll[a.domain]
}

// byOwnAddress finds the account whose own an address is, or is with a detail.
func (d *directory) byOwnAddress(a address, separator string) *account {
	if found := d.mail[a]; found != nil {
		return found
	}
	if separator != "" {
		if user, _, ok := strings.Cut(a.local, separator); ok && user != "" {
			if found := d.mail[address{user, a.domain}]; found != nil {
				return found
			}
		}
	}
	return nil
}

// problems collects what is wrong with the accounts file.
type problems []string

func (p *problems) add(node *yaml.Node, format string, args ...any) {
	*p = append(*p, fmt.Sprintf("line %d: ", node.Line)+fmt.Sprintf(format, args...))
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return errors.New(strings.Join(p, "; "))
}

// parseAccounts reads an accounts file. What is wrong comes all at once, with lines.
func parseAccounts(text []byte) (*directory, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	d := &directory{octets: len(text), mail: map[address]*account{}, catchAll: map[string]*account{}, login: map[string]*account{}}
	var p problems
	if doc.Kind != 0 {
		p.mapping(doc.Content[0], map[string]func(*yaml.Node){"accounts": func(n *yaml.Node) {
			for _, entry := range p.sequence(n) {
				d.add(&p, readAccount(&p, entry))
			}
		}})
	}
	d.decoy = argon2id.Decoy(d.commonCosts())
	return d, p.err()
}

// commonCosts are those that most of the hashes have: what a failing login should cost.
func (d *directory) commonCosts() argon2id.Costs {
	count := map[argon2id.Costs]int{}
	for _, a := range d.accounts {
		if a.hash != nil {
			count[a.hash.Costs]++
		}
	}
	most := argon2id.Usual
	for c, n := range count {
		if n > count[most] {
			most = c
		}
	}
	return most
}

func (d *directory) add(p *problems, a *account) {
	if a == nil {
		return
	}
	at := &yaml.Node{Line: a.line}
	for _, each := range append([]address{a.address}, a.aliases...) {
		switch other := d.holder(each); {
		case other != nil && other != a:
			p.add(at, "%s belongs to the account in line %d already", each, other.line)
		case each.local == "":
			d.catchAll[each.domain] = a
		default:
			d.mail[each] = a
		}
	}
	if _, twice := d.login[a.address.local]; twice {
		d.login[a.address.local] = nil
	} else {
		d.login[a.address.local] = a
	}
	d.accounts = append(d.accounts, a)
}

func (d *directory) holder(a address) *account {
	if a.local == "" {
		return d.catchAll[a.domain]
	}
	return d.mail[a]
}

// readAccount reads one entry; nil: it has no address to go by.
func readAccount(p *problems, node *yaml.Node) *account {
	a := &account{line: node.Line}
	p.mapping(node, map[string]func(*yaml.Node){
		"address":  func(n *yaml.Node) { a.address = p.address(n, p.text(n), false) },
		"password": func(n *yaml.Node) { a.hash = p.hash(n) },
		"name":     func(n *yaml.Node) { a.name = p.text(n) },
		"aliases": func(n *yaml.Node) {
			for _, each := range p.sequence(n) {
				if alias := p.address(each, p.text(each), true); alias.domain != "" {
					a.aliases = append(a.aliases, alias)
				}
			}
		},
		"send_as": func(n *yaml.Node) {
			for _, each := range p.sequence(n) {
				if other := p.address(each, p.text(each), true); other.domain != "" {
					a.sendAs = append(a.sendAs, other.String())
				}
			}
		},
		"opens": func(n *yaml.Node) {
			for _, each := range p.sequence(n) {
				if other := p.address(each, p.text(each), false); other.domain != "" {
					a.opens = append(a.opens, other)
				}
			}
		},
		"quota": func(n *yaml.Node) {
			var err error
			if a.quota, err = parseOctets(p.text(n)); err != nil {
				p.add(n, "quota: %v", err)
			}
		},
		"disabled": func(n *yaml.Node) {
			if err := n.Decode(&a.disabled); err != nil {
				p.add(n, "disabled: expected true or false")
			}
		},
	})
	if a.address.domain == "" {
		if node.Kind == yaml.MappingNode && child(node, "address") == nil {
			p.add(node, "an account needs an address")
		}
		return nil
	}
	return a
}

// mapping calls the reader of each key, and tells of keys that there are not.
func (p *problems) mapping(node *yaml.Node, readers map[string]func(*yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		p.add(node, `expected "key: value" lines`)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		read, known := readers[key.Value]
		switch {
		case !known:
			p.add(key, "unknown key %q, expected one of: %s", key.Value, strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		case seen[key.Value]:
			p.add(key, "%q stands here twice", key.Value)
		default:
			read(node.Content[i+1])
		}
		seen[key.Value] = true
	}
}

func (p *problems) sequence(node *yaml.Node) []*yaml.Node {
	if node.Kind == yaml.SequenceNode {
		return node.Content
	}
	if node.Tag != "!!null" {
		p.add(node, "expected a list")
	}
	return nil
}

func (p *problems) text(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode {
		p.add(node, "expected a single value")
		return ""
	}
	return node.Value
}

// address reads an address; domains as a whole ("@example.org") where that is allowed.
func (p *problems) address(node *yaml.Node, text string, whole bool) address {
	if domain, ok := strings.CutPrefix(text, "@"); ok && whole {
		d, err := parseDomain(domain)
		if err != nil {
			p.add(node, "%q: %v", text, err)
		}
		return address{domain: d}
	}
	a, err := parseAddress(text)
	if err != nil {
		p.add(node, "%q is no address: %v", text, err)
		return address{}
	}
	return a
}

func (p *problems) hash(node *yaml.Node) *argon2id.Hash {
	text := p.text(node)
	if text == "" {
		return nil
	}
	h, err := argon2id.Parse(text)
	if err != nil {
		p.add(node, "password: %v", err) // without the value: somebody may have put a password there
	}
	return h
}

// child is the value of a key of a mapping; nil: there is none.
func child(node *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	return nil
}
