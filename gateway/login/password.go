package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

// AppPassword is an application password of the gateway's own: one that somebody has for one
// device or program, beside the password that the store knows. What it looks like is
//
//	k7f2q-mzx4a-pw3dt-6hhur-ob2ys
//
// The first group is its id, which is no secret and stands in lists and logs. The other four are
// 100 random bits, of which nobody keeps more than an Argon2id hash and what SCRAM needs.
type AppPassword struct {
	ID      string
	Store   string // the store's name in the configuration
	Account string // a login name, in lower case
	// Owner is the store's id of the account, as it was when the password was made or used first;
	// empty: it is not known yet.
	Owner string
	Label string // for people
	Hash  string // of the whole password, see package argon2id
	// StoredKey and ServerKey are for SCRAM-SHA-256 (RFC 5802 §3), with the salt of the account
	// and scramIterations.
	StoredKey, ServerKey []byte

	Protocols []string       // that it is good for: "pop3", "submission"; empty: all
	Networks  []netip.Prefix // that it is good from; empty: everywhere
	Created   time.Time
	Expires   time.Time // zero: never
	LastUsed  time.Time // zero: never
	LastFrom  string    // the address it was used from last

	// Device is the name of the device whose it is; empty: it is a person's.
	Device string
	// Wordless says that it has no text: the device proves itself by its network or by a certificate, see [Devices].
	Wordless bool
	Disabled bool // it is good for nothing until it is enabled
	// Legacy lets the device go without TLS, or with one older than 1.2, where a listener takes such.
	Legacy bool
}

// Passwords is where application passwords are kept. An implementation may be shared by several
// gateways.
type Passwords interface {
	// Keys gives what SCRAM needs of the passwords of an account.
	Keys(ctx context.Context, store, account string) ([]ScramKeys, error)
	// FindOne gives the password of an account that has an id; nil: the account has none with it.
	FindOne(ctx context.Context, store, account, id string) (*AppPassword, error)
	// Used notes that a password was used, and whose it is if that was not known. It may leave out
	// what is hardly news.
	Used(ctx context.Context, p AppPassword, at time.Time, from string) error
	// SaltKey is what salts are made of. It is made at the first call, and then always the same.
	SaltKey(ctx context.Context) ([]byte, error)
}

// scramIterations are those that RFC 7677 §4 recommends. With 100 random bits fewer would do.
const scramIterations = 15_000

// appPasswordForm is what application passwords look like, and passwords that people think of
// do not.
var appPasswordForm = lazyregexp.New(`^[a-z2-7]{5}(-[a-z2-7]{5}){4}$`)

// idOf is the id that a text begins with, if it is an application password.
func idOf(text []byte) string {
	id, _, _ := strings.Cut(string(text), "-")
	return id
}

// groups gives random groups of five characters, 25 bits each.
func groups(n int) string {
	raw := make([]byte, 5*n) // eight characters of five octets: enough
	_, _ = rand.Read(raw)    // never fails, crypto/rand says
	text := strings.ToLower(base32.StdEncoding.EncodeToString(raw))
	var all []string
	for i := range n {
		all = append(all, text[5*i:5*i+5])
	}
	return strings.Join(all, "-")
}

// NewAppPassword makes a password by a draft that says for whom and what it is good for. The text
// of the password is shown once, to its owner, and kept nowhere.
func NewAppPassword(saltKey []byte, draft AppPassword) (made AppPassword, text string, err error) {
	made = draft
	text = groups(5)
	made.ID = idOf([]byte(text))
	if made.StoredKey, made.ServerKey = []byte{}, []byte{}; made.Wordless {
		return made, "", nil
	}
	made.Hash = argon2id.New([]byte(text)).String()
	client, err := scram.SHA256.NewClientUnprepped("", text, "")
	if err != nil {
		return made, "", err
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{
		Salt: string(saltOf(saltKey, made.Store, made.Account)), Iters: scramIterations,
	})
	made.StoredKey, made.ServerKey = keys.StoredKey, keys.ServerKey
	return made, text, err
}

// saltOf is the salt that SCRAM tells everybody who names an account, be there such an account
// or not: all of an account's passwords have the same, since it is told before it is known which
// of them the client has.
func saltOf(saltKey []byte, store, account string) []byte {
	mac := hmac.New(sha256.New, saltKey)
	mac.Write([]byte(store + "\x00" + account))
	return mac.Sum(nil)[:16]
}

// allows says why a password is not good for a login, if it is not.
func (p *AppPassword) allows(now time.Time, peer backends.Peer) error {
	switch {
	case p.Disabled:
		return errors.New("it is switched off")
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return fmt.Errorf("it has expired on %s", p.Expires.Format(time.DateOnly))
	case len(p.Protocols) > 0 && !slices.Contains(p.Protocols, peer.Protocol):
		return fmt.Errorf("it is good for %s", strings.Join(p.Protocols, ", "))
	case len(p.Networks) > 0 && !slices.ContainsFunc(p.Networks, contains(peer)):
		return errors.New("it is not good from this address")
	}
	return nil
}

// check says whether an account that a store has opened is the password's own. Names can come to
// mean somebody else: an alias that moves, an account that is removed. Until the owner is known,
// the account's addresses have to have the name that the password was made for; a store that
// tells no address has named the account by itself.
func (p *AppPassword) check(a backends.Account) error {
	if p.Owner == "" {
		if strings.Contains(p.Account, "@") && !hasName(a, p.Account) {
			return WrongCredentials("application password %s is of %s, and the store has opened %s", p.ID, p.Account, a.ID)
		}
		p.Owner = a.ID
	}
	if p.Owner != a.ID && !slices.Contains(a.FormerIDs, p.Owner) {
		return WrongCredentials("application password %s is of the account %s, and the store has opened %s", p.ID, p.Owner, a.ID)
	}
	return nil
}

func hasName(a backends.Account, name string) bool {
	is := func(text string) bool { return fold.Equal(text, name) }
	return a.Address == "" && len(a.Addresses) == 0 || is(a.ID) || is(a.Address) || slices.ContainsFunc(a.Addresses, is)
}

func contains(peer backends.Peer) func(netip.Prefix) bool {
	address := peerAddr(peer.Address).Unmap().WithZone("")
	return func(network netip.Prefix) bool { return network.Contains(address) }
}
