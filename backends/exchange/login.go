package exchange

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
)

// login is what a client has presented, in the server's terms.
type login struct {
	address    string // of the mailbox
	credential signin.Credential
}

// person is whose mailbox it is.
type person struct {
	dn      string
	account backends.Account
}

// Login verifies a credential by asking the address book with it.
func (s *Store) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	login, err := s.login(c)
	if err != nil {
		return backends.Account{}, err
	}
	p, unbind, err := s.ask(ctx, login)
	unbind()
	return p.account, err
}

// login checks the form of a credential.
func (s *Store) login(c backends.Credential) (login, error) {
	if err := s.ready(); err != nil {
		return login{}, err
	}
	switch {
	case c.Kind != backends.CredentialPassword:
		return login{}, backends.Fail(backends.Unsupported, "the server is not asked with a %s", c.Kind)
	case c.ActAs != "" && !fold.Equal(c.ActAs, c.User):
		return login{}, backends.Fail(backends.BadCredentials, "nobody acts for %s here", c.ActAs)
	case c.User == "" || len(c.Secret) == 0 || len(c.User) > userMost || strings.Contains(c.User, ":") || // RFC 7617 §2
		strings.ContainsFunc(c.User+string(c.Secret), unicode.IsControl):
		return login{}, backends.Fail(backends.BadCredentials, "the user name or the secret is empty or cannot be sent")
	}
	address := c.User
	local, _, found := strings.Cut(address, "@")
	if !found && len(s.domains) > 0 {
		address += "@" + s.domains[0]
	}
	user := address
	if s.settings.Username == usernameLocal || s.settings.Domain != "" {
		user = local
	}
	if s.settings.Domain != "" {
		user = s.settings.Domain + `\` + user
	}
	return login{address: address, credential: signin.Credential{User: user, Password: string(c.Secret)}}, nil
}

// userMost is how many octets a user name may have.
const userMost = 512

// columns are what is asked of the address book.
var columns = []mapi.Tag{
	mapi.PidTagEmailAddress, mapi.PidTagSmtpAddress, mapi.PidTagDisplayName, mapi.PidTagAddressBookProxyAddresses,
}

// ask asks the address book who somebody is, with their own credential. unbind ends the session context there: it
// waits for the server, and is to be called in any case.
func (s *Store) ask(ctx context.Context, login login) (p person, unbind func(), err error) {
	book, err := mapihttp.Bind(ctx, s.config(addressBook, login))
	if err != nil {
		return person{}, func() {}, failure(err)
	}
	unbind = func() { _ = book.Unbind(ctx) } // Unbind ends the connection whatever comes of it
	found, err := book.Resolve(ctx, []string{"=SMTP:" + login.address}, columns)
	if err != nil {
		return person{}, unbind, failure(err)
	}
	if found[0].Outcome != mapihttp.Resolved {
		return person{}, unbind, backends.Fail(backends.Permanent, "the address book has no mailbox, or several, of the address %s", login.address)
	}
	p, err = newPerson(found[0].Values, login.address)
	if err == nil {
		s.people.remember(login.address, p)
	}
	return p, unbind, err
}

// newPerson makes a person of what the address book has.
func newPerson(values []mapi.Value, asked string) (person, error) {
	text := func(i int) string {
		t, _ := values[i].(mapi.String)
		return string(t)
	}
	dn, address := text(0), text(1)
	if dn == "" || strings.ContainsFunc(dn, unicode.IsControl) {
		return person{}, backends.Fail(backends.Temporary, "the address book has no distinguished name of %s", asked)
	}
	if !strings.Contains(address, "@") {
		address = asked
	}
	a := backends.Account{ID: accountID(dn), Address: fold.Lower(address), DisplayName: text(2)}
	a.Addresses = []string{a.Address}
	proxies, _ := values[3].(mapi.Multiple[mapi.String])
	for _, one := range proxies {
		kind, proxy, _ := strings.Cut(string(one), ":")
		if proxy = fold.Lower(proxy); fold.Equal(kind, mapi.AddressSMTP) && strings.Contains(proxy, "@") && !slices.Contains(a.Addresses, proxy) {
			a.Addresses = append(a.Addresses, proxy)
		}
	}
	return person{dn: dn, account: a}, nil
}

// idMost is how many octets an account's id may have.
const idMost = 255

// accountID makes an account's id of its distinguished name, which lasts.
func accountID(dn string) string {
	id := fold.Lower(dn)
	if len(id) > idMost {
		return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(id)))
	}
	return id
}

// peopleMost bounds how many people are remembered.
const peopleMost = 10_000

// people are remembered by the address that they log in with, so that the address book is asked once. A password that belongs to
// it is needed all the same: the server is connected to with it. The zero value is ready.
type people struct {
	mu    sync.Mutex
	known map[string]person
}

func (p *people) remember(address string, one person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= peopleMost {
		p.known = make(map[string]person)
	}
	p.known[fold.Lower(address)] = one
}

func (p *people) forget(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, fold.Lower(address))
}

func (p *people) find(address string) (person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.known[fold.Lower(address)]
	return one, ok
}
