package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/maildrop"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/pop3"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/routing"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// engine is a protocol's server: [pop3.Server], [smtp.Server] or [admin.Server].
type engine interface {
	Serve(ctx context.Context, l net.Listener) error
	Shutdown(ctx context.Context) error
	Sessions() []events.Connection
}

// shape is what an engine is made of. A listener whose shape has changed gets a new engine.
type shape struct {
	protocol   string
	hostname   string
	limits     config.Limits
	timeouts   config.Timeouts
	pop3       config.POP3
	smtp       config.SMTP
	submission config.Submission
	expire     string // what CAPA says before a login
	legacy     bool
	admin      adminShape
}

// adminShape is what an admin listener is made of, besides.
type adminShape struct {
	token string
	tls   bool
}

func shapeOf(cfg *config.Config, l config.Listener, policies *policy.Table) shape {
	return shape{l.Protocol, cfg.Hostname, cfg.Limits, cfg.Timeouts, cfg.POP3, cfg.SMTP, cfg.Submission, policies.Expire(), l.Legacy, adminShape{l.Token.Value, l.TLS != nil}}
}

// newEngine makes the engine of a listener.
func (g *Server) newEngine(s shape, implicitTLS bool, tlsConfig *tls.Config) engine {
	log := g.log.With().Str("protocol", s.protocol).Logger()
	switch s.protocol {
	case config.ProtocolAdmin:
		e := g.newAdmin()
		if e.Token = s.admin.token; e.Token != "" {
			g.answerCommands(e, log)
		}
		if s.admin.tls {
			e.TLS = tlsConfig
		}
		return e
	case config.ProtocolSMTP:
		e := g.newSMTP(s, log, tlsConfig)
		o := g.routingOptions(s, log)
		o.Relays, o.Dequeue = relays(s.smtp), g.dequeuer
		e.Backend = routing.NewMX(o)
		return e
	case config.ProtocolSubmission, config.ProtocolSubmissions:
		e := g.newSMTP(s, log, tlsConfig)
		e.Role, e.ImplicitTLS = smtp.Submission, implicitTLS
		e.AllowInsecureAuth, e.HideClient = s.submission.PlaintextLogin || s.legacy, s.submission.HideClient
		e.BareNewlines = bareNewlines(s.submission.BareNewlines)
		o := g.routingOptions(s, log)
		e.Quirks, o.Quirks = smtpQuirksOf(s.submission.Quirks)
		e.Backend = routing.NewSubmission(o)
		return e
	}
	return g.newPOP3(s, log, implicitTLS, tlsConfig)
}

// lockWait is what a client that hung up without QUIT may be ahead of the gateway's noticing.
const lockWait = time.Second

func (g *Server) newPOP3(s shape, log zerolog.Logger, implicitTLS bool, tlsConfig *tls.Config) *pop3.Server {
	return &pop3.Server{
		Backend: maildrop.New(maildrop.Options{
			Log: log, Protocol: s.protocol, Authenticator: g.authenticator, Locks: g.locks, LockWait: lockWait, Index: g.index,
			Measuring: g.measuring(s.pop3), Hostname: s.hostname,
			ListMost: int64(s.limits.ListSize), Lists: g.listRoom(int64(s.limits.ListsSize)),
			PlaintextLogin: s.pop3.PlaintextLogin,
			Devices:        g.devices, Legacy: s.legacy,
			Policies: g.policies, Sessions: g.sessions,
			Keys:       folder.NewKeys(g.db, g.index),
			Quarantine: &folder.Quarantine{DB: g.db},
			Retention:  &folder.Retention{DB: g.db},
			Winmail:    g.winmail,
			LoginDelay: s.pop3.LoginDelay.Std(), Openings: g.openings,
		}),
		Log: log, Observer: pop3Metrics{g.metrics, s.protocol},
		TLSConfig: tlsConfig, ImplicitTLS: implicitTLS, InsecureAuth: s.pop3.PlaintextLogin || s.legacy,
		Greeting:       s.hostname + " POP3 server ready",
		Implementation: "Dipylon",
		Expire:         s.expire,
		LoginDelay:     s.pop3.LoginDelay.Std(),
		LoginTimeout:   s.pop3.Login.Std(), WriteTimeout: s.timeouts.Write.Std(),
		MaxUnauthenticated: s.pop3.Unauthenticated, MaxConnections: s.limits.Connections, MaxPerAddress: s.limits.PerAddress,
		MaxLogins: s.limits.LoginFailures, MaxErrors: s.limits.Errors,
		Quirks: quirksOf(s.pop3.Quirks),
	}
}

