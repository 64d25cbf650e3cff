package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
	"github.com/dipylon/dipylon/gateway/content"
)

// hop is a connection to a next hop.
type hop interface {
	// deliver hands a message over: a verdict for each of its recipients, in their order. If lost is set, the
	// connection has failed, or the whole of the next hop, and nobody has the message.
	deliver(ctx context.Context, c Claimed) (verdicts []verdict, lost *verdict)
	// alive says whether another message can follow.
	alive() bool
	close()
}

// errLease says that the message is another gateway's by now, found out before the end of the content.
var errLease = errors.New("the lease on the message has run out")

// held is the content of a message on its way out. It has no end unless the message is still this gateway's: the
// end is what the final dot follows.
type held struct {
	io.ReadSeekCloser
	content Content
	failed  error // what the reading, or the lease, came to
}

// Read implements [io.Reader].
func (h *held) Read(p []byte) (int, error) {
	n, err := h.ReadSeekCloser.Read(p)
	if errors.Is(err, io.EOF) && !h.content.Held() {
		err = errLease
	}
	if err != nil && !errors.Is(err, io.EOF) {
		h.failed = err
	}
	return n, err
}

// open opens the content of a message for a hop.
func open(ctx context.Context, c Claimed) (*held, error) {
	content, err := c.Content.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &held{ReadSeekCloser: content, content: c.Content}, nil
}

// targetsMost is how many addresses are tried in one attempt.
const targetsMost = 5

// connect opens a connection to the next hop. A verdict says what it means for its mail that none came about:
// one that may pass, if there was one.
func (r *Relay) connect(ctx context.Context, route Route) (hop, *verdict) {
	if route.Kind == Store || route.Kind == Transport {
		return &storeHop{r: r, name: route.Store, as: route.As}, nil
	}
	targets, err := r.targets(ctx, route)
	if err != nil {
		v := ofDNS(err)
		return nil, &v
	}
	c := connecting{r: r, route: route, below: -1, why: failed("5.4.4", errors.New("the route names no server"))}
	targets = targets[:min(len(targets), targetsMost)]
	for len(targets) > 0 && ctx.Err() == nil {
		var same []target
		same, targets = hostOf(targets)
		if hop := c.toHost(ctx, same); hop != nil {
			return hop, nil
		}
	}
	return nil, &c.why
}

// connecting is an attempt to reach a next hop.
type connecting struct {
	r     *Relay
	route Route
	tried bool
	below int     // the preference from which on the hosts are ourselves, or worse (RFC 5321 §5.1); -1: none is
	why   verdict // what it means for mail that none has come about
}

// toHost opens a connection to one host, at any of its addresses; nil: none has come about.
func (c *connecting) toHost(ctx context.Context, addresses []target) hop {
	for len(addresses) > 0 && ctx.Err() == nil {
		if c.below >= 0 && int(addresses[0].preference) >= c.below {
			return nil
		}
		race := newRace(c.r, addresses)
		client, err := c.r.dial(ctx, c.route, addresses[0], race)
		for i, err := range race.failed {
			c.failed(addresses[i], err)
		}
		if err == nil {
			used := addresses[race.won]
			c.r.avoided.works(used)
			return &smtpHop{r: c.r, route: c.route, target: used, client: client, most: c.r.limits(c.route).Messages}
		}
		if race.won < 0 {
			if len(race.failed) == 0 {
				c.failed(addresses[0], err) // it was not even tried
			}
			return nil
		}
		c.failed(addresses[race.won], err)
		addresses = race.left()
	}
	return nil
}

// failed notes why an address was of no use.
func (c *connecting) failed(t target, err error) {
	v := ofConnection(err, c.route.Kind, t.server())
	v.whole = ofAll(err)
	if !c.tried || v.action == backends.ActionDelayed || c.why.action != backends.ActionDelayed {
		c.why = v
	}
	c.tried = true
	if loop := (*smtpclient.LoopError)(nil); errors.As(err, &loop) {
		c.below = int(t.preference)
		return
	}
	c.r.avoided.failed(t, c.r.Now())
	c.r.observe(Event{Kind: Unreachable, Class: c.route.Kind})
}

// greetingMost is how long a host that DNS names may take up to its reply to EHLO. RFC 5321 §4.5.3.2 has 5 minutes for
// each step, with which strangers could hold many connections up for long.
const greetingMost = 2 * time.Minute

