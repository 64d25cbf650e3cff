package login

import (
	"cmp"
	"context"
	"crypto/tls"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/singleflight"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Authenticator is where the clients of all protocols log in. Any number of sessions may use it at once.
type Authenticator struct {
	log       zerolog.Logger
	guard     *Guard
	table     func() *stores.Table
	passwords Passwords
	devices   Devices
	now       func() time.Time
	verifier  argon2id.Verifier
	memory    *memory
	opening   singleflight.Group // logins of devices at their stores
	decoy     *argon2id.Hash
	policy    atomic.Pointer[Policy]
}

// AuthenticatorOptions are what an Authenticator is made of. Log, Guard and Table are needed.
type AuthenticatorOptions struct {
	Log   zerolog.Logger
	Guard *Guard
	// Table gives the current table of stores.
	Table func() *stores.Table
	// Passwords is where application passwords are kept; nil: there are none.
	Passwords Passwords
	// Devices are those of the passwords that have no text; nil: there are none.
	Devices Devices
	Policy  Policy
	Now     func() time.Time // time.Now
}

// Policy is what an administrator decides about logins. Its zero value is a sensible default.
type Policy struct {
	Names stores.Names
	// Mechanisms are the SASL mechanisms to offer, as far as a store can check them.
	// Empty: all but those that should be wanted explicitly, see [Authenticator.Mechanisms].
	Mechanisms []string
	// Certificate says where in a client's certificate its login name stands; empty:
	// [CertificateEmail].
	Certificate CertificateName
	// Remember is for how long a password that was good is remembered; 0: not at all.
	Remember time.Duration
}

// NewAuthenticator makes an authenticator. One is shared by all listeners.
func NewAuthenticator(o AuthenticatorOptions) *Authenticator {
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Authenticator{
		log: o.Log, guard: o.Guard, table: o.Table, passwords: o.Passwords, devices: o.Devices, now: o.Now,
		// One password at a time for each processor: more would cost memory and win nothing.
		verifier: argon2id.NewVerifier(runtime.GOMAXPROCS(0)),
		memory:   newMemory(o.Now),
		decoy:    argon2id.Decoy(argon2id.Usual),
	}
	d.SetPolicy(o.Policy)
	return d
}

// SetPolicy replaces the policy for logins that begin now, and forgets the passwords that are remembered.
func (a *Authenticator) SetPolicy(p Policy) {
	a.policy.Store(&p)
	a.memory.clear()
}

// Changed takes a store's hint that something has changed: what is remembered of the account's login is
// forgotten, and the next one asks the store.
func (a *Authenticator) Changed(store string, hint backends.Hint) {
	switch {
	case hint.Kind == backends.HintNewMail:
	case hint.Account == "":
		a.memory.storeChanged(store)
	default:
		a.memory.accountChanged(store, hint.Account)
	}
}

func (a *Authenticator) names() stores.Names { return a.policy.Load().Names }

// Client is a connection whose user wants to log in.
type Client interface {
	// Peer is the client as stores are told of it. Its protocol is what application passwords
	// can be limited to.
	Peer() backends.Peer
	// Protocol is the listener's, for the log: "pop3s" where TLS comes first.
	Protocol() string
	// TLS is the state of the connection's TLS, nil while there is none.
	TLS() *tls.ConnectionState
	// ServerCertificate is the certificate that the TLS handshake was made with, DER; nil: it
	// is not known.
	ServerCertificate() []byte
	// Enter takes a login to the store, which verifies the entry's credential ([Entry.Open], or as it opens something). As soon as the
	// store has said whose account it is, and before anything of it is used, Enter asks the entry
	// ([Entry.Check]). Its error is what becomes of the attempt; without one, the client is logged
	// in once the exchange has come to its end. What Enter has opened is the client's to close
	// where the exchange comes to another end.
	Enter(ctx context.Context, e Entry) error
}

// Entry is a login at its last step, when the store verifies the credential.
type Entry struct {
	Store *stores.Store
	// Credential names the mailbox that is meant, too.
	Credential backends.Credential
	// Folder is the folder that the name asks for; empty: the inbox.
	Folder string
	// Account is whose login it is, where the store has said so already, having conducted the
	// exchange; nil otherwise.
	Account *backends.Account
	// Device is the device that logs in, and Legacy says that it may do so without TLS, or with one older than 1.2. Empty:
	// it is none.
	Device string
	Legacy bool
	// Known is what is known of the account without the store; nil: nothing is. It is for devices, whose mail can wait
	// while the store does not answer.
	Known *backends.Account

	check func(backends.Account) error
	open  func(context.Context) (backends.Account, error) // see Open; nil: by the credential
}

// Check says whether the account that the store has opened is the one that the login is for. The
// gateway knows which it is when it has verified a password itself.
func (e Entry) Check(account backends.Account) error {
	if e.check == nil {
		return nil
	}
	return e.check(account)
}

// Password logs in with a name and a password (USER and PASS of RFC 1939 §7).
func (a *Authenticator) Password(ctx context.Context, client Client, user string, password []byte) error {
	proof := &Proof{Kind: backends.CredentialPassword, User: user, Secret: password}
	return a.prove(ctx, client, &Attempt{Peer: client.Peer(), Protocol: client.Protocol(), Mechanism: "PASS"}, proof)
}

// Begin starts an exchange with one of Mechanisms, upper case; otherwise: [ErrMechanism]. Its Next
// fails with [ErrMalformed] for a response that breaks the mechanism's rules.
//
// The client's Enter can come before the exchange is accepted: where the mechanism ends with data
// for the client, whose response is still to come (SCRAM, RFC 5802 §3).
func (a *Authenticator) Begin(ctx context.Context, client Client, mechanism string) (sasl.Exchange[sasl.Accepted], error) {
	o := a.offer(client)
	if !o.has(mechanism) {
		return nil, ErrMechanism
	}
	attempt := &Attempt{Peer: client.Peer(), Protocol: client.Protocol(), Mechanism: mechanism}
	switch mechanism {
	case "PLAIN":
		return &spoken{authenticator: a, client: client, attempt: attempt, speech: &single{parse: ParsePlain}}, nil
	case "LOGIN":
		return &spoken{authenticator: a, client: client, attempt: attempt, speech: &loginSpeech{}}, nil
	case "XOAUTH2":
		return &spoken{authenticator: a, client: client, attempt: attempt, speech: &single{parse: ParseXOAUTH2}, refusal: xoauth2Refusal}, nil
	case "OAUTHBEARER":
		return &spoken{authenticator: a, client: client, attempt: attempt, speech: &single{parse: ParseOAuthBearer}, refusal: oauthBearerRefusal}, nil
	case "EXTERNAL":
		return &external{authenticator: a, client: client, attempt: attempt}, nil
	case scramSHA256, scramSHA256 + plus:
		s := &scramExchange{authenticator: a, client: client, attempt: attempt, bound: mechanism == scramSHA256+plus}
		if o.has(scramSHA256 + plus) {
			s.bindings = bindings(client)
		}
		return s, nil
	}
	return a.relayTo(ctx, client, o.conductor(mechanism), attempt)
}

// spoken is an exchange of a [speech].
type spoken struct {
	authenticator *Authenticator
	client        Client
	attempt       *Attempt
	speech        speech
	refusal       []byte // told of a token that is not good
	failed        error  // once it has been told
}

// Next implements [sasl.Exchange].
func (s *spoken) Next(ctx context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	if s.failed != nil {
		return nil, nil, s.failed // whatever the client says to it (RFC 7628 §3.2.3)
	}
	challenge, proof, err := s.speech.next(response)
	if err != nil || proof == nil {
		return challenge, nil, err
	}
	err = s.authenticator.prove(ctx, s.client, s.attempt, proof)
	clear(proof.Secret)
	if s.refusal != nil && backends.KindOf(err) == backends.BadCredentials {
		s.failed = err
		return s.refusal, nil, nil
	}
	return accepted(err)
}

// Close implements [sasl.Exchange].
func (s *spoken) Close() error { return nil }

// accepted is what the last step of an exchange gives.
func accepted(err error) ([]byte, *sasl.Accepted, error) {
	if err != nil {
		return nil, nil, err
	}
	return nil, &sasl.Accepted{}, nil
}

// find reads a name, with the mailbox that an authorization identity asks for, and finds its
// store; nil: it is nobody's. A store that is being started with the gateway has a moment to describe itself: devices
// that were told to try again would show that to somebody.
func (a *Authenticator) find(ctx context.Context, user, actAs string) (stores.Name, *stores.Store) {
	names := a.names()
	name, ok := names.Parse(user)
	if ok {
		name, ok = names.For(name, actAs)
	}
	if !ok {
		return name, nil
	}
	return name, a.table().StoreForLogin(name).Ready(ctx)
}

func labelOf(s *stores.Store) string {
	if s == nil {
		return ""
	}
	return s.Name
}

// prove makes the attempt that a proof is for.
func (a *Authenticator) prove(ctx context.Context, client Client, attempt *Attempt, proof *Proof) error {
	name, store := a.find(ctx, proof.User, proof.ActAs)
	attempt.Name, attempt.Store = name, labelOf(store)
	do := a.guard.Do
	if proof.Kind == backends.CredentialPassword && store != nil && a.memory.knows(store.Name+" "+name.Key(), idOf(proof.Secret), proof.Secret) {
		do = a.guard.Proved // no guess: of the devices on one account any number may come at once
	}
	return do(ctx, attempt, func(ctx context.Context) error {
		switch {
		case store == nil:
			return WrongCredentials("no store has such names")
		case proof.Kind == backends.CredentialPassword:
			return a.byPassword(ctx, client, attempt, name, store, proof.Secret)
		}
		credential := backends.Credential{Kind: proof.Kind, Secret: proof.Secret}
		return a.enter(ctx, client, attempt, name, store, credential, nil)
	})
}

// enter lets the client in with a credential for a name, as its user unless the credential names
// another one. The account that the store opens has to pass the check, if there is one.
func (a *Authenticator) enter(ctx context.Context, client Client, attempt *Attempt, name stores.Name, store *stores.Store, c backends.Credential, check func(backends.Account) error) error {
	c.User, c.ActAs, c.Peer = cmp.Or(c.User, name.String()), name.Mailbox, attempt.Peer
	return client.Enter(ctx, Entry{Store: store, Credential: c, Folder: name.Folder, check: check})
}

// byPassword lets whoever can judge a password do so.
func (a *Authenticator) byPassword(ctx context.Context, client Client, attempt *Attempt, name stores.Name, store *stores.Store, secret []byte) error {
	own := store.TakesOwnPasswords()
	application := a.passwords != nil && store.Passwords != stores.StorePassword && appPasswordForm.Match(secret)
	switch {
	case application && a.hasAppPasswords(store):
		return a.byAppPassword(ctx, client, attempt, name, store, secret)
	case !store.Known && (application || !own):
		return notKnown(store) // it may let the gateway act
	case !own:
		return WrongCredentials("store %s is for application passwords alone", store.Name)
	}
	return a.byStorePassword(ctx, client, attempt, name, store, secret)
}

// byStorePassword lets the store judge, unless it lets the gateway act and has found the same
// password good a short while ago. Somebody else's mailbox is opened by the store's judgement
// alone: the account that the store then tells of is not the password's.
func (d *Authenticator) byStorePassword(ctx context.Context, client Client, attempt *Attempt, name stores.Name, store *stores.Store, secret []byte) error {
	key := store.Name + " " + name.Key()
	life := d.policy.Load().Remember
	acts := life > 0 && store.Takes(backends.CredentialImpersonation)
	remembers := acts && name.Mailbox == ""
	if known, ok := d.memory.knowsOwn(key, secret); ok && remembers {
		err := d.enter(ctx, client, attempt, name, store, backends.Credential{Kind: backends.CredentialImpersonation}, known.check)
		if !refused(err) {
			return err
		}
		d.memory.forget(key) // the account or its password is another one, or it has gone
	}
	verified, era := false, d.memory.era(store.Name)
	// What the store has said of the password is noted before the maildrop is opened: that can take
	// long, or fail, while the password is changed.
	note := func(a backends.Account) error {
		verified = true
		if remembers {
			d.memory.rememberOwn(store.Name, key, secret, a, life, era)
		} else { // it may be a new password, of which no more can be remembered
			d.memory.forget(key)
		}
		if acts && !remembers {
			d.forgetOwn(ctx, attempt, name, store)
		}
		return nil
	}
	err := d.enter(ctx, client, attempt, name, store, backends.Credential{Kind: backends.CredentialPassword, Secret: secret}, note)
	if !verified && refused(err) {
		d.memory.forget(key)
	}
	return err
}

// forgetOwn forgets the own password of whoever has opened somebody else's mailbox, whatever name it
// was remembered under. The store has told of the mailbox alone.
func (a *Authenticator) forgetOwn(ctx context.Context, attempt *Attempt, name stores.Name, store *stores.Store) {
	own := backends.Credential{Kind: backends.CredentialImpersonation, User: name.String(), Peer: attempt.Peer}
	if owner, err := store.Login(ctx, own); err == nil {
		a.memory.forgetAccount(store.Name, owner.ID)
	}
}

// check says whether an account is the one whose password is remembered, with that password.
func (v verified) check(a backends.Account) error {
	if a.ID != v.id || a.CredentialGeneration != v.generation {
		return WrongCredentials("the account or its password has changed since the password was verified")
	}
	return nil
}

// hasAppPasswords says whether application passwords can be good for a store's accounts.
func (a *Authenticator) hasAppPasswords(store *stores.Store) bool {
	return a.passwords != nil && store.Passwords != stores.StorePassword && store.Takes(backends.CredentialImpersonation)
}

// byAppPassword judges an application password. What has the form of one is never shown to the
// store: there it could only be a wrong password, and lock its owner out.
func (a *Authenticator) byAppPassword(ctx context.Context, client Client, attempt *Attempt, name stores.Name, store *stores.Store, secret []byte) error {
	password, err := a.passwords.FindOne(ctx, store.Name, store.Account(name), idOf(secret))
	if err != nil {
		return backends.Fail(backends.Temporary, "application passwords: %w", err)
	}
	right, err := a.verify(ctx, name, store, password, secret)
	if err != nil {
		return backends.Fail(backends.Temporary, "verifying an application password: %w", err)
	}
	if !right {
		return WrongCredentials("a wrong application password")
	}
	attempt.proved()
	return a.enterByPassword(ctx, client, attempt, name, store, password)
}

// verify compares a password with an entry's hash, or with one that no password has where there
// is no entry, so that both take their time.
func (a *Authenticator) verify(ctx context.Context, name stores.Name, store *stores.Store, password *AppPassword, secret []byte) (bool, error) {
	account := store.Name + " " + name.Key()
	if password == nil {
		_, err := a.verifier.Verify(ctx, a.decoy, secret)
		a.memory.forgetHashed(account, idOf(secret))
		return false, err
	}
	if a.memory.knows(account, password.ID, secret) {
		return true, nil
	}
	hash, err := argon2id.Parse(password.Hash)
	if err != nil {
		return false, err
	}
	right, err := a.verifier.Verify(ctx, hash, secret)
	switch {
	case right:
		a.memory.remember(account, password.ID, secret, a.policy.Load().Remember)
	case err == nil:
		a.memory.forgetHashed(account, password.ID)
	}
	return right, err
}

// enterByPassword lets somebody in who has shown an application password, if it is good for this
// login. The store is told to act for the account that the password was found under, and not for
// the name as it was typed: a store can read that as another account's. What it opens has to be
// the password's own account.
func (a *Authenticator) enterByPassword(ctx context.Context, client Client, attempt *Attempt, name stores.Name, store *stores.Store, password *AppPassword) (err error) {
	attempt.Password, attempt.Device = password.ID, password.Device
	if !password.Wordless {
		defer func() { a.noteRefusal(password.Device, err) }()
	}
	if err := password.allows(a.now(), attempt.Peer); err != nil {
		return password.refusal(err)
	}
	if err := password.allowsTLS(client.TLS()); err != nil {
		return err
	}
	impersonation := backends.Credential{Kind: backends.CredentialImpersonation, User: store.Account(name)}
	learned := password.Owner == ""
	check, known := password.check, password.known()
	if name.Mailbox != "" {
		// The account that the store will tell of is the mailbox's: whose password it is, is asked
		// by itself.
		own := impersonation
		own.Peer = attempt.Peer
		owner, err := Entry{Store: store, Credential: own, open: a.opener(password, store, own)}.Open(ctx)
		if err == nil {
			err = check(owner)
		}
		if err != nil {
			return err
		}
		check, known = nil, nil
	}
	impersonation.ActAs, impersonation.Peer = name.Mailbox, attempt.Peer
	err = client.Enter(ctx, Entry{
		Store: store, Credential: impersonation, Folder: name.Folder, check: check,
		Device: password.Device, Legacy: password.Legacy, Known: known, open: a.opener(password, store, impersonation),
	})
	if err != nil {
		return err
	}
	if password.Wordless && !learned {
		return nil // whoever keeps devices notes their use
	}
	if err := a.passwords.Used(ctx, *password, a.now(), peerAddr(attempt.Peer.Address).String()); err != nil {
		a.log.Warn().Err(err).Str("password_id", password.ID).Msg("the use of an application password cannot be noted")
	}
	return nil
}

// saltKey is the key that SCRAM's salts are made of.
func (a *Authenticator) saltKey(ctx context.Context) ([]byte, error) {
	if a.passwords == nil {
		return a.memory.key[:], nil // nobody has a password: the salts are good for nothing
	}
	key, err := a.passwords.SaltKey(ctx)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "application passwords: %w", err)
	}
	return key, nil
}