// measuring is what all listeners share that read messages for their sizes at the same pace.
func (g *Server) measuring(c config.POP3) *maildrop.Measuring {
	g.mu.Lock()
	defer g.mu.Unlock()
	if octets := int64(c.Measure); g.pace == nil || g.pace.Octets != octets {
		g.pace = &maildrop.Measuring{Octets: octets}
	}
	return g.pace
}

// listRoom is what the lists of all listeners' sessions have together.
func (g *Server) listRoom(octets int64) *maildrop.Budget {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lists == nil || g.listsMost != octets {
		g.lists, g.listsMost = maildrop.NewBudget(octets), octets
	}
	return g.lists
}

func quirksOf(names []string) pop3.Quirks {
	quirks := pop3.NoQuirks
	for _, name := range names {
		quirks |= quirkNames[name]
	}
	return quirks
}

var quirkNames = map[string]pop3.Quirks{
	"auth-list": pop3.QuirkAuthList, "bare-lf": pop3.QuirkBareLF, "last": pop3.QuirkLast, "no-nul": pop3.QuirkNoNUL, "long-auth": pop3.QuirkLongAuth,
}

func (g *Server) newSMTP(s shape, log zerolog.Logger, tlsConfig *tls.Config) *smtp.Server {
	return &smtp.Server{
		Role: smtp.MX, Hostname: s.hostname, TLSConfig: tlsConfig, Log: log, Observe: g.metrics.smtpMetrics(s.protocol),
		BareNewlines:      bareNewlines(s.smtp.BareNewlines),
		AllowEarlyTalkers: s.smtp.EarlyTalkers == "allow", GreetDelay: s.smtp.GreetDelay.Std(),
		Limits: smtp.Limits{
			MessageSize: int64(s.limits.MessageSize), Header: int64(s.limits.HeaderSize), Hops: s.smtp.Hops,
			Recipients: s.limits.Recipients, Messages: s.limits.Messages, Errors: s.limits.Errors,
			Refusals: s.limits.Refusals, AuthFailures: s.limits.LoginFailures,
			Connections: s.limits.Connections, PerAddress: s.limits.PerAddress,
		},
		Timeouts: smtp.Timeouts{
			Handshake: s.timeouts.Handshake.Std(), Write: s.timeouts.Write.Std(),
			Command: s.smtp.Command.Std(), Data: s.smtp.Data.Std(), Session: s.smtp.Session.Std(),
		},
	}
}

// smtpQuirksOf are the quirks of the protocol, and those of what is done to a message.
func smtpQuirksOf(names []string) (smtp.Quirks, routing.Quirks) {
	quirks, mends := smtp.NoQuirks, routing.Quirks(0)
	for _, name := range names {
		quirks |= smtpQuirkNames[name]
		mends |= mendNames[name]
	}
	return quirks, mends
}

var (
	smtpQuirkNames = map[string]smtp.Quirks{"blanks": smtp.QuirkBlanks, "helo": smtp.QuirkHelo, "notify": smtp.QuirkNotify, "paths": smtp.QuirkPaths}
	mendNames      = map[string]routing.Quirks{
		"empty-fields": routing.QuirkEmptyFields, "no-from": routing.QuirkNoFrom, "no-header": routing.QuirkNoHeader,
	}
)

