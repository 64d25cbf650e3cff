package server

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/oauth"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/edge"
	"github.com/dipylon/dipylon/gateway/folder"
	"github.com/dipylon/dipylon/gateway/passwords"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/vault"
)

// newAttention makes the list of what needs attention, with all that the gateway knows of itself.
func (g *Server) newAttention() *attention.Registry {
	all := attention.New(attention.Options{Log: g.log, Looked: g.mailAttention})
	all.Source("certificates", func(context.Context) ([]attention.Concern, error) {
		return certificateConcerns(g.inForce.Load().cfg), nil
	})
	all.Source("stores", func(context.Context) ([]attention.Concern, error) { return storeConcerns(g.Snapshot().Stores), nil })
	all.Source("routes", func(context.Context) ([]attention.Concern, error) { return g.routeConcerns(), nil })
	all.Source("logins", g.loginConcerns)
	all.Source("passwords", g.passwordConcerns)
	all.Source("collect", g.collectConcerns)
	all.Source("etrn", g.askedConcerns)
	all.Source("devices", g.deviceConcerns)
	all.Source("quarantine", g.quarantineConcerns)
	all.Source("spool", func(context.Context) ([]attention.Concern, error) { return g.spoolConcerns(), nil })
	all.Source("relay", func(context.Context) ([]attention.Concern, error) { return g.commonConcerns(), nil })
	all.Source("disk", func(context.Context) ([]attention.Concern, error) { return g.diskConcerns() })
	return all
}

// certificateConcerns are the ends of the certificates that listeners and routes show.
func certificateConcerns(cfg *config.Config) (all []attention.Concern) {
	add := func(files edge.Files, whose, advice string) {
		c := attention.Concern{
			Key: "certificate:" + files.Certificate, Kind: attention.Certificate, Local: true, Advice: advice,
			Text: fmt.Sprintf("the certificate %s of %s ends", files.Certificate, whose),
		}
		pair, err := edge.LoadPair(files)
		switch {
		case err != nil:
			c.Severity, c.Text = attention.Warning, fmt.Sprintf("the certificate %s of %s cannot be used: %v", files.Certificate, whose, err)
			c.Advice = "put a certificate and its key there; until then the gateway goes on with the old one"
		case pair.Leaf().NotBefore.After(time.Now()):
			c.Severity, c.Text = attention.Critical, fmt.Sprintf("the certificate %s of %s is not valid yet", files.Certificate, whose)
			c.Advice = "check this machine's clock, and the certificate: it is valid from " + pair.Leaf().NotBefore.UTC().Format(time.DateTime) + " UTC on"
		default:
			c.Until = pair.Leaf().NotAfter
		}
		all = append(all, c)
	}
	const renew = "renew it and put the new one into its files: the gateway takes it over by itself"
	for _, t := range slices.Concat([]config.TLS{cfg.TLS}, ownTLS(cfg)) {
		if t.SelfSigned() {
			own := SelfSignedFiles(cfg.StateFolder)
			add(edge.Files{Certificate: own.Certificate, Key: own.Key}, "the listeners, which the gateway has made itself,",
				"reload: the gateway makes a new one; clients that were told to trust the old one have to be told again")
			continue
		}
		for _, files := range t.All() {
			add(edge.Files(files), "the listeners", renew)
		}
	}
	for _, r := range cfg.Routes {
		if r.ClientCertificate != "" {
			add(edge.Files{Certificate: r.ClientCertificate, Key: r.ClientKey}, "the route "+r.Name,
				"have its servers accept a new one, put it into its files, and reload (dipylon reads them then)")
		}
	}
	return all
}

// ownTLS are the certificates of listeners that have their own.
func ownTLS(cfg *config.Config) (all []config.TLS) {
	for _, l := range cfg.Listeners {
		if l.TLS != nil {
			all = append(all, *l.TLS)
		}
	}
	return all
}

// restartedLately is for how long a plugin is told of that ended by itself and runs again.
const restartedLately = time.Hour

