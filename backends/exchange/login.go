package exchange

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
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
	own        string // of the mailbox of who signs in
	service    bool   // that is the service account, which acts for the mailbox's user
	credential signin.Credential
	server     *signin.Login // where it signs in
}

// foreign says that the mailbox is not that of who signs in.
func (l login) foreign() bool { return !fold.Equal(l.address, l.own) }

// person is whose mailbox it is.
type person struct {
	dn      string
	account backends.Account
}

// Login verifies a credential by asking the address book with it. Whether it opens the mailbox of another, the mailbox says.
func (s *Store) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	if err := s.locate(ctx, c); err != nil {
		return backends.Account{}, err
	}
	login, err := s.login(c)
	if err != nil {
		return backends.Account{}, err
	}
	return byEither(s, login,
		func() (backends.Account, error) { return s.loginByMAPI(ctx, login) },
		func() (backends.Account, error) { return s.loginByEWS(ctx, login) })
}

// loginByMAPI verifies a credential by opening the mailbox with it. The session waits for what may follow.
func (s *Store) loginByMAPI(ctx context.Context, login login) (backends.Account, error) {
	s.people.refresh(login.own, login.address)
	c, who, err := s.signIn(ctx, login)
	if err != nil {
		return backends.Account{}, err
	}
	account := who.owner.account
	if login.foreign() && !login.service { // whether that is theirs to open, the Inbox says
		m, err := s.reachIn(ctx, c, who, "")
		if err != nil {
			return backends.Account{}, err
		}
		account = m.account
	}
	s.waiting.put(&entered{c, who})
	return account, nil
}

// login checks the form of a credential. The server must be known: see locate.
func (s *Store) login(c backends.Credential) (login, error) {
	if err := s.ready(); err != nil {
		return login{}, err
	}
	l, err := s.form(c)
	if err == nil {
		l.server = s.server.Login(l.credential)
	}
	return l, err
}

