package exchange

import (
	"context"
	"encoding/base64"
	"io"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/ews"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/remote"
)

// eitherSending is a sending session that finds out with its first message which protocol it is.
type eitherSending struct {
	store  *Store
	login  login
	chosen backends.Sending
	closed bool
}

// Send implements [backends.Sending].
func (t *eitherSending) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	if t.closed {
		return nil, backends.SendingClosed()
	}
	if t.chosen == nil {
		chosen, err := byEither(t.store, t.login,
			func() (backends.Sending, error) {
				s := &sending{store: t.store, login: t.login}
				return s, s.connect(ctx)
			},
			func() (backends.Sending, error) { return t.store.sendingByEWS(ctx, t.login) })
		if err != nil {
			return nil, err
		}
		t.chosen = chosen
	}
	return t.chosen.Send(ctx, d, content)
}

// Close implements [backends.Sending].
func (t *eitherSending) Close() error {
	t.closed = true
	if t.chosen == nil {
		return nil
	}
	return t.chosen.Close()
}

// webSending is a sending session by EWS.
type webSending struct{ *web }

// sendingByEWS signs in to send.
func (s *Store) sendingByEWS(ctx context.Context, l login) (backends.Sending, error) {
	if w, there := s.webWaiting.take(l); there {
		return &webSending{w}, nil
	}
	w, err := s.web(l)
	if err != nil {
		return nil, err
	}
	_, failures, err := w.folders(ctx, ews.SentItems)
	if err == nil && failures[0] != nil {
		err = notOpen(l, failures[0])
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return &webSending{w}, nil
}

// Close implements [backends.Sending].
func (t *webSending) Close() error {
	t.close()
	return nil
}

// webSubmission is a message that is being sent by EWS.
type webSubmission struct {
	*web
	delivery backends.Delivery
	kept     *buffer.Buffer
	verdicts map[string]*backends.Failure // by recipient, those that are known; nil: sent
}

// Send implements [backends.Sending]: the message is sent as it is (CreateItem with MimeContent), to those to whom no earlier attempt under its key has
// sent it. The server files what was sent in Sent Items, where a retry looks for it.
func (t *webSending) Send(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	end, err := t.store.inFlight.Begin(ctx, "send "+d.Key)
	if err != nil {
		return nil, err
	}
	defer end()
	kept, err := remote.Keep(t.store.stateDir, content)
	if err != nil {
		return nil, err
	}
	defer kept.Discard()
	sub := &webSubmission{web: t.web, delivery: d, kept: kept, verdicts: make(map[string]*backends.Failure)}
	if err := sub.send(ctx); err != nil {
		return nil, err
	}
	verdicts := make([]backends.Verdict, len(d.Recipients))
	for i, r := range d.Recipients {
		verdicts[i] = backends.Verdict{Recipient: r.Address, Failure: sub.verdicts[r.Address]}
		if verdicts[i].Failure == nil {
			verdicts[i].Action = backends.ActionRelayed
		}
	}
	return verdicts, nil
}

// send notes a verdict on each recipient. An error is of all: nothing was sent.
func (s *webSubmission) send(ctx context.Context) (err error) {
	var left []backends.Recipient
	for _, r := range s.delivery.Recipients {
		if !sendableAddress(r.Address) {
			s.verdicts[r.Address] = backends.Fail(backends.Permanent, "a recipient is no address").WithCode("5.1.3")
		} else {
			left = append(left, r)
		}
	}
	if s.delivery.Retry {
		if left, err = s.lookBack(ctx, left); err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	err = s.create(ctx, left)
	if backends.KindOf(err) == backends.Uncertain && ctx.Err() == nil {
		// It may be among what was sent already, if only the reply was lost.
		if unknown, failed := s.lookBack(ctx, left); failed == nil {
			left = unknown
		}
	}
	for _, r := range left {
		s.verdicts[r.Address] = sendFailure(err)
	}
	if f := backends.AsFailure(err); f != nil && f.Kind == backends.BadCredentials {
		return f
	}
	return nil
}

// create has the server send the message to recipients.
func (s *webSubmission) create(ctx context.Context, recipients []backends.Recipient) error {
	open, size, err := addressed(s.kept, recipients)
	if err != nil {
		return err
	}
	_, err = s.client.CreateItem(ctx, ews.NewItem{
		Disposition: ews.SendAndSaveCopy, Folder: ews.Known(ews.SentItems, s.as), Mail: open, Size: size,
		Properties: []ews.Property{keyOf(s.delivery), octetsProperty(sentName.Name, sentTo(recipients))},
	})
	return err
}

// keyOf is the property that names a delivery, the same as by MAPI.
func keyOf(d backends.Delivery) ews.Property { return octetsProperty(keyName.Name, []byte(d.Key)) }

func octetsProperty(name string, octets []byte) ews.Property {
	return ews.Property{Name: name, Type: "Binary", Value: base64.StdEncoding.EncodeToString(octets)}
}

// lookBack looks for what earlier attempts have sent, notes to whom, and returns those who are left.
func (s *webSubmission) lookBack(ctx context.Context, recipients []backends.Recipient) (left []backends.Recipient, err error) {
	found, err := s.client.FindBy(ctx, ews.Known(ews.SentItems, s.as), keyOf(s.delivery), madeMost, ews.Property{Name: sentName.Name, Type: "Binary"})
	if err != nil {
		return nil, err
	}
	for _, r := range recipients {
		if slices.ContainsFunc(found, func(f ews.Found) bool {
			hashes, err := base64.StdEncoding.DecodeString(f.Values[sentName.Name])
			return err == nil && wasSentTo(mapi.Binary(hashes), r.Address)
		}) {
			s.verdicts[r.Address] = nil
		} else {
			left = append(left, r)
		}
	}
	return left, nil
}

// sendFailure is the verdict for what a message was refused with.
func sendFailure(err error) *backends.Failure {
	f := backends.AsFailure(err)
	switch {
	case f == nil:
		return nil
	case f.Kind == backends.OverQuota:
		return f.Say("your own mailbox is full: the message cannot be put there to be sent")
	case ews.Refused(f, "ErrorInvalidRecipients"), ews.Refused(f, "ErrorMissingRecipients"):
		return backends.Fail(backends.Permanent, "%w", f).WithCode("5.1.1").Say("the mail server has refused a recipient")
	}
	return f
}

// notSubmitted are fields that are not for those who get the message: who gets it in secret, and the way that it has come (RFC 5321 §4.4).
var notSubmitted = []string{"Bcc", "Resent-Bcc", "Return-Path", "Received"}

// addressed makes the header of a message name those whom it is for, as EWS sends it to whom the header names, and to nobody else: who is not in it
// gets it in secret (Bcc, which the server takes out), and who is in it and does not get it now is left out. What needs no change stays as it is.
func addressed(kept *buffer.Buffer, recipients []backends.Recipient) (open func() io.Reader, size int64, err error) {
	h, at, err := header.Read(kept.Reader(), header.Most)
	if err != nil {
		return nil, 0, backends.Fail(backends.Permanent, "the header of the message: %w", err).WithCode("5.6.0")
	}
	var fields []header.Field
	var shown []string
	for _, f := range h.Fields {
		switch {
		case slices.ContainsFunc(notSubmitted, f.Is):
			continue
		case f.Is("To") || f.Is("Cc"):
			list := entity.ParseAddresses(f.Value())
			named := slices.DeleteFunc(slices.Clone(list), func(a entity.Address) bool { return !contains(recipients, a.Address) })
			for _, a := range named {
				shown = append(shown, a.Address)
			}
			if len(named) == 0 && len(list) > 0 {
				continue
			}
			if len(named) < len(list) {
				f.Raw = []byte(entity.FormatAddresses(f.Name, named))
			}
		}
		fields = append(fields, f)
	}
	var secret []entity.Address
	for _, r := range recipients {
		if !slices.ContainsFunc(shown, func(one string) bool { return contains([]backends.Recipient{r}, one) }) {
			secret = append(secret, entity.Address{Address: r.Address})
		}
	}
	if h.Fields = fields; len(secret) > 0 {
		h.Append("Bcc", "")
		h.Fields[len(h.Fields)-1].Raw = []byte(entity.FormatAddresses("Bcc", secret))
	}
	if len(h.End) == 0 {
		h.End = []byte("\r\n")
	}
	return func() io.Reader { return io.MultiReader(h.Reader(), io.NewSectionReader(kept, at, kept.Size()-at)) }, h.Size() + kept.Size() - at, nil
}

// createByEWS creates a message in an Inbox, unless an earlier attempt has, and returns its id, as far as it is known.
func (s *Store) createByEWS(ctx context.Context, l login, d backends.Delivery, m *mail) (backends.MessageID, error) {
	w, err := s.web(l)
	if err != nil {
		return "", err
	}
	defer w.close()
	_, failures, err := w.folders(ctx, ews.Inbox)
	if err == nil && failures[0] != nil {
		err = notOpen(l, failures[0])
	}
	if err != nil {
		return "", err
	}
	if d.Retry {
		if id, there, err := w.created(ctx, d); err != nil || there {
			return id, err
		}
	}
	raw := m.kept[0]
	_, err = w.client.CreateItem(ctx, ews.NewItem{
		Disposition: ews.SaveOnly, Folder: ews.Known(ews.Inbox, w.as), Delivered: true, At: m.received, Properties: []ews.Property{keyOf(d)},
		Mail: func() io.Reader { return raw.Reader() }, Size: raw.Size(),
	})
	if err != nil && backends.KindOf(err) != backends.Uncertain {
		return "", err
	}
	// What was created has no id yet that lasts; and what may have been created is looked for.
	id, there, failed := w.created(ctx, d)
	if err != nil && (failed != nil || !there) {
		return "", err
	}
	return id, nil
}

// created looks for what was created under a key: in the Inbox, and where the user may have put it meanwhile by deleting it.
func (w *web) created(ctx context.Context, d backends.Delivery) (id backends.MessageID, there bool, err error) {
	places := []string{ews.Inbox, ews.DeletedItems}
	if w.client.Has(ews.Exchange2010SP1) {
		places = append(places, ews.Recoverable)
	}
	for _, place := range places {
		found, err := w.client.FindBy(ctx, ews.Known(place, w.as), keyOf(d), 1)
		switch {
		case err != nil && place == ews.Inbox:
			return "", false, err
		case err != nil || len(found) == 0:
			continue // a mailbox need not have the others
		}
		id, _ := messageIdentity(found[0].Item) // without one, it is there all the same
		return id, true, nil
	}
	return "", false, nil
}

// askForByEWS is askFor by EWS.
func (s *Store) askForByEWS(ctx context.Context, login login, addresses []string, known map[string]person) error {
	w, err := s.web(login)
	if err != nil {
		return err
	}
	defer w.close()
	return s.guarded(ctx, w.login, func() error {
		for _, address := range addresses {
			p, err := w.personOf(ctx, address)
			if err != nil {
				return err
			}
			known[address] = p
			s.directory.remember(address, p)
		}
		return nil
	})
}
