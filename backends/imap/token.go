package imap

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/bearer"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/remote"
)

// newBearer chooses among the mechanisms that a server offers.
func newBearer(offered []string, address, user, token string) (*bearer.Client, error) {
	client, err := bearer.New(offered, address, user, token)
	if err != nil {
		return nil, backends.Fail(backends.Unsupported, "%w", err)
	}
	return client, nil
}

// bearerName is whose mailbox a token is to open. The server judges whether it may.
func bearerName(c backends.Credential, user string) string {
	if c.ActAs != "" {
		return c.ActAs
	}
	return user
}

// actsForUsers says whether the store lets the gateway act for its users.
func (s *settings) actsForUsers() bool { return s.Master.User != "" || s.OAuth.Given() }

// byToken says whether a credential is the gateway's word, which a token of the gateway's own stands for.
func (s *Store) byToken(c backends.Credential) bool {
	return s.tokens != nil && c.Kind == backends.CredentialImpersonation
}

// token is a token for the mailbox of a credential.
func (s *Store) token(ctx context.Context, mailbox string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(s.settings.Timeout))
	defer cancel()
	token, err := s.tokens.Token(ctx, mailbox)
	if err != nil {
		return "", remote.TokenFailure(err)
	}
	return token, nil
}

// connectAs opens a connection and logs in. A token that the server refuses is asked for anew, once.
func (s *Store) connectAs(ctx context.Context, c backends.Credential) (*client, error) {
	if !s.byToken(c) {
		return s.connectWith(ctx, c)
	}
	for try := 0; ; try++ {
		token, err := s.token(ctx, c.User)
		if err != nil {
			return nil, err
		}
		with := c
		with.Kind, with.Secret = backends.CredentialToken, []byte(token)
		client, err := s.connectWith(ctx, with)
		if err == nil {
			s.letIn.note(s.loginName(c), token, s.now())
			return client, nil
		}
		if backends.KindOf(err) != backends.BadCredentials {
			return nil, err
		}
		if again := s.tokens.Refused(c.User, token); try > 0 || !again {
			return nil, s.tokenRefused(ctx, c, token, err)
		}
	}
}

func (s *Store) connectWith(ctx context.Context, c backends.Credential) (*client, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.authenticate(ctx, client, c); err != nil {
		_ = client.Close()
		return nil, err
	}
	return client, nil
}

// What the failure of a token that lets nobody in is made of.
const (
	letsNobodyIn = "the server lets nobody in with the gateway's token"
	adviceBegins = "check the application's permissions "
	adviceEnds   = "): "
)

// tokenRefused is what it means that a server refuses a token that the issuer has just given. Servers give no reason. Where
// others are let in with it now, this mailbox is not there, or not the application's; where nobody is, the gateway's access as
// a whole may be gone, and no recipient is to be told that there is nobody.
func (s *Store) tokenRefused(ctx context.Context, c backends.Credential, token string, err error) error {
	name := s.loginName(c)
	if s.othersAreIn(ctx, name, token) {
		return backends.Fail(backends.BadCredentials, "the server lets others in with the gateway's token, and not %s: is there such a mailbox, with IMAP, that the application may open? %w", name, err)
	}
	return backends.Fail(backends.Temporary, letsNobodyIn+", nor %s: "+adviceBegins+"(Microsoft: IMAP.AccessAsApp with consent, and New-ServicePrincipal with the object id of the enterprise application, not that of the app registration; then Add-MailboxPermission"+adviceEnds+"%w", name, err).
		Say("the mail store does not give this gateway access now, tell your administrator")
}

// othersAreIn says whether another mailbox than a refused one is opened now. One that was opened just before with this token
// says so, or else one that was opened once is tried, as is always done before a mailbox is given up that was opened itself
// lately: the token may have become void in between. What a token of its own opens (a service account's) says nothing of
// another one's.
func (s *Store) othersAreIn(ctx context.Context, name, token string) bool {
	other, last := s.letIn.other(name)
	good := last.token == sha256.Sum256([]byte(token)) || s.tokens.ForEach()
	switch {
	case other == "":
		return false
	case good && s.now().Sub(last.at) < accessLasts && !s.letIn.known(name, s.now()):
		return true
	}
	if s.tokens.ForEach() {
		var err error
		if token, err = s.token(ctx, other); err != nil {
			return false
		}
	}
	client, err := s.connectWith(ctx, backends.Credential{Kind: backends.CredentialToken, User: other, Secret: []byte(token)})
	if err != nil {
		return false
	}
	_ = client.Close()
	s.letIn.note(other, token, s.now())
	return true
}

