package oauth

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/dipylon/dipylon/backends/pause"
	"github.com/dipylon/dipylon/backends/vault"
)

// What gateways share: each token stands in the vault, and who wants another one takes a lease first, so that one of them
// asks the issuer and the others wait for what it gets. Who ends in the middle keeps them waiting until the lease is over, which is
// short, and made longer as long as the request takes.
//
// With a refresh token the entry is the login, too. A gateway that ends between the issuer's answer and the vault's takes a
// refresh token with it that nobody else has. Where the issuer lets the old one be used again for a while, nothing is lost; where
// it does not, somebody has to log in again, and is told so.

// kept is what the vault has, encrypted.
type kept struct {
	Token   string        `json:"token,omitempty"`
	Life    time.Duration `json:"life,omitempty"` // what the token had left when it was put
	Refresh string        `json:"refresh,omitempty"`
}

// place is where in the vault a token is, and what it is encrypted with.
type place struct {
	vault vault.Vault
	name  string
	bound []byte // into the encryption: whose it is
	seal  cipher.AEAD
}

// loginName is the entry of a login. A token without a login has a name that is made of what it is good for, by a key: other
// settings have other tokens, and the name says nothing of whose mailbox it is.
const loginName = "login"

// place says where a mailbox's token is.
func (s *Source) place(mailbox string) (place, error) {
	secret, err := s.config.sealSecret()
	if err != nil {
		return place{}, err
	}
	p := place{vault: s.config.Vault.Shared, name: loginName}
	if s.config.Grant != RefreshToken {
		if p.name, err = s.config.tokenName(secret, s.key(mailbox)); err != nil {
			return place{}, err
		}
	}
	p.bound = []byte(s.config.Vault.Name + "\x00" + p.name)
	p.seal, err = sealOf(secret, "dipylon oauth vault")
	return p, err
}

// sealSecret is what things in the vault are encrypted with: the administrator's key, or else that with which whoever has it
// gets tokens anyway.
func (c Config) sealSecret() ([]byte, error) {
	switch {
	case c.Vault.Key != "":
		return []byte(c.Vault.Key), nil
	case c.ClientSecret != "":
		return []byte(c.ClientSecret), nil
	case c.Key != "":
		return os.ReadFile(c.Key)
	case c.ServiceAccount != "":
		account, err := readServiceAccount(c.ServiceAccount)
		return []byte(account.PrivateKey), err
	}
	return nil, errors.New("nothing is there to encrypt with")
}

// tokenName is the name of a mailbox's token.
func (c Config) tokenName(secret []byte, key string) (string, error) {
	named, err := hkdf.Key(sha256.New, secret, nil, "dipylon oauth vault name", 32)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, named)
	fmt.Fprintf(mac, "%q", append([]string{c.Issuer, c.TokenURL, string(c.Grant), c.ClientID, c.ServiceAccount, key}, c.Scopes...))
	return "token-" + hex.EncodeToString(mac.Sum(nil)[:16]), nil
}

// open decrypts an entry.
func (p place) open(e vault.Entry) (k kept, err error) {
	if e.Value == nil {
		return kept{}, nil
	}
	text, err := p.seal.Open(nil, nil, e.Value, p.bound)
	if err != nil || json.Unmarshal(text, &k) != nil {
		return kept{}, &Error{Kind: VaultUnusable, Err: errors.New("what the state has was encrypted with another seal_key, or is damaged")}
	}
	return k, nil
}

// change makes what is put. What an access token alone is worth ends with it.
func (p place) change(k kept, lease vault.Lease) (vault.Change, error) {
	text, err := json.Marshal(k)
	if err != nil {
		return vault.Change{}, err
	}
	c := vault.Change{Value: p.seal.Seal(nil, nil, text, p.bound), Version: lease.Version, Lease: lease.ID}
	if k.Refresh == "" {
		c.Keep = k.Life
	}
	return c, nil
}

// The intervals at which a gateway looks whether another one has got a token.
const sharedAgain, sharedAgainMost = 100 * time.Millisecond, time.Second

// otherLogins is how many times in a row a login may turn out to be void because there is another one by now.
const otherLogins = 3

// errOtherLogin says that a login is void, and that there is another one by now.
var errOtherLogin = errors.New("there is another login")