// form makes a login of a credential.
func (s *Store) form(c backends.Credential) (login, error) {
	switch {
	case c.Kind == backends.CredentialImpersonation && s.settings.Service.given():
		return s.impersonate(c)
	case !s.takes(c.Kind):
		return login{}, backends.Fail(backends.Unsupported, "the server is not asked with a %s", c.Kind)
	case c.User == "" || len(c.Secret) == 0 || len(c.User) > userMost || strings.Contains(c.User, ":") || // RFC 7617 §2
		strings.ContainsFunc(c.User+string(c.Secret), unicode.IsControl):
		return login{}, backends.Fail(backends.BadCredentials, "the user name or the secret is empty or cannot be sent")
	}
	address := s.addressOf(c.User)
	local, _, _ := strings.Cut(address, "@")
	user := address
	if s.settings.Username == usernameLocal || s.settings.Domain != "" {
		user = local
	}
	if s.settings.Domain != "" {
		user = s.settings.Domain + `\` + user
	}
	l := login{address: address, own: address, credential: signin.Credential{User: user, Password: string(c.Secret)}}
	if c.Kind == backends.CredentialToken {
		l.credential = signin.Credential{User: user, Token: string(c.Secret)}
	}
	if c.ActAs != "" {
		l.address = s.addressOf(c.ActAs)
	}
	return l, nil
}

// takes says whether the server is asked with a kind of credential.
func (s *Store) takes(kind backends.CredentialKind) bool {
	switch method := signin.Method(s.settings.Authentication); {
	case s.settings.Protocol == protocolRPC:
	case method == signin.Auto:
		return kind == backends.CredentialPassword || kind == backends.CredentialToken
	case method == signin.Bearer:
		return kind == backends.CredentialToken
	}
	return kind == backends.CredentialPassword
}

// impersonate takes the gateway's word for who somebody is. Whether they may open the mailbox of another it does not say, and the
// service account may open all.
func (s *Store) impersonate(c backends.Credential) (login, error) {
	switch {
	case c.User == "" || len(c.User) > userMost || strings.ContainsFunc(c.User, unicode.IsControl):
		return login{}, backends.Fail(backends.BadCredentials, "the user name is empty or cannot be one")
	case c.ActAs != "" && !fold.Equal(s.addressOf(c.ActAs), s.addressOf(c.User)):
		return login{}, backends.Fail(backends.Permanent, "acting for %s, nobody knows whether that opens the mailbox of %s", c.User, c.ActAs).
			WithCode("5.7.1").Say("that mailbox is opened with the account's own password alone")
	}
	return s.settings.Service.login(s.addressOf(c.User)), nil
}

// asService is the service account, who opens somebody's mailbox.
func (s *Store) asService(address string) login {
	l := s.settings.Service.login(address)
	l.server = s.server.Login(l.credential)
	return l
}

// addressOf is a login name as an address.
func (s *Store) addressOf(name string) string {
	if !strings.Contains(name, "@") && len(s.domains) > 0 {
		name += "@" + s.domains[0]
	}
	return name
}

// userMost is how many octets a user name may have.
const userMost = 512

// columns are what is asked of the address book.
var columns = []mapi.Tag{
	mapi.PidTagEmailAddress, mapi.PidTagSmtpAddress, mapi.PidTagDisplayName, mapi.PidTagAddressBookProxyAddresses,
}

// parties are who signs in, and whose mailbox it is. Mostly they are one.
type parties struct{ user, owner person }

// ask asks the address book who somebody is, with their own credential. unbind ends the session context there: it
// waits for the server, and is to be called in any case.
func (s *Store) ask(ctx context.Context, login login) (who parties, unbind func(), err error) {
	book, err := s.bind(ctx, login)
	if err != nil {
		return parties{}, func() {}, err
	}
	who, err = s.identify(ctx, book, login)
	return who, func() { _ = book.Unbind(ctx) }, err // Unbind ends the connection whatever comes of it
}

// bind signs in to the address book.
func (s *Store) bind(ctx context.Context, login login) (b book, err error) {
	err = s.guarded(ctx, login, func() (err error) {
		b, err = s.openBook(ctx, login)
		return err
	})
	return b, err
}

// identify finds who signs in, and whose mailbox it is.
func (s *Store) identify(ctx context.Context, book book, login login) (who parties, err error) {
	addresses := []string{login.own}
	if login.foreign() {
		addresses = append(addresses, login.address)
	}
	people, err := s.lookUp(ctx, book, addresses)
	if err != nil {
		return parties{}, err
	}
	who = parties{user: people[0], owner: people[len(people)-1]}
	switch {
	case who.user.dn == "" && login.service:
		err = backends.Fail(backends.Temporary, "%w: the service account's address %s, which needs one", errUnknownMailbox, login.own)
	case who.user.dn == "":
		err = backends.Fail(backends.Permanent, "%w: %s", errUnknownMailbox, login.own)
	case who.owner.dn == "" && login.service:
		err = backends.Fail(backends.BadCredentials, "%w: %s", errUnknownMailbox, login.address)
	case who.owner.dn == "":
		err = notOpen(login, backends.Fail(backends.NotFound, "%w", errUnknownMailbox))
	}
	return who, err
}

// lookUp asks the address book about addresses, and remembers those that it finds. A person without a distinguished name
// was not found.
func (s *Store) lookUp(ctx context.Context, book book, addresses []string) ([]person, error) {
	var names []string
	var of []int // whose each name is
	for i, address := range addresses {
		for _, name := range bookNames(address) {
			names, of = append(names, name), append(of, i)
		}
	}
	found, err := book.Resolve(ctx, names, columns)
	if err != nil {
		return nil, failure(err)
	}
	all := make([]person, len(addresses))
	for n, i := range of {
		address := addresses[i]
		if found[n].Outcome != mapihttp.Resolved || all[i].dn != "" || isDN(address) && !hasDN(found[n].Values, address) {
			continue
		}
		if all[i], err = newPerson(found[n].Values, address); err != nil {
			return nil, err
		}
		if !isDN(address) {
			s.people.remember(address, all[i])
		}
	}
	return all, nil
}

// bookNames are what the address book is asked for to find who has an address, or a distinguished name: that of today, or one of before
// (its X500 addresses). "=" asks for exactly that. MS-OXNSPI §3.1.4.7.
func bookNames(address string) []string {
	if isDN(address) {
		return []string{"=" + address, "=" + addressX500 + ":" + address}
	}
	return []string{"=" + mapi.AddressSMTP + ":" + address}
}

// addressX500 is the type of the distinguished names that somebody had before, among the proxy addresses (MS-OXOABK §2.2.3.23).
const addressX500 = "X500"

// hasDN says whether an entry of the address book has a distinguished name, or had it, and an address: what else a name could mean does not count.
func hasDN(values []mapi.Value, dn string) bool {
	own, _ := values[0].(mapi.String)
	address, _ := values[1].(mapi.String)
	proxies, _ := values[3].(mapi.Multiple[mapi.String])
	was := func(proxy mapi.String) bool { return fold.Equal(string(proxy), addressX500+":"+dn) }
	return strings.Contains(string(address), "@") && (fold.Equal(string(own), dn) || slices.ContainsFunc(proxies, was))
}

// guarded does what presents the credential of a login.
func (s *Store) guarded(ctx context.Context, login login, something func() error) error {
	if login.service {
		return s.guard.do(ctx, something)
	}
	return something()
}

// notOpen is the failure of opening a mailbox that is another's. One that is not there, and one that is not theirs to open, are told alike.
func notOpen(login login, err error) error {
	if !login.foreign() {
		return err
	}
	switch backends.KindOf(err) {
	case backends.Permanent, backends.NotFound:
	default:
		return err
	}
	if login.service {
		return backends.Fail(backends.Temporary, "the service account %s may not open the mailbox %s; see Add-MailboxPermission … -AccessRights FullAccess: %w",
			login.own, login.address, err)
	}
	return backends.Fail(backends.Permanent, "%s may not open the mailbox of %s: %w", login.own, login.address, err).
		WithCode("5.7.1").Say("this account may not open that mailbox")
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
	known map[string]acquaintance
}

// acquaintance is a person, and when the address book told of them.
type acquaintance struct {
	person
	asked time.Time
}

// peopleFresh is how long a login takes for granted what the address book has told: names and addresses change.
const peopleFresh = 10 * time.Minute

func (p *people) remember(address string, one person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil || len(p.known) >= peopleMost {
		p.known = make(map[string]acquaintance)
	}
	p.known[fold.Lower(address)] = acquaintance{one, time.Now()}
}

// refresh forgets those of whom the address book has told too long ago.
func (p *people) refresh(addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, address := range addresses {
		if address = fold.Lower(address); time.Since(p.known[address].asked) > peopleFresh {
			delete(p.known, address)
		}
	}
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
	return one.person, ok
}
