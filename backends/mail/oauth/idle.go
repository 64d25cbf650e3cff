package oauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
)

// A refresh token that nobody uses ends after a while without a word to anybody: Microsoft's after 90 days, Google's after six months.
// So one that was not used for idleMost, by no gateway, is used: whoever looks first renews it for all. A failure is told as others
// are, two months ahead of the end.
const (
	idleMost = 30 * 24 * time.Hour
	// idleLook is about how often a gateway looks, at times that differ from gateway to gateway and from login to login.
	// idleFirst is about when it does so for the first time.
	idleLook, idleFirst = 12 * time.Hour, 10 * time.Minute
)

// keepUsed looks now and then whether the login was used, until the source is closed.
func (s *Source) keepUsed() {
	look := s.config.IdleLook
	for wait := min(look, idleFirst); pause.For(s.alive, wait/2+rand.N(wait)); wait = look {
		s.useIdle()
	}
}

// useIdle asks for a token where nobody has done so for too long.
func (s *Source) useIdle() {
	at, err := s.place("")
	if err != nil {
		return // who asks for a token is told
	}
	ctx, cancel := context.WithTimeout(s.alive, saveMost)
	defer cancel()
	entry, err := at.vault.Get(ctx, at.name)
	if err == nil && entry.Value != nil && entry.Age >= idleMost {
		_, _, _ = s.look("") // no access token lives for so long: the issuer is asked, and what comes of it is noted
	}
}

// Origin is where a token has come from.
type Origin struct {
	Shared    bool          // another process has put it into the vault; false: this source has got it from the issuer
	Age, Left time.Duration // since it came, and until it ends
}

// Origin says where the token for a mailbox has come from that is given out now. Its zero value: there is none.
func (s *Source) Origin(mailbox string) Origin {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.tokens[s.key(mailbox)]
	if e == nil || e.grant.token == "" {
		return Origin{}
	}
	now := s.config.Now()
	return Origin{e.grant.shared, now.Sub(e.grant.since), e.grant.expiry.Sub(now)}
}

// String says it in words.
func (o Origin) String() string {
	if o.Shared {
		return fmt.Sprintf("it is the one that the gateways on this state share, got %s ago, good for %s", o.Age.Round(time.Second), o.Left.Round(time.Second))
	}
	return fmt.Sprintf("the issuer has given it just now, good for %s", o.Left.Round(time.Second))
}

// Afresh has the next Token for a mailbox come from the issuer although there is one that is good still. A login is renewed as
// always: the refresh token that comes of it is there for all.
func (s *Source) Afresh(ctx context.Context, mailbox string) {
	var refused [sha256.Size]byte
	if s.config.Vault.Shared != nil {
		if at, err := s.place(mailbox); err == nil {
			entry, _ := at.vault.Get(ctx, at.name) // where it fails, the Token that follows says so
			k, _ := at.open(entry)
			refused = sha256.Sum256([]byte(k.Token))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryOf(s.key(mailbox))
	e.grant, e.refused = grant{}, refused
}