// together takes the token that another gateway has got, or gets one for all of them.
func (s *Source) together(ctx context.Context, mailbox string, refused [sha256.Size]byte) (grant, error) {
	at, err := s.place(mailbox)
	switch {
	case err != nil && s.config.Grant == RefreshToken:
		return grant{}, &Error{Kind: VaultUnusable, Err: err}
	case err != nil:
		return s.fetch(ctx, mailbox, "") // which says what is wrong
	}
	entry, err := at.vault.Get(ctx, at.name)
	if err != nil {
		return s.alone(ctx, mailbox, err)
	}
	if g, good := s.takeOver(at, entry, refused); good {
		return g, nil
	}
	for range otherLogins {
		lease, err := s.awaitLease(ctx, at, refused)
		if err != nil {
			return s.alone(ctx, mailbox, err)
		}
		if g, good := s.takeOver(at, lease.Entry, refused); good {
			s.release(at, lease)
			return g, nil
		}
		g, err := s.renew(ctx, at, mailbox, lease)
		if !errors.Is(err, errOtherLogin) {
			return g, err
		}
	}
	return grant{}, &Error{Kind: LoginNeeded, Detail: "somebody logs in again and again"}
}

// alone is what is done where nothing can be shared: a token is got for this gateway alone, unless that could end a login.
func (s *Source) alone(ctx context.Context, mailbox string, err error) (grant, error) {
	if known, is := errors.AsType[*Error](err); is {
		return grant{}, known
	}
	if s.config.Grant == RefreshToken {
		return grant{}, &Error{Kind: StateUnusable, Err: err}
	}
	return s.fetch(ctx, mailbox, "")
}

// leaseLife is how long a lease lasts of whom nothing is heard. It is extended leaseParts times in that time.
const leaseLife, leaseParts = 15 * time.Second, 4

// leaseLife is how long a lease lasts: longer than requests take where it cannot be extended.
func (s *Source) leaseLife(at place) time.Duration {
	if _, can := at.vault.(vault.Extender); can {
		return s.config.LeaseLife
	}
	return min(3*s.config.Timeout, vault.LeaseMost)
}

