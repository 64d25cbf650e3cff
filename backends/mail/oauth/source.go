package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Source gives tokens. Make it with New.
type Source struct {
	config    Config
	client    *http.Client
	transport *transport
	alive     context.Context // ends with Close
	end       context.CancelFunc
	lingers   context.Context // ends some time after Close: of requests whose answer must not be lost
	cut       context.CancelFunc
	flights   sync.WaitGroup
	places    chan struct{} // for requests

	keeping   sync.Mutex // while a login changes, of the vault
	discovery sync.Mutex
	found     endpoints

	mu     sync.Mutex
	tokens map[string]*entry // by mailbox; one, "", for all where a token is good for all
	closed bool
	// unsaved is the login that the vault could not be given yet; nil: there is none.
	unsaved *unsaved
}

// entry is the token for a mailbox, or why there is none.
type entry struct {
	grant   grant
	refused [sha256.Size]byte // of the token that a server has refused last
	flight  chan struct{}     // closed when the request that is under way has ended; nil: none is
	failure *Error
	again   time.Time // when it is asked for again after a failure
	fails   int       // in a row
	failing time.Time // since when
}

const (
	flightsMost = 8    // requests at once
	entriesMost = 4096 // mailboxes whose tokens are kept

	// renewAhead is how long before its end a token is renewed, where it lives that long: tokens live an hour.
	renewAhead = 10 * time.Minute
	// usableLeast is what a token must have left to be given out: a login takes its time.
	usableLeast = 15 * time.Second
	// refusedAgain is how old a token must be to be renewed because a server has refused it: the fault is elsewhere
	// where one is refused that has just come.
	refusedAgain = time.Minute
	// failedFirst and failedMost bound the pause after failures.
	failedFirst, failedMost = 2 * time.Second, time.Minute
)

// New makes a source. The error is what [Config.Check] says first, or that CA cannot be read.
func New(c Config) (*Source, error) {
	if wrong := c.Check(); len(wrong) > 0 {
		return nil, errors.New(wrong[0].Setting + ": " + wrong[0].Text)
	}
	c = c.withDefaults()
	client, transport, err := newClient(c.CA, c.Timeout, c.Now)
	if err != nil {
		return nil, err
	}
	s := &Source{config: c, client: client, transport: transport, places: make(chan struct{}, flightsMost), tokens: make(map[string]*entry)}
	s.alive, s.end = context.WithCancel(context.Background())
	s.lingers, s.cut = context.WithCancel(context.Background())
	if c.Grant == RefreshToken && c.Vault.Shared != nil {
		s.flights.Go(s.keepUsed)
	}
	return s, nil
}

// lingerMost is how long Close waits for the answer to a request that has used up a refresh token.
const lingerMost = 3 * time.Second

// Close ends what is under way. Token fails afterwards.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	cut := time.AfterFunc(lingerMost, s.cut)
	s.flights.Wait()
	cut.Stop()
	s.cut()
	s.client.CloseIdleConnections()
}

// ForEach says whether each mailbox has a token of its own.
func (s *Source) ForEach() bool { return s.config.Grant == ServiceAccount }

// key is what a mailbox's token is kept under.
func (s *Source) key(mailbox string) string {
	if s.ForEach() {
		return strings.ToLower(mailbox)
	}
	return ""
}

var errSourceClosed = errors.New("no tokens are asked for any more")

// Token is an access token for a mailbox. The error is an [*Error], or the context's.
func (s *Source) Token(ctx context.Context, mailbox string) (string, error) {
	for {
		token, flight, err := s.look(mailbox)
		if token != "" || err != nil {
			return token, err
		}
		select {
		case <-flight:
		case <-s.alive.Done(): // the next look says so
		case <-ctx.Done():
			return "", &Error{Kind: Outage, Detail: "the issuer has not answered yet", Err: context.Cause(ctx)}
		}
	}
}

