package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/notice"
	"github.com/dipylon/dipylon/gateway/relay"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/reports"
	"github.com/dipylon/dipylon/gateway/route"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/gateway/stores"
	"github.com/dipylon/dipylon/plugins/host"
)

// openSpool opens the queue of mail in transit. It is there whatever routes there are: what an earlier
// configuration has taken in is in it.
func (g *Server) openSpool(ctx context.Context) (err error) {
	g.spool, err = spool.Open(ctx, SpoolOptions(g.log, g.cfg, g.db))
	if err == nil {
		g.queued = &queueCount{count: g.spool.Summary, now: time.Now}
		g.transit = &queueCount{count: g.spool.Summary, now: time.Now}
	}
	return err
}

// SpoolFolder is where the files of a configuration's mail in transit are.
func SpoolFolder(cfg *config.Config) string { return filepath.Join(cfg.StateFolder, "spool") }

// SpoolOptions is how the spool of a configuration is opened.
func SpoolOptions(log zerolog.Logger, cfg *config.Config, db *state.DB) spool.Options {
	return spool.Options{
		Log: log, DB: db, Folder: SpoolFolder(cfg), Node: cfg.Hostname,
		Lease: cfg.Timeouts.Lease.Std(), Leaves: leaves(cfg.Transfer),
	}
}

// routesOf are the routes of a configuration that none runs by.
func routesOf(cfg *config.Config) (*route.Table, error) { return new(tokenSources).routesOf(cfg) }

// routesOf are the routes of a configuration.
func (t *tokenSources) routesOf(cfg *config.Config) (*route.Table, error) {
	routes := make([]route.Route, len(cfg.Routes))
	for i, r := range cfg.Routes {
		kind, _ := route.ParseKind(r.To) // the configuration was checked
		how, err := routeTLS(r)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", r.Name, err)
		}
		routes[i] = route.Route{
			Name: r.Name, Domains: r.Domains, Senders: r.Senders, Kind: kind, Store: r.Store, Hosts: groupsOf(r.Hosts), TLS: how,
			Tokens: t.of(cfg, r), AsSender: r.AsSender, User: r.User, Password: r.Password.Value, External: r.External, NTLM: r.NTLM, MessageSize: int64(r.MessageSize), Text: r.Text,
			Connections: r.Connections, PerMinute: r.PerMinute, RecipientsPerDay: r.RecipientsPerDay, RecipientsPerMessage: r.RecipientsPerMessage, Rewrite: r.Rewrite,
			DropReplies: r.AutomaticReplies == "drop", DropOutOfOffice: cmp.Or(r.OutOfOffice, r.AutomaticReplies) == "drop", DropForwards: r.AutomaticForwards == "drop",
			OpenWinmail: r.Winmail == "open", MakeWinmail: r.Winmail == "make", WinmailFor: r.WinmailFor,
			Reforms: r.Reforms(), Form: route.Form{Encoding: r.Encoding, Body: r.Body, Charset: r.Charset.Name(), Wrap: r.Wrap},
			Asked: r.When == "asked", Askers: askersOf(r.ETRN),
			FallBack: r.FallBack, FallBackAfter: fallBackAfter(r),
		}
	}
	return route.NewTable(routes)
}

// fallBackAfter is how old mail is that takes the fall-back of its route.
func fallBackAfter(r config.Route) time.Duration {
	if r.FallBackAfter == nil {
		return time.Hour
	}
	return r.FallBackAfter.Std()
}

// askersOf are who may ask for the mail of a route.
func askersOf(c *config.Askers) (who route.Askers) {
	if c == nil {
		return who
	}
	for _, n := range c.Networks {
		who.Networks = append(who.Networks, n.Prefix())
	}
	who.Accounts = c.Accounts
	return who
}

func groupsOf(hosts []config.HostGroup) (groups [][]string) {
	for _, g := range hosts {
		groups = append(groups, g)
	}
	return groups
}

