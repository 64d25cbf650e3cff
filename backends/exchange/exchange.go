package exchange

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/drop"
	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/mapirpc"
	"github.com/dipylon/dipylon/backends/exchange/signin"
	"github.com/dipylon/dipylon/backends/remote"
)

// Store is the mailboxes behind one Exchange server. Make it with New.
type Store struct {
	log      zerolog.Logger
	settings settings
	domains  []string
	hostname string
	stateDir string
	inFlight remote.InFlight
	// certificates are those that are trusted.
	certificates *tls.Config
	directory    directory
	server       *signin.Server
	signing      signin.Config // of the server, and of those that Autodiscover asks
	locating     chan struct{} // has one value while nobody looks for the server
	http         *http.Client  // for Health
	people       people
	ports        mapirpc.Ports // with protocol: rpc
	// webPeople are people as EWS and Autodiscover have them, and roads who has to be asked for by EWS.
	webPeople  people
	roads      roads
	waiting    waiting[*entered] // by MAPI
	webWaiting waiting[*web]
	guard      *guard        // of the service account
	drop       *drop.Folder  // nil: the outbox is none
	quiet      time.Duration // of it, for tests; 0: the usual
	// collections counts how often the outboxes were looked at.
	collections atomic.Uint32
	// disconnectMost is how long the server may take to end a session context.
	disconnectMost time.Duration
	// lanesIdle is for how long a maildrop keeps the session contexts that it has made to read many messages.
	lanesIdle time.Duration
	// webBounds are those of the Ids of EWS that a maildrop remembers.
	webBounds webBounds
	// counted is how many octets all maildrops keep of messages that were counted.
	counted atomic.Int64

	mu     sync.Mutex
	open   map[io.Closer]struct{} // maildrops
	closed bool
}

var (
	_ backends.Store  = (*Store)(nil)
	_ backends.Reader = (*Store)(nil)
)

// Option is given to New.
type Option func(*Store)

// WithLogger makes the store log; without it, it is silent.
func WithLogger(log zerolog.Logger) Option { return func(s *Store) { s.log = log } }

// New returns a store that wants to be configured.
func New(options ...Option) *Store {
	s := &Store{settings: defaults(), log: zerolog.Nop(), guard: newGuard(), locating: make(chan struct{}, 1), disconnectMost: 5 * time.Second, lanesIdle: 5 * time.Second, webBounds: webBounds{webIDsMost, webShift}, open: make(map[io.Closer]struct{})}
	s.locating <- struct{}{}
	for _, o := range options {
		o(s)
	}
	return s
}

// renderer names the version of what makes mail of properties. It is another one when the same message
// may become other octets.
const renderer = "mapi/4"

// Describe says what the backend is.
func (s *Store) Describe(ctx context.Context) (backends.Description, error) {
	s.look(ctx)
	d := backends.Description{
		Settings: schema(),
		Name:     "exchange", Version: remote.Version(),
		Credentials:  []backends.CredentialKind{backends.CredentialPassword, backends.CredentialToken},
		Limits:       backends.Limits{FetchesAtOnce: fetchesAtOnce, RemovalsAtATime: removalsMost},
		Capabilities: backends.CapabilitiesOf(s),
		Reading: backends.Reading{
			Disposals: []backends.Disposal{backends.DisposalTrash},
			Encodings: []backends.Encoding{backends.EncodingUUENCODE},
			Bodies:    []backends.BodyForm{backends.BodyText, backends.BodyHTML, backends.BodyTextAndHTML, backends.BodyTextEnriched},
			Calendars: []backends.CalendarForm{backends.CalendarText, backends.CalendarLink}, Wraps: true,
			MarksSeen: true, Folders: true, Renderer: s.renders(),
		},
	}
	if s.settings.Service.given() {
		d.Credentials = append(d.Credentials, backends.CredentialImpersonation)
	}
	d.Capabilities.Sender = s.settings.Submission
	d.Capabilities.SendRights = s.settings.Service.given()
	d.Capabilities.Outbox = s.settings.Outbox.given()
	d.Capabilities.Receiver = s.settings.Delivery.Given() || s.settings.Delivery.Create
	return d, nil
}

// Configure checks the settings and keeps them. The server is not asked.
func (s *Store) Configure(_ context.Context, given backends.Settings) error {
	set, config, err := read(given)
	if err != nil {
		return err
	}
	s.settings = set // for Describe, also where nothing but a check is asked for
	if given.Check {
		return nil
	}
	s.signing, s.certificates = config, config.TLS
	if set.Outbox.Drop != "" {
		s.drop = drop.New(set.Outbox.Drop, s.log)
		s.drop.Quiet = cmp.Or(s.quiet, s.drop.Quiet)
	}
	s.domains, s.hostname, s.stateDir = given.Domains, given.Hostname, given.StateDir
	switch {
	case set.Protocol == protocolRPC:
		config.URL = "https://" + set.RPC.Host // which nothing is sent to: credentials are guarded alike
		if s.server, err = signin.New(config); err != nil {
			return err
		}
	case set.URL != "":
		if err := s.use(set.URL); err != nil {
			return err
		}
	}
	never := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.http = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: config.TLS.Clone(), Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: never,
	}
	return nil
}

// Health asks for the end point without a credential: a server that is there refuses that, and says which methods it offers.
func (s *Store) Health(ctx context.Context) error {
	if err := s.ready(); errors.Is(err, errNotLocated) {
		return s.discoverable(ctx)
	} else if err != nil {
		return err
	}
	if s.settings.Protocol == protocolRPC {
		return s.rpcHealth(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, s.settings.timeout())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.settings.endPoint(s.front(), "").String(), nil)
	if err != nil {
		return backends.Fail(backends.Temporary, "health: %w", err)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return remote.ConnectFailure(request.URL.Host, `"url"`, withoutURL(err))
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	_ = response.Body.Close()
	s.server.Learn(response)
	if response.StatusCode/100 == 5 {
		return backends.Fail(backends.Temporary, "%s says %s", request.URL.Host, response.Status)
	}
	return nil
}

// front is the end point that a server which is there has.
func (s *Store) front() string {
	if s.settings.Protocol == protocolEWS {
		return webServices
	}
	return mailboxes
}

// keep notes a maildrop that is open: false, if the store is closed already.
func (s *Store) keep(m io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[m] = struct{}{}
	}
	return !s.closed
}

// forget notes that a maildrop is closed.
func (s *Store) forget(m io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, m)
}

// withoutURL takes the URL from an error of package http.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (s *Store) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return backends.Fail(backends.Temporary, "the store is closed")
	case s.http == nil:
		return backends.Fail(backends.Temporary, "the store is not configured")
	case s.settings.URL == "" && s.settings.Protocol != protocolRPC:
		return backends.Fail(backends.Temporary, "%w", errNotLocated)
	}
	return nil
}

// config is that of a session context for a mailbox. Whose it is decides which server is to answer.
func (s *Store) config(where, mailbox string, login login) mapihttp.Config {
	return mapihttp.Config{
		URL: s.settings.endPoint(where, mailbox).String(), Transport: login.server.Again(),
		Timeout: s.settings.timeout(),
	}
}

// Close ends everything under way.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	var open []io.Closer
	for m := range s.open {
		open = append(open, m)
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	for _, m := range open {
		all.Go(func() { _ = m.Close() })
	}
	all.Go(s.waiting.close)
	all.Go(s.webWaiting.close)
	all.Wait()
	if s.http != nil {
		s.http.CloseIdleConnections()
	}
	return nil
}
