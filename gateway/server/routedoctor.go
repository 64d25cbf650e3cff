package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/backends/probe"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/doctor"
	"github.com/dipylon/dipylon/gateway/relay/mx"
	"github.com/dipylon/dipylon/gateway/route"
)

// RouteExamination says how a route is examined.
type RouteExamination struct {
	Route string
	// To is an address, or by MX a domain, whose servers are asked whether they would take mail; empty: nobody is asked for.
	To string
	// MustRefuse is a mailbox that the route's tokens must not log in; empty: it is not tried.
	MustRefuse string
	// SendToSelf has a mail sent from the route's user to itself.
	SendToSelf bool
	// FreshToken has a token asked for anew, although there is one that is good still.
	FreshToken bool
}

// serversExamined bounds the servers of a route that are looked at.
const serversExamined = 10

// ExamineRoute goes the way of mail by a route, to the login at each of its servers and the question whether mail would be taken, and
// tells each step. Nothing is sent but where that is asked for.
func ExamineRoute(ctx context.Context, cfg *config.Config, e RouteExamination, tell func(backends.Step)) error {
	var tokens tokenSources
	defer tokens.close()
	if at := slices.IndexFunc(cfg.Routes, func(r config.Route) bool { return r.Name == e.Route }); at >= 0 && cfg.Routes[at].OAuth.KeepsLogin() {
		v, done, err := OpenVault(ctx, cfg)
		if err != nil {
			return err
		}
		defer done() //nolint:errcheck // what was put is on the disk
		defer tokens.close()
		tokens.vault = v
	}
	table, err := tokens.routesOf(cfg)
	if err != nil {
		return err
	}
	for _, r := range table.Routes() {
		if r.Name == e.Route {
			x := &routeExamination{probe.New(ctx, tell), cfg, r, e, &tokens}
			x.run()
			return x.Err()
		}
	}
	return fmt.Errorf("the configuration has no route %q", e.Route)
}

type routeExamination struct {
	*probe.Way
	cfg   *config.Config
	route *route.Route
	asked RouteExamination

	tokens *tokenSources
}

func (x *routeExamination) run() {
	switch x.route.Kind {
	case route.SMTP, route.LMTP:
		if x.token() {
			x.servers()
		}
	case route.MX:
		x.exchangers()
	case route.Transport:
		x.Skip("transport", fmt.Sprintf("the route leads through the store %s: dipylon doctor %s %s goes that way", x.route.Store, x.route.Store, x.route.User))
	case route.Hold, route.Reject:
		x.Skip("servers", fmt.Sprintf("the route lets nothing out (%s)", x.route.Kind))
	}
}

// user is who logs in.
func (x *routeExamination) user() string {
	if x.route.AsSender && strings.Contains(x.asked.To, "@") {
		return x.asked.To
	}
	return x.route.User
}

// token asks for a token, where the route logs in by one.
func (x *routeExamination) token() bool {
	if x.route.Tokens == nil {
		return true
	}
	return x.Step("token", func(ctx context.Context) (found probe.Found, err error) {
		source := x.source()
		if source != nil && x.asked.FreshToken {
			source.Afresh(ctx, x.user())
		}
		if _, err := x.route.Tokens(x.user()).Token(ctx); err != nil {
			return found, probe.ByToken(err)
		}
		found.Detail = "there is one for " + x.user()
		if source != nil {
			found.Detail += ": " + source.Origin(x.user()).String()
		}
		return found, nil
	})
}

// source is what gets the route's tokens; nil: a file or a command has them, or there can be none.
func (x *routeExamination) source() *oauth.Source {
	for _, r := range x.cfg.Routes {
		if r.Name == x.route.Name && r.OAuth != nil {
			source, _ := x.tokens.ofRoute(x.cfg, r) // where it fails, asking for a token says so
			return source
		}
	}
	return nil
}

// servers looks at those that are named.
func (x *routeExamination) servers() {
	n := 0
	for _, group := range x.route.Hosts {
		for _, address := range group {
			if n++; n > serversExamined {
				x.Skip("more servers", fmt.Sprintf("%d are looked at", serversExamined))
				return
			}
			if x.Submit(x.submission(address)) && n == 1 {
				x.afterLogin(address)
			}
		}
	}
}