// storeConcerns are stores that cannot be used, and plugins that end by themselves.
func storeConcerns(all []Store) (concerns []attention.Concern) {
	for _, s := range all {
		concerns = append(concerns, warningsOf(s)...)
		c := attention.Concern{Key: "store:" + s.Name, Kind: attention.Store}
		switch {
		case !s.Plugin.Ready && s.Plugin.LastError == nil:
			continue // it starts
		case !s.Plugin.Ready:
			c.Severity, c.Text = attention.Critical, fmt.Sprintf("the store %s has no plugin process: %s", s.Name, s.says(s.Plugin.LastError))
			c.Advice = "see the log for what the plugin says; it is started again by itself"
		case s.Plugin.Health != nil:
			c.Severity, c.Text = attention.Critical, fmt.Sprintf("the store %s cannot be used: %s", s.Name, s.says(s.Plugin.Health))
			c.Advice = fmt.Sprintf("run dipylon doctor %s: it says step by step what works", s.Name)
		case s.Plugin.Restarts > 0 && s.Plugin.LastError != nil && time.Since(s.Plugin.Since) < restartedLately:
			c.Key += " restarts"
			c.Severity, c.Text = attention.Warning, fmt.Sprintf("the plugin of the store %s has ended by itself and was started again, %d times since the gateway began: %s",
				s.Name, s.Plugin.Restarts, s.says(s.Plugin.LastError))
			c.Advice = "see the log for what it said before; sessions that it had were cut off"
			c.Since = s.Plugin.Since
		default:
			continue
		}
		concerns = append(concerns, c)
	}
	return concerns
}

// warningsOf are what a store's backend warns of.
func warningsOf(s Store) (concerns []attention.Concern) {
	for _, w := range s.Plugin.Warnings {
		c := attention.Concern{
			Key: "store:" + s.Name + " " + w.Name, Kind: attention.Store, Text: "the store " + s.Name + ": " + s.hides(w.Text), Advice: s.hides(w.Advice), Since: w.Since, Until: w.Until,
		}
		if kind, is := warningKinds[w.Kind]; is {
			c.Kind = kind
		}
		if w.Stops {
			c.Severity = attention.Critical
		}
		concerns = append(concerns, c)
	}
	return concerns
}

var warningKinds = map[backends.WarningKind]attention.Kind{
	backends.WarningSecret: attention.Secret, backends.WarningCertificate: attention.Certificate, backends.WarningToken: attention.Token, backends.WarningConsent: attention.Consent,
}

// routeConcerns are what there is to tell of the tokens of routes.
func (g *Server) routeConcerns() (concerns []attention.Concern) {
	cfg := g.inForce.Load().cfg
	for _, r := range cfg.Routes {
		if r.OAuth == nil {
			continue
		}
		for _, m := range g.tokens.matters(cfg, r) {
			c := attention.Concern{Key: "route:" + r.Name + " " + m.Name, Kind: matterKind(m.Kind), Text: "the route " + r.Name + ": " + m.Text, Advice: m.Advice, Since: m.Since, Until: m.Until}
			if m.Stops {
				c.Severity = attention.Critical
			}
			if m.Kind == oauth.LoginNeeded {
				c.Advice = "run dipylon oauth login route:" + r.Name
			}
			concerns = append(concerns, c)
		}
	}
	return concerns
}

// loginConcerns are logins that the state keeps of what is in the configuration no more.
func (g *Server) loginConcerns(ctx context.Context) ([]attention.Concern, error) {
	owners, err := g.vault.Keepers(ctx)
	return loginConcernsOf(owners, g.inForce.Load().cfg), err
}

func loginConcernsOf(owners []string, cfg *config.Config) (all []attention.Concern) {
	has := make(map[string]bool)
	for _, s := range cfg.Stores {
		has[vault.Store(s.Name)] = true
	}
	for _, r := range cfg.Routes {
		has[vault.Route(r.Name)] = r.OAuth != nil
	}
	for _, a := range cfg.Collect {
		has[vault.Collect(a.Name)] = a.OAuth != nil
	}
	for _, owner := range owners {
		if has[owner] {
			continue
		}
		kind, name, _ := strings.Cut(owner, " ")
		all = append(all, attention.Concern{
			Key: "login:" + owner, Kind: attention.Token, Severity: attention.Notice,
			Text:   fmt.Sprintf("the state keeps the login of the %s %q, which the configuration does not have any more", kind, name),
			Advice: fmt.Sprintf("dipylon oauth forget %s:%s removes it, unless another gateway on this state needs it", kind, name),
		})
	}
	return all
}