// relays says who may send without a login to where routes lead; nobody, where no network is named (I12).
func relays(c config.SMTP) func(netip.Addr) bool {
	within := func(networks []config.Network, a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n config.Network) bool { return n.Prefix().Contains(a) })
	}
	return func(a netip.Addr) bool { return within(c.RelayFor, a) && !within(c.RelayNever, a) }
}

func bareNewlines(policy string) smtp.BareNewlines {
	if policy == "repair" {
		return smtp.NormaliseBareNewlines
	}
	return smtp.RejectBareNewlines
}

func (g *Server) routingOptions(s shape, log zerolog.Logger) routing.Options {
	return routing.Options{
		HeaderMost: int64(s.limits.HeaderSize),
		Log:        log, Protocol: s.protocol, Router: g.router, Authenticator: g.authenticator, Dedup: g.dedup,
		Policies: g.policies, Queue: g.spool, Ways: g.ways(), Confirmed: &g.confirmed, Reports: g.reportsNow,
		FirstRetry: func() time.Duration { return g.inForce.Load().cfg.Relay.Retry[0].Std() },
		TakesIn:    func() bool { return g.transferNow().TakesIn() },
		TakesOut:   func() bool { return g.transferNow().TakesOut() }, PassesOut: func() bool { return g.transferNow().PassesOut() },
		Opening:  g.opening(),
		Hostname: s.hostname, Buffers: buffer.Options{Storage: g.incoming()}, PlaintextLogin: s.submission.PlaintextLogin,
		Devices: g.devices, Legacy: s.legacy,
	}
}

// opening opens TNEF for those whose policy has it opened before a store gets it.
func (g *Server) opening() *receivers.Opening {
	return &receivers.Opening{Winmail: g.winmail, For: g.policies.DeliversOpened}
}

// winmailsAtOnce is how many messages with TNEF are opened at the same time: each may take some 64 MiB of memory.
const winmailsAtOnce = 4

// newWinmail opens TNEF for all listeners and the relay.
func (g *Server) newWinmail() *content.Winmail {
	w := content.NewWinmail(buffer.Options{Storage: g.buffers}, winmailsAtOnce)
	w.Observe = func(o content.Opened) {
		g.metrics.winmail.WithLabelValues("opened").Add(float64(o.Parts))
		if o.Kept != nil {
			g.metrics.winmail.WithLabelValues("kept").Inc()
		}
	}
	return w
}

// incoming is where messages are written that do not fit in memory: the spool takes them over as they are.
func (g *Server) incoming() buffer.Storage {
	if g.spool == nil {
		return g.buffers
	}
	return g.spool.Incoming()
}

// listening is a listener of the configuration, at work.
type listening struct {
	listener *listener
	certs    *listenerTLS
	protocol string
	shape    shape
	opened   bool // an engine has it
}

// serve puts a listener's engine behind its listener. The engine that was there keeps its
// sessions until they end.
func (g *Server) serve(l *listening, s shape, implicitTLS bool) {
	e := g.newEngine(s, implicitTLS, l.certs.config())
	l.shape, l.opened = s, true
	handoff := l.listener.open()
	g.mu.Lock()
	g.engines[e] = Listener{Protocol: s.protocol, Address: l.listener.address()}
	g.mu.Unlock()
	g.log.Info().Str("protocol", s.protocol).Str("address", l.listener.address()).Msg("listening")
	g.work.Go(func() {
		err := e.Serve(g.base, handoff)
		g.mu.Lock()
		delete(g.engines, e)
		g.mu.Unlock()
		if err != nil {
			g.fail(fmt.Errorf("%s on %s: %w", s.protocol, handoff.Addr(), err))
		}
	})
}

// fail ends the gateway because of something that cannot go on.
func (g *Server) fail(err error) {
	select {
	case g.failed <- err:
	default: // there is a reason already
	}
}
