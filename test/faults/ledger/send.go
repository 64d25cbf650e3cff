//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// Outcomes of an attempt.
const (
	taken   = "taken"   // the reply to the end of the data was read, and is 250
	refused = "refused" // a reply was read, and is another
	unknown = "unknown" // no reply was read: the server may have it
)

// attempt is a line of the ledger.
type attempt struct {
	At      time.Time `json:"at"`             // when it began
	Until   time.Time `json:"until,omitzero"` // when it had its outcome
	ID      string    `json:"id"`
	To      []string  `json:"to"`
	Outcome string    `json:"outcome"`
	Reply   string    `json:"reply"` // or what went wrong
}

// sender is what the senders have in common.
type sender struct {
	to, from       string
	user, password string
	near           list
	far            string
	domains        int
	pause          time.Duration
	large          int

	mu     sync.Mutex
	record io.Writer
}

func runSend(ctx context.Context, args []string) error {
	s := &sender{}
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	flags.StringVar(&s.to, "to", "", "host:port of the server")
	flags.StringVar(&s.from, "from", "", "the sender, who gets the reports")
	flags.StringVar(&s.user, "user", "", "log in as, without TLS; empty: do not")
	flags.StringVar(&s.password, "password", "", "the password for that")
	flags.Var(&s.near, "near", "a recipient of the server's own; may be repeated")
	flags.StringVar(&s.far, "far", "", "recipients are at 0.FAR, 1.FAR and so on; empty: there are near ones alone")
	flags.IntVar(&s.domains, "domains", 20, "how many such domains there are")
	flags.DurationVar(&s.pause, "pause", 20*time.Millisecond, "between two messages of a sender, on average")
	flags.IntVar(&s.large, "large", 200<<10, "octets of each thirtieth message")
	record := flags.String("record", "", "the ledger")
	senders := flags.Int("senders", 4, "how many send at a time")
	seed := flags.Uint64("seed", 1, "what is sent when")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := required(flags, "to", "from", "near", "record"); err != nil {
		return err
	}
	file, err := os.OpenFile(*record, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.record = file
	run := fmt.Sprintf("%x%05x", time.Now().UnixMilli(), os.Getpid()) // senders may begin at the same time
	var all sync.WaitGroup
	for n := range *senders {
		all.Go(func() { s.keepSending(ctx, fmt.Sprintf("%s-%d", run, n), rand.New(rand.NewPCG(*seed, uint64(n)))) })
	}
	all.Wait()
	return file.Close()
}

// keepSending sends one message after the other, as a careful client does: what was not taken is sent again.
func (s *sender) keepSending(ctx context.Context, name string, r *rand.Rand) {
	c := &connection{sender: s}
	defer c.close()
	for n := 0; ctx.Err() == nil; n++ {
		id, to, size := fmt.Sprintf("%s-%d", name, n), s.recipients(r), 500+r.IntN(6000)
		if r.IntN(30) == 0 {
			size = s.large
		}
		content := compose(id, s.from, to, size)
		for tries := 0; ctx.Err() == nil && tries < 100; tries++ {
			begun := time.Now()
			a := c.send(to, content)
			a.At, a.Until, a.ID, a.To = begun, time.Now(), id, to
			s.note(a)
			if a.Outcome == taken {
				break
			}
			pause(ctx, 50*time.Millisecond)
		}
		pause(ctx, time.Duration(r.Int64N(int64(2*s.pause)+1)))
	}
}

// pause waits as a client does before it goes on.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// nobody is whom the sink refuses.
const nobody = "nobody"

// recipients are some near ones, some far ones, or both; now and then one that the far side does not have.
func (s *sender) recipients(r *rand.Rand) (to []string) {
	kind := r.IntN(20)
	if s.far == "" {
		kind = 0
	}
	if kind < 13 {
		for _, at := range r.Perm(len(s.near))[:1+r.IntN(len(s.near))] {
			to = append(to, s.near[at])
		}
	}
	if kind >= 8 {
		who := fmt.Sprintf("r%d", r.IntN(10))
		if kind == 19 {
			who = nobody
		}
		to = append(to, fmt.Sprintf("%s@%d.%s", who, r.IntN(s.domains), s.far))
	}
	return to
}

func (s *sender) note(a attempt) {
	line, _ := json.Marshal(a) // texts and a time: it cannot fail
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.record.Write(append(line, '\n'))
}

// connection is one to the server, kept while it is good.
type connection struct {
	sender *sender
	smtp   *harness.SMTP
	sent   int
}

// perConnection is how many messages one connection carries.
const perConnection = 8

func (c *connection) close() {
	if c.smtp != nil {
		c.smtp.Close()
		c.smtp = nil
	}
}

// send makes one attempt. Only what was said to the end of the data decides (RFC 5321 §4.2.5): whatever
// fails earlier, the server has nothing.
func (c *connection) send(to []string, content []byte) attempt {
	if err := c.open(); err != nil {
		c.close()
		return attempt{Outcome: refused, Reply: err.Error()}
	}
	reply, err := c.smtp.Send(harness.Envelope{From: c.sender.from, To: to}, bytes.NewReader(content))
	if c.sent++; err != nil || c.sent >= perConnection {
		c.close()
	}
	var refusal *harness.Refusal
	switch {
	case err == nil:
		return attempt{Outcome: taken, Reply: fmt.Sprint(reply.Code, " ", strings.Join(reply.Lines, " "))}
	case errors.As(err, &refusal):
		return attempt{Outcome: refused, Reply: err.Error()}
	}
	return attempt{Outcome: unknown, Reply: err.Error()}
}

func (c *connection) open() (err error) {
	if c.smtp != nil {
		return nil
	}
	c.sent = 0
	if c.smtp, err = harness.DialSMTP(c.sender.to, nil); err != nil || c.sender.user == "" {
		return err
	}
	return c.smtp.Auth(c.sender.user, c.sender.password)
}