// matterKind is what a matter of tokens is about.
func matterKind(kind oauth.Kind) attention.Kind {
	switch kind {
	case oauth.SecretExpired, oauth.SecretWrong:
		return attention.Secret
	case oauth.CertificateExpired, oauth.CertificateUnusable, oauth.CertificateWrong:
		return attention.Certificate
	case oauth.ConsentMissing, oauth.ScopeWrong, oauth.ClientUnknown:
		return attention.Consent
	}
	return attention.Token
}

// endedLately is for how long a password that has ended is told of: who has not missed it until then does not.
const endedLately = 7 * 24 * time.Hour

// passwordConcerns are the ends of application passwords.
func (g *Server) passwordConcerns(ctx context.Context) (all []attention.Concern, err error) {
	kept, err := passwords.New(g.db).Ending(ctx, time.Now().Add(-endedLately), time.Now().Add(attention.Ahead))
	for _, p := range kept {
		name := p.Account
		if p.Label != "" {
			name = fmt.Sprintf("%s (%s)", p.Account, p.Label)
		}
		all = append(all, attention.Concern{
			Key: "password:" + p.ID, Kind: attention.Password, Until: p.Expires, Most: attention.Warning,
			Text:   fmt.Sprintf("the application password %s of %s at the store %s ends", p.ID, name, p.Store),
			Advice: "make another one (dipylon password add), put it where this one is used, and revoke this one",
		})
	}
	return all, err
}

// quarantineConcerns are messages that stores cannot give, by store.
func (g *Server) quarantineConcerns(ctx context.Context) (all []attention.Concern, err error) {
	counts, err := (&folder.Quarantine{DB: g.db}).HeldByStore(ctx)
	for _, c := range counts {
		all = append(all, attention.Concern{
			Key: "quarantine:" + c.Store, Kind: attention.Quarantine, Severity: attention.Notice, Since: c.First,
			Text:   fmt.Sprintf("messages of the store %s that it could not give are replaced by notices: %d", c.Store, c.Messages),
			Advice: "dipylon quarantine list says which and why; release has the store asked again",
		})
	}
	return all, err
}

// spoolConcerns are too much mail in transit, and mail that is too old.
func (g *Server) spoolConcerns() (all []attention.Concern) {
	sum, ok := g.transit.get(g.log)
	if !ok {
		return []attention.Concern{{
			Key: "spool:count", Kind: attention.Spool, Severity: attention.Warning,
			Text: "mail in transit could not be counted", Advice: "see the log for why: the database is slow, or does not answer",
		}}
	}
	return append(spoolConcernsOf(sum, g.inForce.Load().cfg.Attention), partitionConcerns(g.spool.PartitionFailure(), time.Now())...)
}

// partitionsFail is for how long partitions may not be looked after, as with the database slow, or read by a backup, before that is told.
const partitionsFail = 6 * time.Hour

// partitionConcerns are that contents of mail in transit do not go with partitions of their table.
func partitionConcerns(f *spool.PartitionFailure, now time.Time) []attention.Concern {
	c := attention.Concern{Key: "spool:partitions", Kind: attention.Spool, Severity: attention.Warning}
	switch {
	case f == nil || !f.Denied && now.Sub(f.Since) < partitionsFail:
		return nil
	case f.Denied:
		c.Text = fmt.Sprintf("the role that the gateways log in to PostgreSQL as may not make and drop partitions of spool_contents (%v): contents of mail that has left are deleted one by one, or stay", f.Err)
		c.Advice = "give it the tables (ALTER TABLE … OWNER TO) and GRANT CREATE ON SCHEMA; the gateway goes on by itself"
	default:
		c.Text = fmt.Sprintf("contents of mail that has left stay in PostgreSQL, as their partitions cannot be dropped: %v", f.Err)
		c.Advice = "look who keeps the table spool_contents locked (pg_stat_activity, pg_locks): a backup, or a transaction that was forgotten"
	}
	c.Since = f.Since
	return []attention.Concern{c}
}

