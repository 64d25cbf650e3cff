package relay

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/spool"
)

// Conversion is what is done to messages on their way to the next server. The zero value does nothing.
type Conversion struct {
	// Do gives the message in another form. It is the same one each time.
	Do func(ctx context.Context, message io.Reader) (content.Opened, error)
	// For says whether a recipient gets it so; nil: all do.
	For func(recipient string) bool
}

// parted gives a message to those who get it in another form and to the others: each of them, if there are any.
func (c Conversion) parted(m Claimed) (converted, others []spool.Pending) {
	for _, p := range m.Recipients {
		if c.Do != nil && (c.For == nil || c.For(p.Address)) {
			converted = append(converted, p)
		} else {
			others = append(others, p)
		}
	}
	return converted, others
}

// only is a message for some of its recipients.
func (c Claimed) only(recipients []spool.Pending) Claimed {
	some := *c.Delivery
	some.Recipients = recipients
	c.Delivery = &some
	return c
}

// deliver implements [hop]. Recipients who get the message in different forms get it in transactions of their own.
func (h *smtpHop) deliver(ctx context.Context, c Claimed) ([]verdict, *verdict) {
	h.carried++
	converted, others := h.route.Converts.parted(c)
	switch {
	case len(converted) == 0:
		return h.transaction(ctx, c, false)
	case len(others) == 0:
		return h.transaction(ctx, c, true)
	}
	first, lost := h.transaction(ctx, c.only(converted), true)
	if lost != nil {
		return nil, lost
	}
	second, lost := h.transaction(ctx, c.only(others), false)
	if lost != nil {
		second = allOf(*lost, c.only(others)) // the first have their copies
	}
	verdicts := make([]verdict, 0, len(c.Recipients))
	for _, p := range c.Recipients {
		from := &second
		if len(converted) > 0 && converted[0].Number == p.Number { // both have the message's order
			from, converted = &first, converted[1:]
		}
		verdicts, *from = append(verdicts, (*from)[0]), (*from)[1:]
	}
	return verdicts, nil
}

// convert is the message in its other form; done is for when it was sent. What the server would not take in it for its
// size it gets as it came.
func (h *smtpHop) convert(ctx context.Context, c Claimed, message *held) (_ Claimed, _ *held, done func(), err error) {
	o, err := h.route.Converts.Do(ctx, message)
	if err != nil {
		return c, message, nil, err
	}
	if o.Kept != nil {
		h.r.Log.Info().Str("key", c.Key).AnErr("cause", o.Kept).Msg("a message leaves as it came: it cannot be converted as its route wants")
	}
	done = func() {
		if o.Message != nil {
			_ = o.Message.Discard() // it was sent
		}
	}
	if o.Message == nil || h.tooLarge(o.Message.Size()) {
		_, err := message.Seek(0, io.SeekStart)
		return c, message, done, err
	}
	c = c.only(c.Recipients)
	c.Size = o.Message.Size()
	if o.EightBit {
		c.Envelope.Body = backends.Body8BitMIME
	}
	return c, &held{ReadSeekCloser: unclosed{o.Message.Reader()}, content: message.content}, done, nil
}

// unclosed is closed by whoever has made it.
type unclosed struct{ io.ReadSeeker }

func (unclosed) Close() error { return nil }