// look gives the token that is there, or the failure that is not to be repeated yet, or what to wait for.
func (s *Source) look(mailbox string) (token string, flight chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", nil, &Error{Kind: Outage, Err: errSourceClosed}
	}
	now, e := s.config.Now(), s.entryOf(s.key(mailbox))
	left, may := e.grant.expiry.Sub(now), !now.Before(e.again)
	part := e.grant.life() / 5 // of tokens that live for seconds
	if e.grant.token != "" && left > min(usableLeast, part) {
		if left < min(renewAhead, part) && may && e.flight == nil {
			s.fly(e, mailbox)
		}
		return e.grant.token, nil, nil
	}
	if e.flight == nil && !may {
		return "", nil, e.failure
	}
	if e.flight == nil {
		s.fly(e, mailbox)
	}
	return "", e.flight, nil
}

// entryOf is the entry under a key, which is made where there is none. The lock is held.
func (s *Source) entryOf(key string) *entry {
	e := s.tokens[key]
	if e == nil {
		e = &entry{}
		s.forget(s.config.Now())
		s.tokens[key] = e
	}
	return e
}

// forget makes room for another mailbox: those go whose token is over, or whichever comes.
func (s *Source) forget(now time.Time) {
	if len(s.tokens) < entriesMost {
		return
	}
	for key, e := range s.tokens {
		if e.flight == nil && (now.After(e.grant.expiry) || len(s.tokens) >= entriesMost) {
			delete(s.tokens, key)
		}
	}
}

// fly begins a request. The lock is held. Who waits for it may go: it goes on for those who come.
func (s *Source) fly(e *entry, mailbox string) {
	flight := make(chan struct{})
	e.flight = flight
	refused := e.refused
	s.flights.Go(func() {
		defer close(flight)
		g, err := s.placed(mailbox, refused)
		s.landed(e, g, err)
	})
}

// life is how long the requests of a source may go on.
func (s *Source) life() context.Context {
	if s.config.Grant == RefreshToken {
		return s.lingers
	}
	return s.alive
}

// placed waits for a place and asks. Each request has its own time; a discovery before it and a second try after it are
// within twice that.
func (s *Source) placed(mailbox string, refused [sha256.Size]byte) (grant, error) {
	ctx, cancel := context.WithTimeout(s.life(), 2*s.config.Timeout)
	defer cancel()
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done():
		return grant{}, &Error{Kind: Outage, Detail: "too many requests to the issuer are under way", Err: context.Cause(ctx)}
	}
	switch {
	case s.config.Vault.Shared != nil:
		return s.together(ctx, mailbox, refused)
	case s.config.Grant == RefreshToken:
		return s.byFile(ctx)
	}
	return s.fetch(ctx, mailbox, "")
}

// byFile asks with the refresh token that is in a file.
func (s *Source) byFile(ctx context.Context) (g grant, err error) {
	err = s.config.Vault.change(ctx, func(refresh string) (string, error) {
		g, err = s.fetch(ctx, "", refresh)
		return g.refresh, err
	})
	return g, err
}

// landed notes what has come of a request.
func (s *Source) landed(e *entry, g grant, err error) {
	s.mu.Lock()
	now := s.config.Now()
	e.flight = nil
	if err == nil {
		e.grant, e.failure, e.fails, e.again = g, nil, 0, time.Time{}
		s.mu.Unlock()
		return
	}
	e.failure = failed(err)
	pause := min(failedFirst<<min(e.fails, 8), failedMost)
	if e.fails == 0 {
		e.failing = now
	}
	e.fails++
	e.again = now.Add(max(pause, e.failure.RetryAfter))
	told := !s.closed
	s.mu.Unlock()
	if told {
		s.config.Notice(e.failure)
	}
}

// Refused notes that a server has refused a token: unless it has just come, the next Token asks for another one. It says
// whether that is worth a try.
func (s *Source) Refused(mailbox, token string) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.tokens[s.key(mailbox)]
	switch {
	case e == nil || e.grant.token != token:
		return true // there is another one by now
	case s.config.Now().Sub(e.grant.since) < min(refusedAgain, e.grant.life()/5):
		return false
	}
	e.refused, e.grant = sha256.Sum256([]byte(token)), grant{}
	return true
}

// life is for how long a token was good when it came.
func (g grant) life() time.Duration { return g.expiry.Sub(g.since) }