func spoolConcernsOf(sum spool.Summary, limits config.Attention) (all []attention.Concern) {
	const look = "dipylon queue stats says where it waits, and why"
	add := func(key string, severity attention.Severity, text, advice string) {
		all = append(all, attention.Concern{Key: "spool:" + key, Kind: attention.Spool, Severity: severity, Text: text, Advice: advice})
	}
	waiting := sum.Recipients[spool.Waiting] + sum.Recipients[spool.InFlight] + sum.Recipients[spool.Uncertain]
	if waiting > int64(limits.QueueRecipients) {
		add("much", attention.Warning, fmt.Sprintf("mail for %d recipients is in transit, more than attention.queue_recipients (%d)", waiting, limits.QueueRecipients), look)
	}
	if age := sum.At.Sub(sum.Oldest); !sum.Oldest.IsZero() && age > limits.QueueAge.Std() {
		add("old", attention.Warning, fmt.Sprintf("the oldest mail in transit came in on %s UTC, before more than attention.queue_age (%s)",
			sum.Oldest.UTC().Format(time.DateTime), limits.QueueAge), look)
	}
	if overdue := sum.At.Sub(sum.Due); !sum.Due.IsZero() && overdue > overdueMost {
		add("overdue", attention.Critical, fmt.Sprintf("mail that is to be tried has been waiting for its turn for %s", overdue.Round(time.Minute)),
			"the relay does not keep up or does not run: see the log, relay.connections and the limits of routes")
	}
	if held := sum.Recipients[spool.Held]; held > 0 {
		add("held", attention.Notice, fmt.Sprintf("mail is held until somebody releases it, for so many recipients: %d", held), "dipylon queue list --state held shows it, dipylon queue release lets it go")
	}
	return all
}

// overdueMost is for how long mail may wait for its turn beyond when it is due.
const overdueMost = time.Hour

// diskConcerns are disks that are almost full.
func (g *Server) diskConcerns() ([]attention.Concern, error) {
	free, reserve, err := g.spool.Free()
	if err != nil || free >= 4*reserve {
		return nil, err
	}
	c := attention.Concern{
		Key: "disk:state", Kind: attention.Disk, Severity: attention.Warning, Local: true,
		Text:   fmt.Sprintf("the disk of the state folder has %d MiB left: with less than %d no mail is taken in", free>>20, reserve>>20),
		Advice: "make room on the disk of " + filepath.Clean(g.inForce.Load().cfg.StateFolder),
	}
	if free < reserve {
		c.Severity, c.Text = attention.Critical, fmt.Sprintf("the disk of the state folder is full (%d MiB left): no mail is taken in for the queue", free>>20)
	}
	return []attention.Concern{c}, nil
}

// attention tells how much needs attention, and what ends first.
func (t told) attention(all *attention.Registry) {
	type of struct {
		kind     attention.Kind
		severity attention.Severity
	}
	counts, first := make(map[of]int), make(map[attention.Kind]time.Time)
	for _, c := range all.Concerns() {
		counts[of{c.Kind, c.Severity}]++
	}
	for _, c := range slices.Backward(all.Ends()) {
		first[c.Kind] = c.Until
	}
	for _, kind := range attention.Kinds {
		for _, severity := range attention.Severities {
			t.number(prometheus.GaugeValue, "dipylon_attention", "Things that need an administrator's attention: dipylon status names them.",
				float64(counts[of{kind, severity}]), "kind", string(kind), "severity", severity.String())
		}
		if until, is := first[kind]; is {
			t.number(prometheus.GaugeValue, "dipylon_expiry_timestamp_seconds", "When the first thing of a kind ends, or has ended.",
				float64(until.Unix()), "kind", string(kind))
		}
	}
}