// dial opens a connection to a host, at one of its addresses.
func (r *Relay) dial(ctx context.Context, route Route, t target, race *race) (*smtpclient.Client, error) {
	if route.Kind == MX {
		bounded, cancel := context.WithTimeout(ctx, greetingMost)
		defer cancel()
		ctx = bounded
	}
	return smtpclient.Dial(ctx, t.network, t.name, smtpclient.Options{
		LMTP: route.Kind == LMTP, NotHello: route.Kind != LMTP, Hello: r.Hostname, TLS: r.secured(route, t.server()),
		Auth: route.Auth, Timeouts: r.Timeouts, TempDir: r.TempDir,
		Dial: race.dial,
	})
}

// smtpHop is a connection by SMTP or LMTP.
type smtpHop struct {
	r       *Relay
	route   Route
	target  target
	client  *smtpclient.Client
	carried int
	most    int
}

func (h *smtpHop) alive() bool { return h.client.Alive() && h.carried < h.most }

func (h *smtpHop) close() { _ = h.client.Close() }

// transaction hands a message over, as it is or in its other form.
func (h *smtpHop) transaction(ctx context.Context, c Claimed, converted bool) ([]verdict, *verdict) {
	message, err := open(ctx, c)
	if err != nil {
		return allOf(delayed("4.3.0", err), c), nil
	}
	defer message.Close() //nolint:errcheck // it was read
	if converted {
		var done func()
		if c, message, done, err = h.convert(ctx, c, message); err != nil {
			return allOf(delayed("4.3.0", err), c), nil
		}
		defer done()
	}
	envelope := envelopeOf(h.route, c)
	sent, v, err := h.fit(c, message, &envelope)
	switch {
	case err != nil:
		return allOf(delayed("4.3.0", err), c), nil
	case v != nil:
		v.server = h.target.server()
		return allOf(*v, c), nil
	}
	outcomes, err := h.client.Send(ctx, envelope, sent)
	switch address := (*smtpclient.AddressError)(nil); {
	case err == nil:
		return h.verdicts(outcomes)
	case errors.As(err, &address):
		return allOf(ofOutcome(smtpclient.Outcome{Err: err}, h.route.Kind, h.client.Server(), false), c), nil
	case message.failed != nil:
		return allOf(delayed("4.3.0", message.failed), c), nil
	}
	gone := h.lost(err)
	return nil, &gone
}

// lost is what it means that a connection has ended before anybody had the message.
func (h *smtpHop) lost(err error) verdict {
	v := ofConnection(err, h.route.Kind, h.target.server())
	if v.reply == 0 && v.action == backends.ActionDelayed {
		v.code = "4.4.2"
	}
	return v.forNow() // a further connection may be refused, where the first one was not
}

// verdicts are those of a transaction; lost: the server has gone before it knew of the message.
func (h *smtpHop) verdicts(outcomes []smtpclient.Outcome) ([]verdict, *verdict) {
	_, dsn := h.client.Extension("DSN")
	verdicts, gone := make([]verdict, len(outcomes)), 0
	for i, o := range outcomes {
		verdicts[i] = ofOutcome(o, h.route.Kind, h.client.Server(), dsn)
		if refused := (*smtpclient.ReplyError)(nil); errors.As(o.Err, &refused) && refused.Code == 421 && refused.Command == smtpclient.AtMail {
			gone++
		}
	}
	if gone == len(outcomes) {
		return nil, &verdicts[0]
	}
	return verdicts, nil
}

// envelopeOf is the envelope of a message as the client has it.
func envelopeOf(route Route, c Claimed) smtpclient.Envelope {
	e := smtpclient.Envelope{
		ReversePath: c.Envelope.From, Size: c.Size, EightBit: c.Envelope.Body == backends.Body8BitMIME, UTF8: c.Envelope.SMTPUTF8,
		ID: c.Envelope.ID, RequireTLS: c.Envelope.RequireTLS, Priority: c.Envelope.Priority,
	}
	switch c.Envelope.Return {
	case backends.ReturnFull:
		e.Return = "FULL"
	case backends.ReturnHeaders:
		e.Return = "HDRS"
	case backends.ReturnUnset:
	}
	for _, p := range c.Recipients {
		path, original := route.recipient(p)
		e.Recipients = append(e.Recipients, path)
		e.Notices = append(e.Notices, smtpclient.Notice{Notify: notifyText(p.Notify), Original: original})
	}
	return e
}

