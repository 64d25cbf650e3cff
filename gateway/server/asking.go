package server

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/asking"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/collect"
)

// newAsker makes what asks servers elsewhere for mail that they keep.
func (g *Server) newAsker() *asking.Asker {
	return asking.New(asking.Options{
		Log: g.log.With().Str("protocol", "etrn").Logger(), DB: g.db, Locks: g.locks, Observe: g.metrics.askedFor,
	})
}

// ask has the servers of a configuration asked, unless no mail is taken from elsewhere.
func (g *Server) ask(cfg *config.Config) {
	var all []asking.Server
	if cfg.Transfer.TakesIn() {
		for _, e := range cfg.ETRN {
			s, err := Asked(cfg, e)
			if err != nil {
				g.log.Error().Err(err).Str("server", e.Name).Msg("a server cannot be asked for mail")
				continue
			}
			all = append(all, s)
		}
	}
	g.asker.Use(all)
}

// Asked is a server that is asked, as a configuration has it and by what its files have now.
func Asked(cfg *config.Config, e config.ETRN) (s asking.Server, err error) {
	how, err := routeTLS(config.Route{TLS: e.TLS, ImplicitTLS: e.ImplicitTLS, CA: e.CA})
	if err != nil {
		return s, err
	}
	if how.Policy != smtpclient.Clear {
		if how.Config == nil {
			how.Config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		how.Config.ServerName, _, _ = net.SplitHostPort(e.Host) // the configuration has made it so
	}
	var authorities []byte
	if e.CA != "" {
		if authorities, err = os.ReadFile(e.CA); err != nil {
			return s, err
		}
	}
	o := smtpclient.Options{Hello: cfg.Hostname, TLS: how, Timeouts: smtpclient.Within(e.Timeout.Std()), NotHello: true, TempDir: cfg.StateFolder}
	if e.User != "" {
		o.Auth = smtpclient.Plain("", e.User, e.Password.Value)
	}
	return asking.Server{
		Name: e.Name, Address: e.Host, Nodes: e.For, Options: o, Schedule: collect.Schedule{Every: e.Every.Std(), Cron: e.Cron, Zone: e.Zone()},
		Settings: fmt.Sprintf("%s %s %x", cfg.Hostname, e.Fingerprint(), sha256.Sum256(authorities)),
	}, nil
}

// askedConcerns are servers that do not start the mail that they keep.
func (g *Server) askedConcerns(ctx context.Context) (all []attention.Concern, err error) {
	var names []string
	for _, e := range g.inForce.Load().cfg.ETRN {
		names = append(names, e.Name)
	}
	statuses, err := asking.Statuses(ctx, g.db, names)
	for _, s := range statuses {
		if s.Failures == 0 {
			continue
		}
		since := "never yet"
		if !s.Well.IsZero() {
			since = s.Well.Local().Format(time.DateTime)
		}
		all = append(all, attention.Concern{
			Key: "etrn:" + s.Server, Kind: attention.Collect, Severity: attention.Warning,
			Text:   fmt.Sprintf("the server %s does not start the mail that it keeps, %d times in a row (last well: %s): %s", s.Server, s.Failures, since, s.Reason),
			Advice: "mail for here waits there, and expires there; dipylon etrn run asks at once, and says what the server answers",
		})
	}
	return all, err
}