// hold extends a lease until stop is called. Where that fails it runs out: somebody else may ask the issuer, too.
func (s *Source) hold(at place, lease vault.Lease) (stop func()) {
	longer, can := at.vault.(vault.Extender)
	if !can {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause.For(ctx, s.config.LeaseLife/leaseParts) {
			if held, err := longer.Extend(ctx, at.name, lease.ID, s.config.LeaseLife); err == nil && !held {
				return
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// awaitLease waits for the lease, or for a token that another gateway has got.
func (s *Source) awaitLease(ctx context.Context, at place, refused [sha256.Size]byte) (vault.Lease, error) {
	for wait := sharedAgain; ; wait = min(2*wait, sharedAgainMost) {
		lease, err := at.vault.Lease(ctx, at.name, s.leaseLife(at))
		if err != nil || lease.ID != "" {
			return lease, err
		}
		if _, good := s.takeOver(at, lease.Entry, refused); good {
			return lease, nil
		}
		if !pause.For(ctx, wait) {
			return lease, &Error{Kind: Outage, Detail: "another gateway is asking the issuer, which has not answered it yet", Err: context.Cause(ctx)}
		}
	}
}

// takeOver is the token of an entry, where it need not be renewed yet and no server has refused it. How old it is the state's clock
// says: this machine's may be wrong.
func (s *Source) takeOver(at place, e vault.Entry, refused [sha256.Size]byte) (g grant, good bool) {
	k, err := at.open(e)
	left := k.Life - e.Age
	if err != nil || k.Token == "" || e.Age < 0 || left <= min(renewAhead, k.Life/5) || sha256.Sum256([]byte(k.Token)) == refused {
		return grant{}, false
	}
	now := s.config.Now()
	return grant{token: k.Token, since: now.Add(-e.Age), expiry: now.Add(left), refresh: k.Refresh, shared: true}, true
}

// renew asks the issuer, with the lease, and puts what comes where all have it.
func (s *Source) renew(ctx context.Context, at place, mailbox string, lease vault.Lease) (g grant, err error) {
	defer s.hold(at, lease)()
	refresh := ""
	if s.config.Grant == RefreshToken {
		s.keeping.Lock() // or what could not be kept before would be while the next is asked for with it
		defer s.keeping.Unlock()
		refresh, err = s.refreshToken(ctx, at, lease)
	}
	if err == nil {
		g, err = s.fetch(ctx, mailbox, refresh)
	}
	if err != nil && g.refresh != "" && g.refresh != refresh { // what came beside is not lost
		s.save(at, lease, kept{Refresh: g.refresh})
		return grant{}, err
	}
	if err != nil {
		s.release(at, lease)
		return grant{}, s.refusedLogin(ctx, at, lease, err)
	}
	s.save(at, lease, kept{Token: g.token, Life: g.life(), Refresh: g.refresh})
	return g, nil
}

// refreshToken is that of the login: what this gateway could not put into the vault yet, what is there, or what an earlier version has
// left in a file.
func (s *Source) refreshToken(ctx context.Context, at place, lease vault.Lease) (string, error) {
	s.mu.Lock()
	mine := s.unsaved
	s.mu.Unlock()
	if mine != nil {
		switch e, err := at.vault.Get(ctx, at.name); {
		case err != nil:
			return "", &Error{Kind: StateUnusable, Err: err}
		case e.Version != lease.Version: // it could be put since the lease was taken, or somebody has logged in
			return "", errOtherLogin
		case mine.lease.Version == e.Version:
			return mine.kept.Refresh, nil
		}
	}
	k, err := at.open(lease.Entry)
	if err != nil || k.Refresh != "" {
		return k.Refresh, err
	}
	return s.config.Vault.read()
}

// refusedLogin is why there is no token. Where the login was refused there may be another one by now.
func (s *Source) refusedLogin(ctx context.Context, at place, lease vault.Lease, err error) error {
	wrong, is := errors.AsType[*Error](err)
	if !is || wrong.Kind != LoginNeeded { // errOtherLogin among them
		return err
	}
	if e, err := at.vault.Get(ctx, at.name); err == nil && e.Version != lease.Version {
		return errOtherLogin
	}
	if lease.Abandoned {
		told := *wrong
		told.Detail = strings.TrimPrefix(told.Detail+"; ", "; ") + "a gateway ended while it was getting a token, and what the issuer has given it is lost"
		return &told
	}
	return err
}

const (
	saveMost    = 5 * time.Second // for one try to put something into the vault
	releaseMost = 2 * time.Second
	// saveAgain and saveAgainMost are the pauses between tries to put a login into the vault.
	saveAgain, saveAgainMost = 500 * time.Millisecond, 30 * time.Second
)

// unsaved is a login that is not in the vault yet.
type unsaved struct {
	kept  kept
	lease vault.Lease
	since time.Time
}

// save puts what has come into the vault. A login is tried to be put there until it is: the one that is there may be void.
func (s *Source) save(at place, lease vault.Lease, k kept) {
	err := s.put(at, lease, k)
	if k.Refresh == "" { // where it failed other gateways get a token of their own
		return
	}
	s.mu.Lock()
	saving := s.unsaved != nil
	s.unsaved = nil
	if err != nil {
		s.unsaved = &unsaved{k, lease, s.config.Now()}
	}
	s.mu.Unlock()
	if err == nil {
		return
	}
	s.config.Notice(&Error{Kind: LoginUnkept, Err: err})
	if !saving {
		s.flights.Go(func() { s.saveLater(at) })
	}
}

// saveLater puts the login into the vault once that is possible.
func (s *Source) saveLater(at place) {
	for wait := saveAgain; pause.For(s.lingers, wait); wait = min(2*wait, saveAgainMost) {
		if s.saveAgain(at) {
			return
		}
	}
}

// saveAgain says whether nothing is left that is not in the vault.
func (s *Source) saveAgain(at place) bool {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	s.mu.Lock()
	mine := s.unsaved
	s.mu.Unlock()
	if mine != nil && s.put(at, mine.lease, mine.kept) != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsaved = nil
	return true
}

// put puts something into the vault once. That somebody else has put another one meanwhile is no error: it counts.
func (s *Source) put(at place, lease vault.Lease, k kept) error {
	change, err := at.change(k, lease)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.lingers, saveMost)
	defer cancel()
	stored, err := at.vault.Put(ctx, at.name, change)
	if err == nil && stored && k.Refresh != "" {
		s.config.Vault.removeFile()
	}
	return err
}

// removeFile removes what an earlier version has left: the login is in the vault now.
func (v Vault) removeFile() {
	if v.File != "" {
		_ = os.Remove(v.File) // mostly there is none
	}
}

// release gives a lease back. Where that fails it runs out by itself.
func (s *Source) release(at place, lease vault.Lease) {
	if lease.ID == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), releaseMost)
	defer cancel()
	_ = at.vault.Release(ctx, at.name, lease.ID)
}

// keepShared puts a login into the vault, whatever is there.
func (s *Source) keepShared(ctx context.Context, token *oauth2.Token) error {
	at, err := s.place("")
	if err != nil {
		return &Error{Kind: VaultUnusable, Err: err}
	}
	g := s.granted(token)
	for range otherLogins {
		entry, err := at.vault.Get(ctx, at.name)
		if err != nil {
			return &Error{Kind: StateUnusable, Err: err}
		}
		change, err := at.change(kept{Token: g.token, Life: g.life(), Refresh: token.RefreshToken}, vault.Lease{Entry: entry})
		if err != nil {
			return err
		}
		stored, err := at.vault.Put(ctx, at.name, change)
		if err != nil {
			return &Error{Kind: StateUnusable, Err: err}
		}
		if stored {
			s.config.Vault.removeFile()
			return nil
		}
	}
	return &Error{Kind: StateUnusable, Err: errors.New("others change the login again and again")}
}
