package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/attention"
	"github.com/dipylon/dipylon/gateway/spool"
)

// mailed is what this process knows of the mails to the administrator.
type mailed struct {
	mu     sync.Mutex        // held while a mail is made
	day    map[string]string // the last day of the mail about what is shared, and about what is this gateway's own
	failed string            // why there is no mail: told once
}

// The two mails of a day, where gateways share a state: the one about what is theirs together is written by the first of them.
const mailShared, mailLocal = "shared", "local"

// mailAttention sends the daily mail, if it has not been sent and something is worth it. Days are those of UTC.
func (g *Server) mailAttention(ctx context.Context) {
	cfg := g.inForce.Load().cfg
	to := cmp.Or(cfg.Attention.MailTo, cfg.Relay.ReportTo)
	if to == "" {
		return
	}
	g.mailed.mu.Lock()
	defer g.mailed.mu.Unlock()
	now := time.Now()
	concerns := attention.Settled(g.attention.Concerns(), now)
	parts := map[string][]attention.Concern{mailShared: concerns}
	if g.db.Shared() {
		parts[mailShared] = nil
		for _, c := range concerns {
			which := mailShared
			if c.Local {
				which = mailLocal
			}
			parts[which] = append(parts[which], c)
		}
	}
	for which, part := range parts {
		if day := now.UTC().Format(time.DateOnly); len(part) > 0 && g.mailed.day[which] != day {
			g.mailConcerns(ctx, cfg, to, attentionKey(cfg, which, day), part, func() { g.mailed.day[which] = day })
		}
	}
}

// attentionKey is what the spool knows the mail of a day by: whoever writes it again, after a restart or on another gateway,
// writes nothing.
func attentionKey(cfg *config.Config, which, day string) string {
	key := "attention-" + day
	if which == mailLocal {
		sum := sha256.Sum256([]byte(cfg.Hostname + "\n" + cfg.StateFolder))
		key += "-" + hex.EncodeToString(sum[:8])
	}
	return key
}

// mailConcerns puts the mail of a day into the queue.
func (g *Server) mailConcerns(ctx context.Context, cfg *config.Config, to, key string, concerns []attention.Concern, sent func()) {
	err := g.queueConcerns(ctx, cfg, to, key, concerns)
	if err == nil {
		g.mailed.failed = ""
		g.log.Info().Str("key", key).Str("to", to).Int("concerns", len(concerns)).Msg("the daily mail about what needs attention is in the queue, or was sent before")
		sent()
		return
	}
	if err.Error() != g.mailed.failed {
		g.log.Error().Err(err).Str("to", to).Msg("the administrator gets no mail about what needs attention")
	}
	g.mailed.failed = err.Error()
}

func (g *Server) queueConcerns(ctx context.Context, cfg *config.Config, to, key string, concerns []attention.Concern) error {
	way, err := g.ways().Back(to)
	if err != nil {
		return err
	}
	now := time.Now()
	letter := attention.Letter{
		Hostname: cfg.Hostname, From: cmp.Or(cfg.Attention.MailFrom, "postmaster@"+cfg.Hostname), To: to, Key: key, Date: now, Concerns: concerns,
	}
	body, err := buffer.Fill(buffer.Options{Storage: g.spool.Storage()}, bytes.NewReader(letter.Bytes()))
	if err != nil {
		return err
	}
	defer body.Discard() //nolint:errcheck // what stays of it is swept
	return g.spool.Accept(ctx, spool.Message{
		Key: key, Envelope: backends.Envelope{From: cfg.Attention.MailFrom}, Received: now, Remembered: now.Add(rememberMail),
		Recipients: []spool.Recipient{spool.ReportTo(to, way.Destination, way.Held)},
	}, body)
}

// rememberMail is for how long the mail of a day is known.
const rememberMail = 48 * time.Hour