// submission is how a server is spoken to.
func (x *routeExamination) submission(address string) probe.Submission {
	r := x.route
	s := probe.Submission{
		Address: address, ByToken: r.Tokens != nil, User: x.user(), Connections: cmp.Or(r.Connections, x.cfg.Relay.PerDestination),
		Options: x.options(address, authOf(r, x.user())),
	}
	if r.Kind == route.LMTP {
		s.Connections = 0
	}
	if strings.Contains(x.asked.To, "@") {
		s.Envelope = smtpclient.Envelope{ReversePath: x.sender(), Recipients: []string{x.asked.To}}
	}
	return s
}

func (x *routeExamination) options(address string, auth func(context.Context, []string) (sasl.Client, error)) smtpclient.Options {
	how := x.route.TLS
	if how.Policy == smtpclient.Verified {
		config := how.Config.Clone()
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		config.ServerName, _, _ = net.SplitHostPort(address)
		how.Config = config
	}
	return smtpclient.Options{
		LMTP: x.route.Kind == route.LMTP, Hello: x.cfg.Hostname, TLS: how, Auth: auth, Timeouts: smtpclient.Within(30 * time.Second), TempDir: x.cfg.StateFolder,
	}
}

// sender is whom the question is from: the login, or else nobody.
func (x *routeExamination) sender() string {
	if strings.Contains(x.user(), "@") {
		return x.user()
	}
	return ""
}

// afterLogin does what was asked for besides.
func (x *routeExamination) afterLogin(address string) {
	if who := x.asked.MustRefuse; who != "" {
		x.mustRefuse(address, who)
	}
	if !x.asked.SendToSelf {
		return
	}
	self := x.sender()
	if self == "" {
		x.Skip("send", "the route's user is no address that a mail could go to")
		return
	}
	x.Step("send", func(ctx context.Context) (found probe.Found, err error) {
		id, mail := doctor.TestMail(self, time.Now())
		client, err := smtpclient.Dial(ctx, "tcp", address, x.options(address, authOf(x.route, x.user())))
		if err != nil {
			return found, err
		}
		defer client.Close() //nolint:errcheck // the mail has its answer
		outcomes, err := client.Send(ctx, smtpclient.Envelope{ReversePath: self, Recipients: []string{self}, Size: int64(len(mail))}, bytes.NewReader(mail))
		for _, o := range outcomes {
			err = cmp.Or(err, o.Err)
		}
		return probe.Found{Detail: "a mail from " + self + " to itself was taken: " + id}, probe.Said(err)
	})
}

// mustRefuse tries to log somebody in who must not be.
func (x *routeExamination) mustRefuse(address, who string) {
	name := "must refuse " + who
	if x.route.Tokens == nil {
		x.Skip(name, "the route does not log in by tokens")
		return
	}
	x.Step(name, func(ctx context.Context) (probe.Found, error) {
		client, err := smtpclient.Dial(ctx, "tcp", address, x.options(address, authOf(x.route, who)))
		if err == nil {
			_ = client.Close()
			return probe.Found{}, probe.Because(probe.ReachesAll, backends.Fail(backends.Permanent, "%s is logged in", who))
		}
		return probe.Found{Detail: fmt.Sprintf("%s is refused, as it must be: %v", who, err)}, nil
	})
}

// exchangers looks at the servers that DNS names for a domain.
func (x *routeExamination) exchangers() {
	domain := x.asked.To[strings.LastIndexByte(x.asked.To, '@')+1:]
	if domain == "" {
		x.Skip("MX", "name an address or a domain that the route is for")
		return
	}
	resolver, err := resolverOf(x.cfg)
	var hosts []mx.Host
	ok := x.Step("MX of "+domain, func(ctx context.Context) (probe.Found, error) {
		if err == nil {
			hosts, err = resolver.Hosts(ctx, domain, func(mx.Host) bool { return false })
		}
		if err != nil {
			return probe.Found{}, probe.Because(probe.NameNotFound, backends.Fail(backends.Temporary, "%w", err))
		}
		var names []string
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		return probe.Found{Detail: strings.Join(names[:min(len(names), serversExamined)], ", ")}, nil
	})
	for _, h := range hosts[:min(len(hosts), serversExamined)] {
		if !ok {
			return
		}
		x.Submit(x.submission(net.JoinHostPort(h.Name, strconv.Itoa(x.cfg.Relay.Port))))
	}
}