// now is the time by which tokens are old.
func (s *Store) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

// letIn remembers which mailboxes a server has let the gateway into by its token, and when. The zero value is ready.
type letIn struct {
	mu   sync.Mutex
	last map[string]entry
}

// entry is when a mailbox was opened last, and with which token (its SHA-256).
type entry struct {
	at    time.Time
	token [sha256.Size]byte
}

const (
	// letInMost is how many mailboxes are remembered.
	letInMost = 4096
	// accessLasts is how long a mailbox that was opened says by itself that the gateway is let into others.
	accessLasts = time.Minute
	// knownLasts is how long a mailbox that was opened is taken to be there.
	knownLasts = 24 * time.Hour
)

func (l *letIn) note(name, token string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = make(map[string]entry)
	}
	for each := range l.last {
		if len(l.last) < letInMost {
			break
		}
		delete(l.last, each)
	}
	l.last[fold.Lower(name)] = entry{now, sha256.Sum256([]byte(token))}
}

// other is somebody else, who was let in last; empty: nobody was.
func (l *letIn) other(name string) (other string, last entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for each, then := range l.last {
		if each != fold.Lower(name) && then.at.After(last.at) {
			other, last = each, then
		}
	}
	return other, last
}

// known says whether somebody's mailbox is taken to be there although it cannot be opened now.
func (l *letIn) known(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, there := l.last[fold.Lower(name)]
	return there && now.Sub(last.at) < knownLasts
}

// submitter is who logs in at the submission server to send from a mailbox: somebody else where the settings name one, as
// for a shared mailbox that has no licence.
func (s *Store) submitter(mailbox string) string {
	for address, who := range s.settings.Sending.LoginAs {
		if fold.Equal(address, mailbox) {
			return who
		}
	}
	return mailbox
}

// submitByToken logs in at the submission server with a token of the gateway's own.
func (s *Store) submitByToken(c backends.Credential) func(context.Context, []string) (sasl.Client, error) {
	who := s.submitter(c.User)
	return smtpclient.Token(s.loginName(backends.Credential{User: who}), smtpclient.Tokens{
		Token:   func(ctx context.Context) (string, error) { return s.token(ctx, who) },
		Refused: func(token string) { s.tokens.Refused(who, token) },
	})
}

// saves says whether the server puts what is sent into the Sent folder of who has logged in, by itself.
func (s *Store) saves() bool {
	if own := s.settings.Sending.Saves; own != nil {
		return *own
	}
	return s.settings.OAuth.Saves()
}

// copies says whether a copy of what is sent goes to the mailbox's Sent folder from here. A server that puts one into the
// folder of who has logged in would have it there twice.
func (s *Store) copies(c backends.Credential) bool {
	if s.settings.Sending.Sent == "" || !s.saves() {
		return s.settings.Sending.Sent != ""
	}
	who := c.User
	if s.byToken(c) {
		who = s.submitter(c.User)
	}
	return !fold.Equal(who, mailboxOf(c))
}

// Warnings implements [backends.Warner].
func (s *Store) Warnings() []backends.Warning {
	return append(remote.TokenWarnings(s.tokens), s.copying.warnings(time.Now())...)
}

// newTokens makes the source of the gateway's tokens; nil: there is none.
func (s *Store) newTokens(set settings, given backends.Settings) (*oauth.Source, error) {
	if !set.OAuth.Given() {
		return nil, nil
	}
	c := set.OAuth.Config(new(backends.SettingsError), "oauth", given) // read has checked it
	c.Now = s.clock
	c.Notice = func(err error) { s.log.Error().Err(err).Msg(oauth.Headline(err)) }
	source, err := oauth.New(c)
	if err != nil {
		var wrong backends.SettingsError
		wrong.Add("oauth", "%v", err)
		return nil, wrong.Err()
	}
	return source, nil
}