// notifyText is the value of NOTIFY (RFC 3461 §4.1).
func notifyText(n backends.Notify) string {
	var words []string
	for _, w := range []struct {
		is   backends.Notify
		text string
	}{{backends.NotifyNever, "NEVER"}, {backends.NotifySuccess, "SUCCESS"}, {backends.NotifyFailure, "FAILURE"}, {backends.NotifyDelay, "DELAY"}} {
		if n&w.is != 0 {
			words = append(words, w.text)
		}
	}
	return strings.Join(words, ",")
}

// fit is the message as the server takes it, which the envelope is changed for; a verdict: it does not, for what it
// lacks.
func (h *smtpHop) fit(c Claimed, message *held, e *smtpclient.Envelope) (io.ReadSeeker, *verdict, error) {
	has := func(extension string) bool { _, ok := h.client.Extension(extension); return ok }
	switch {
	case h.tooLarge(c.Size):
		return nil, h.tooLargeVerdict(), nil
	case c.Envelope.RequireTLS && (!has("REQUIRETLS") || h.client.TLSState() == nil):
		v := failed(codeRequireTLS, errors.New("the server does not offer REQUIRETLS"))
		return nil, &v, nil
	case c.Envelope.Body != backends.Body8BitMIME && !c.Envelope.SMTPUTF8, has("8BITMIME") && (!c.Envelope.SMTPUTF8 || has("SMTPUTF8")):
		return message, nil, nil
	}
	inHeader, inBody, err := eightBit(message)
	switch {
	case err != nil:
		return nil, nil, err
	case inHeader && c.Envelope.SMTPUTF8 && !has("SMTPUTF8"): // RFC 6531 §3.2
		v := failed("5.6.7", errors.New("the header needs SMTPUTF8, which the server does not offer"))
		return nil, &v, nil
	case inHeader && !has("8BITMIME"): // RFC 6152 §3
		v := failed(codeConversion, errors.New("the header needs 8BITMIME, which the server does not offer"))
		return nil, &v, nil
	case inBody && !has("8BITMIME"):
		return h.sevenBit(message, e)
	}
	return message, nil, nil
}

// codeConversion is RFC 3463 §3.7: conversion is required, and is not done.
const codeConversion = "5.6.3"

// sevenBit is a message converted for a server that has no 8BITMIME, if it can be (RFC 6152 §3).
func (h *smtpHop) sevenBit(message *held, e *smtpclient.Envelope) (io.ReadSeeker, *verdict, error) {
	converted, err := content.NewSevenBit(message)
	if _, refused := errors.AsType[*content.SevenBitError](err); refused {
		v := failed(codeConversion, fmt.Errorf("the server does not offer 8BITMIME: %w", err))
		return nil, &v, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if e.EightBit, e.Size = false, converted.Size(); h.tooLarge(e.Size) {
		return nil, h.tooLargeVerdict(), nil
	}
	return converted, nil, nil
}

// tooLarge says whether the server takes no message of a size (RFC 1870 §6.1).
func (h *smtpHop) tooLarge(size int64) bool {
	most, err := strconv.ParseInt(h.sizeOffered(), 10, 64)
	return err == nil && most > 0 && size > most
}

func (h *smtpHop) sizeOffered() string {
	size, _ := h.client.Extension("SIZE")
	return strings.TrimSpace(size)
}

func (h *smtpHop) tooLargeVerdict() *verdict {
	v := failed("5.3.4", errors.New("the message is larger than the server takes: SIZE "+h.sizeOffered()))
	return &v
}

// codeRequireTLS is RFC 8689 §8.4: REQUIRETLS support is needed.
const codeRequireTLS = "5.7.30"

// eightBit says whether the octets of a message are all ASCII: what was declared says only that they need not be.
func eightBit(content io.ReadSeeker) (inHeader, inBody bool, err error) {
	buffer, header, line := make([]byte, 32<<10), true, 0
	for {
		n, err := content.Read(buffer)
		for _, c := range buffer[:n] {
			switch {
			case c >= 0x80:
				inHeader, inBody = inHeader || header, inBody || !header
				line++
			case c == '\n':
				header = header && line > 0
				line = 0
			case c != '\r':
				line++
			}
		}
		if errors.Is(err, io.EOF) {
			_, err = content.Seek(0, io.SeekStart)
			return inHeader, inBody, err
		}
		if err != nil {
			return false, false, err
		}
	}
}
