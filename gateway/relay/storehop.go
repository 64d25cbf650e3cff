package relay

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/receivers"
	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/stores"
)

// storeHop delivers to a store of this gateway, or sends through its transport. Its connections are the plugin's.
type storeHop struct {
	r    *Relay
	name string
	as   string           // whose mailbox sends; empty: the store takes mail in
	open backends.Sending // nil: there is none
}

func (*storeHop) alive() bool { return true }

// close ends the sending session, if there is one.
func (h *storeHop) close() {
	if h.open != nil {
		_ = h.open.Close() // what was sent was answered
	}
	h.open = nil
}

// can says whether a store does what is asked of it.
func (h *storeHop) can(store *stores.Store) bool {
	if h.as != "" {
		return store != nil && store.Sender != nil
	}
	return store != nil && store.Receiver != nil
}

// send is the call that sends as a mailbox, for which the gateway's word stands. A login that is refused then is the
// administrator's to put right, and no recipient's fault.
func (h *storeHop) send(ctx context.Context, store *stores.Store, delivery backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if h.open == nil {
		session, err := backends.OpenSending(ctx, store.Sender, backends.Credential{Kind: backends.CredentialImpersonation, User: h.as})
		if err != nil {
			return nil, ownLogin(err)
		}
		h.open = session
	}
	verdicts, err := h.open.Send(ctx, delivery, content)
	return verdicts, ownLogin(err)
}

// ownLogin makes a failure of the gateway's own login one that passes.
func ownLogin(err error) error {
	f := backends.AsFailure(err)
	if err == nil || f.Kind != backends.BadCredentials && f.Kind != backends.Unsupported && f.Kind != backends.PasswordExpired {
		return err
	}
	return backends.Fail(backends.Temporary, "the gateway's login: %w", err).WithCode(codeLogin)
}

// deliveryMost is how long a store may take for a message.
const deliveryMost = 15 * time.Minute

// deliver implements [hop]. A recipient's idempotency key is the message's: a store that may have the message is
// asked first (I2).
func (h *storeHop) deliver(ctx context.Context, c Claimed) ([]verdict, *verdict) {
	store := h.r.Stores(h.name)
	if !h.can(store) {
		v := delayed("4.3.5", errors.New("there is no such store, or it takes no mail: is it still configured?"))
		return nil, &v
	}
	ctx, cancel := context.WithTimeout(ctx, deliveryMost)
	defer cancel()
	contents := &contents{ctx: ctx, c: c}
	defer contents.close()
	to := make([]backends.Recipient, len(c.Recipients))
	for i, p := range c.Recipients {
		to[i] = p.Recipient.Recipient
	}
	m := receivers.Message{
		Log: h.r.Log, Content: contents.open, Opening: h.r.Opening,
		Delivery: backends.Delivery{
			Key: c.Key, Envelope: c.Envelope, Size: c.Size, Received: c.Received, Peer: c.Peer,
			Retry: slices.ContainsFunc(c.Recipients, func(p spool.Pending) bool { return p.State == spool.Uncertain }),
		},
	}
	if h.as != "" {
		m.Opening, m.Call = nil, h.send // it goes on as its author has sent it
	}
	outcomes := m.DeliverTo(ctx, store, to)
	verdicts, down := make([]verdict, len(outcomes)), 0
	for i, o := range outcomes {
		verdicts[i] = ofStore(o)
		if o.Err != nil && o.Verdict.Recipient == "" && o.Temporary() && !o.Unknown {
			down++ // the store has said nothing of this recipient
		}
	}
	if down == len(outcomes) {
		return nil, &verdicts[0]
	}
	return verdicts, nil
}

// contents opens a content as often as the store needs it, and closes it when the store is done.
type contents struct {
	ctx    context.Context
	c      Claimed
	opened []io.Closer
}

func (o *contents) open() io.Reader {
	content, err := open(o.ctx, o.c)
	if err != nil {
		return failing{err}
	}
	o.opened = append(o.opened, content)
	return content
}

func (o *contents) close() {
	for _, content := range o.opened {
		_ = content.Close() // it was read
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// StoresOf looks stores up in the router's current table.
func StoresOf(router *stores.Router) func(name string) *stores.Store {
	return func(name string) *stores.Store {
		for _, store := range router.Table().Stores() {
			if store.Name == name {
				return store
			}
		}
		return nil
	}
}