// routeTLS is how a route's connections are secured, by what its files have now.
func routeTLS(r config.Route) (smtpclient.TLS, error) {
	how := smtpclient.TLS{Policy: policies[r.TLS], Implicit: r.ImplicitTLS}
	if r.CA == "" && r.ClientCertificate == "" {
		return how, nil
	}
	how.Config = &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CA != "" {
		text, err := os.ReadFile(r.CA)
		if err != nil {
			return how, err
		}
		how.Config.RootCAs = x509.NewCertPool()
		how.Config.RootCAs.AppendCertsFromPEM(text)
	}
	if r.ClientCertificate != "" {
		shown, err := tls.LoadX509KeyPair(r.ClientCertificate, r.ClientKey)
		if err != nil {
			return how, fmt.Errorf("the certificate %s: %w", r.ClientCertificate, err)
		}
		how.Config.Certificates = []tls.Certificate{shown}
	}
	return how, nil
}

var policies = map[string]smtpclient.Policy{
	"clear": smtpclient.Clear, "opportunistic": smtpclient.Opportunistic, "required": smtpclient.Required, "verified": smtpclient.Verified,
}

// ways are all ways that mail has now.
func (g *Server) ways() route.Ways {
	return route.Ways{Stores: g.router, Routes: g.routes.Load}
}

// WaysOf are the ways of mail by a configuration whose stores do not run: each is taken to do what is asked
// of it.
func WaysOf(cfg *config.Config) (route.Ways, error) {
	routes, err := routesOf(cfg)
	if err != nil {
		return route.Ways{}, err
	}
	var all []stores.Source
	for _, s := range cfg.Stores {
		// No call goes to the store: it only has to have the methods.
		all = append(all, stores.Config{Name: s.Name, Domains: s.Domains, Default: s.Default}.In(stores.Plugin{
			Backend: (*host.Store)(nil), Description: func() *backends.Description { return nil },
		}))
	}
	table, err := stores.NewTable(all...)
	if err != nil {
		return route.Ways{}, err
	}
	return route.Ways{Stores: stores.NewRouter(table), Routes: func() *route.Table { return routes }}, nil
}

// reportsOf is what reports are like.
func reportsOf(cfg *config.Config) *reports.Settings {
	return &reports.Settings{
		Language: cfg.Relay.Language, Copies: notice.Copies{To: cfg.Relay.ReportTo, Classes: cfg.Relay.ReportClasses},
	}
}

func (g *Server) reportsNow() reports.Settings { return *g.reports.Load() }

// relaySettings are what a relay is made of. One whose settings have changed is followed by another. What
// reports are like is looked up each time; routes are, too, but not by who is at work on a destination.
type relaySettings struct {
	relay     config.Relay
	routes    []config.Route
	files     [sha256.Size]byte // the content of those that routes name
	hostname  string
	listeners []netip.Addr
	drain     time.Duration
}

func relaySettingsOf(cfg *config.Config) relaySettings {
	s := relaySettings{cfg.Relay, cfg.Routes, routeFiles(cfg), cfg.Hostname, mxAddresses(cfg), cfg.Timeouts.Drain.Std()}
	s.relay.ReportTo, s.relay.ReportClasses, s.relay.Language = "", nil, ""
	return s
}

// routeFiles tells one content of the files that routes name from another. Connections that were opened with the old
// one end with their relay.
func routeFiles(cfg *config.Config) (digest [sha256.Size]byte) {
	sum := sha256.New()
	for _, r := range cfg.Routes {
		for _, file := range []string{r.CA, r.ClientCertificate, r.ClientKey} {
			if file == "" {
				continue
			}
			text, _ := os.ReadFile(file) // one that cannot be read was told of: routeTLS reads it, too
			fmt.Fprintf(sum, "%d\n%s", len(text), text)
			clear(text)
		}
	}
	sum.Sum(digest[:0])
	return digest
}

