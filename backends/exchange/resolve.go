package exchange

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/remote"
)

// Resolve asks the server that mail goes to, or the address book where messages are created in mailboxes.
func (s *Store) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	switch {
	case s.settings.Delivery.Given():
		return s.hop().Resolve(ctx, q)
	case s.settings.Delivery.Create:
		return s.resolve(ctx, q.Recipients)
	}
	return nil, noDelivery
}

var noDelivery = backends.Fail(backends.Unsupported, "none of delivery.smtp, delivery.lmtp and delivery.create is set")

// resolve finds the mailboxes of recipients. The address book is asked, by the service account, about those that are not remembered.
func (s *Store) resolve(ctx context.Context, recipients []backends.Recipient) ([]backends.Verdict, error) {
	own := backends.Credential{Kind: backends.CredentialImpersonation, User: s.settings.Service.own()}
	if err := s.locate(ctx, own); err != nil {
		return nil, err
	}
	known := make(map[string]person, len(recipients))
	var asked []string
	for _, r := range recipients {
		address := s.nameOf(r.Address)
		if _, again := known[address]; again || !sendableAddress(r.Address) {
			continue
		}
		p, remembered := s.directory.find(address)
		if known[address] = p; !remembered {
			asked = append(asked, address)
		}
	}
	if err := s.askFor(ctx, asked, known); err != nil {
		return nil, err
	}
	verdicts := make([]backends.Verdict, len(recipients))
	for i, r := range recipients {
		verdicts[i].Recipient = r.Address
		p := known[s.nameOf(r.Address)]
		if p.dn == "" || isDN(s.nameOf(r.Address)) && s.ownAddress(p.account) == "" {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "the address book has no mailbox of that address, or several")
			continue
		}
		verdicts[i].Account = p.account.ID
	}
	return verdicts, nil
}

// nameOf returns what the address book knows a recipient by: the address of the mailbox, or the distinguished name that the address encapsulates,
// as answers to old mail do. Only what lies within the store's own domains is decoded, and that the address is one for this store was decided before.
// MS-OXCMAIL §2.2.3.1.2.
func (s *Store) nameOf(address string) string {
	kind, original, ok := mime.Decapsulate(address, s.domains)
	switch {
	case ok && kind == mapi.AddressSMTP:
		address = original
	case ok && kind == mapi.AddressEX && isDN(original):
		return fold.Lower(original)
	case ok:
		return fold.Lower(address) // what is in it has no detail of its own
	}
	return fold.Lower(remote.MailboxOf(address))
}

// isDN says whether a name for the address book is a distinguished name, which begins with the organisation. MS-OXOABK §2.2.1.1.
func isDN(name string) bool { return strings.HasPrefix(fold.Lower(name), "/o=") }

// mailboxOf returns the address of a recipient's mailbox, who was resolved a moment ago.
func (s *Store) mailboxOf(address string) (string, error) {
	name := s.nameOf(address)
	if !isDN(name) {
		return name, nil
	}
	p, known := s.directory.find(name)
	own := s.ownAddress(p.account)
	if !known || p.dn == "" || own == "" {
		return "", backends.Fail(backends.Temporary, "who %s is has been forgotten", address)
	}
	return own, nil
}

// ownAddress returns an account's first address within the store's domains; empty: it has none, as a contact elsewhere, whom
// a distinguished name leads to as well.
func (s *Store) ownAddress(a backends.Account) string {
	for _, address := range a.Addresses {
		domain := address[strings.LastIndexByte(address, '@')+1:]
		if slices.ContainsFunc(s.domains, func(own string) bool { return fold.Equal(own, domain) }) {
			return address
		}
	}
	return ""
}

// askedMost is about how many addresses one question to the address book is: each by two names at the most.
const askedMost = 50

// askFor asks the address book about addresses.
func (s *Store) askFor(ctx context.Context, addresses []string, known map[string]person) error {
	if len(addresses) == 0 {
		return nil
	}
	login := s.asService(s.settings.Service.own())
	_, err := byEither(s, login,
		func() (struct{}, error) { return struct{}{}, s.askForByMAPI(ctx, login, addresses, known) },
		func() (struct{}, error) { return struct{}{}, s.askForByEWS(ctx, login, addresses, known) })
	return err
}

// askForByMAPI is askFor by MAPI over HTTP.
func (s *Store) askForByMAPI(ctx context.Context, login login, addresses []string, known map[string]person) error {
	book, err := s.bind(ctx, login)
	if err != nil {
		return err
	}
	defer book.Unbind(ctx) //nolint:errcheck // it ends the connection whatever comes of it
	for len(addresses) > 0 {
		chunk := addresses[:min(len(addresses), askedMost)]
		addresses = addresses[len(chunk):]
		people, err := s.lookUp(ctx, book, chunk)
		if err != nil {
			return err
		}
		for i, address := range chunk {
			known[address] = people[i]
			s.directory.remember(address, people[i])
		}
	}
	return nil
}

// directory remembers for a while what the address book has said of recipients, also that it does not know them. The zero value is ready.
type directory struct {
	mu    sync.Mutex
	known map[string]entry
}

type entry struct {
	person person // without a distinguished name: there is no mailbox
	until  time.Time
}

// Bounds of a directory.
const (
	entriesMost = 10_000
	knownFor    = 10 * time.Minute
	unknownFor  = time.Minute
)

func (d *directory) remember(address string, p person) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil || len(d.known) >= entriesMost {
		d.known = make(map[string]entry)
	}
	lasts := knownFor
	if p.dn == "" {
		lasts = unknownFor
	}
	d.known[address] = entry{p, time.Now().Add(lasts)}
}

func (d *directory) find(address string) (person, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.known[address]
	return e.person, ok && time.Now().Before(e.until)
}