// isOurs says whether a host is this gateway, as it takes mail there on the port that other servers use.
func (s relaySettings) isOurs(h mx.Host) bool {
	return slices.ContainsFunc(h.Addresses, func(a netip.Addr) bool {
		return slices.Contains(s.listeners, a) || slices.ContainsFunc(s.listeners, netip.Addr.IsUnspecified) && isInterface(a)
	})
}

// mxAddresses are where this gateway takes mail from other servers on the port that these use; an unspecified one
// stands for all of the machine's.
func mxAddresses(cfg *config.Config) (addresses []netip.Addr) {
	for _, l := range cfg.Listeners {
		host, port, err := net.SplitHostPort(l.Address)
		if err != nil || l.Protocol != config.ProtocolSMTP || port != strconv.Itoa(cfg.Relay.Port) {
			continue
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			addr = netip.IPv6Unspecified()
		}
		addresses = append(addresses, addr.Unmap())
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

// isInterface says whether an address is the machine's own now.
func isInterface(a netip.Addr) bool {
	all, _ := net.InterfaceAddrs() // without them, the gateway's name is left to know it by
	return slices.ContainsFunc(all, func(i net.Addr) bool {
		n, is := i.(*net.IPNet)
		return is && n.IP.Equal(a.AsSlice())
	})
}

// useRelay has mail relayed as a configuration says. A relay with other settings finishes what it is at.
func (g *Server) useRelay(cfg *config.Config) {
	settings := relaySettingsOf(cfg)
	if g.stopRelay != nil && reflect.DeepEqual(settings, g.relayed) {
		return
	}
	if g.stopRelay != nil {
		g.stopRelay()
	}
	ctx, stop := context.WithCancel(g.alive)
	g.relayed, g.stopRelay = settings, stop
	r := g.newRelay(cfg, settings)
	g.relay.Store(r)
	g.relaying.Go(func() { r.Run(ctx) })
}

func (g *Server) newRelay(cfg *config.Config, s relaySettings) *relay.Relay {
	log := g.log.With().Str("protocol", "relay").Logger()
	resolver, err := resolverOf(cfg)
	if err != nil {
		log.Warn().Err(err).Msg("no DNS server is known: set relay.resolvers, until then mail waits that goes by MX")
		resolver = &mx.Resolver{}
	}
	return &relay.Relay{
		Log: log, Queue: relay.FromSpool(g.spool), Resolver: resolver, Hostname: s.hostname,
		Routes: destinations{g.ways(), strconv.Itoa(s.relay.Port), g.winmail},
		Stores: relay.StoresOf(g.router),
		IsOurs: s.isOurs,
		Limits: relay.Limits{Connections: s.relay.PerDestination, Messages: s.relay.Messages}, Connections: s.relay.Connections,
		Schedules: schedules(s.relay),
		Reports:   g.reportsNow,
		Buffers:   buffer.Options{Storage: g.spool.Storage()}, TempDir: g.buffers.Folder,
		Opening: g.opening(), Gate: &g.gate, Quota: g.quota, Grace: s.drain, Cut: g.relayCut, Observe: g.metrics.relayed,
		Asked: g.spool.Asked,
		Now:   g.spool.Now, DeviceFailed: g.deviceFailed,
	}
}

// resolverOf asks the DNS servers of a configuration, or the system's.
func resolverOf(cfg *config.Config) (*mx.Resolver, error) {
	if len(cfg.Relay.Resolvers) > 0 {
		return &mx.Resolver{Servers: cfg.Relay.Resolvers}, nil
	}
	return mx.System()
}

// schedules are those of each priority.
func schedules(settings config.Relay) relay.Schedules {
	urgent, normal, nonUrgent := settings.Timings()
	return relay.Schedules{Urgent: scheduleOf(urgent), Normal: scheduleOf(normal), NonUrgent: scheduleOf(nonUrgent)}
}

func scheduleOf(t config.Timing) relay.Schedule {
	s := relay.Schedule{Lifetime: t.Expire.Std(), Delay: t.DelayNotice.Std()}
	for _, wait := range t.Retry {
		s.Retries = append(s.Retries, wait.Std())
	}
	return s
}

// limitsOf are a route's own limits.
func limitsOf(r *route.Route) relay.Limits {
	return relay.Limits{Connections: r.Connections, PerMinute: r.PerMinute, RecipientsPerDay: r.RecipientsPerDay, RecipientsPerMessage: r.RecipientsPerMessage}
}

// dropsOf is what a route does not let through.
func dropsOf(r *route.Route) (drops content.Automatic) {
	for kind, is := range map[content.Automatic]bool{content.Reply: r.DropReplies, content.OutOfOffice: r.DropOutOfOffice, content.Forward: r.DropForwards} {
		if is {
			drops |= kind
		}
	}
	return drops
}

// destinations is where mail goes, as the relay asks. It implements [relay.Routes].
type destinations struct {
	ways    route.Ways
	port    string
	winmail *content.Winmail
}

// converts is what is done to messages by a route.
func (d destinations) converts(r *route.Route) relay.Conversion {
	var c relay.Conversion
	switch {
	case r.Reforms && r.OpenWinmail:
		c.Do = d.winmail.OpenAndReformFrom(content.Form(r.Form))
	case r.Reforms:
		c.Do = d.winmail.ReformFrom(content.Form(r.Form))
	case r.OpenWinmail:
		c.Do = d.winmail.OpenFrom
	case r.MakeWinmail:
		c.Do = d.winmail.MakeFrom
	default:
		return c
	}
	c.For = r.IsWinmailFor
	return c
}

// authOf is how a route logs in at its servers, by tokens as somebody; nil: it does not.
func authOf(r *route.Route, as string) func(context.Context, []string) (sasl.Client, error) {
	switch {
	case r.External:
		return smtpclient.External(r.User)
	case r.Tokens != nil:
		return smtpclient.Token(as, r.Tokens(as))
	case r.NTLM:
		return smtpclient.NTLM(r.User, r.Password)
	case r.User != "" && r.Kind != route.Transport:
		return smtpclient.Plain("", r.User, r.Password)
	}
	return nil
}

// Back implements [relay.Routes].
func (d destinations) Back(sender string) (route.Way, error) { return d.ways.Back(sender) }

// Route implements [relay.Routes].
func (d destinations) Route(destination string) (relay.Route, error) {
	if name, is := route.StoreOf(destination); is {
		return relay.Route{Kind: relay.Store, Store: name}, nil
	}
	r, domain, ok := d.ways.Routes().Of(destination)
	if !ok {
		return relay.Route{}, fmt.Errorf("there is no route for %s any more", destination)
	}
	next := relay.Route{TLS: &r.TLS, Servers: r.Hosts, Limits: limitsOf(r), Rewrite: r.Rewrite, Drops: dropsOf(r), Converts: d.converts(r), Asked: r.Asked}
	as := r.User
	if r.AsSender {
		as = cmp.Or(domain, r.User)
	}
	next.Auth = authOf(r, as)
	next.Common = commonOf(r)
	if to, by, ok := d.ways.Routes().FallBack(r); ok {
		next.FallBack = relay.FallBack{Destination: to, After: r.FallBackAfter, SizeMost: by.MessageSize}
	}
	switch r.Kind {
	case route.MX:
		next.Kind, next.Domain, next.Port = relay.MX, r.Rewritten(domain), d.port
	case route.SMTP:
		next.Kind = relay.SmartHost
	case route.LMTP:
		next.Kind = relay.LMTP
	case route.Transport:
		next.Kind, next.Store, next.As = relay.Transport, r.Store, cmp.Or(domain, r.User)
	case route.Hold, route.Reject:
		return relay.Route{}, fmt.Errorf("the route %q lets nothing out (%s)", r.Name, r.Kind)
	}
	return next, nil
}
