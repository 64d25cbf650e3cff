package tnef

import (
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
)

// Opener opens parts of Internet mail that are TNEF: it is what mime.Reader calls.
//
//	message, err := mime.Reader{TNEF: tnef.Opener{Keep: keep}.Open}.Read(file, size)
type Opener struct {
	// Keep takes the octets of a part to where they can be read anywhere for as long as the message is in use, such as a
	// file. It returns how many there are.
	Keep func(part io.Reader) (io.ReaderAt, int64, error)
}

// Open adds to a message what is in a part of it (MS-OXCMAIL §2.2.2): the attachments, and the properties, which count more
// than the message's own. Who sent it and what its transport said stay the message's own if it says so: that was checked
// on the way, and what is in an attachment was not. So do the recipients if there are any.
//
// If something of the stream is lost there is an error, and the message is as it was.
func (o Opener) Open(m *mapi.Message, part mapi.Content) error {
	s, err := o.decode(part)
	if err != nil {
		return err
	}
	for p := range s.Message.All() {
		if !ofTransport[p.Tag.ID()] || !p.Named.IsZero() || !m.Has(p.Key()) {
			m.Put(p)
		}
	}
	if len(m.Recipients) == 0 {
		m.Recipients = s.Message.Recipients
	}
	m.Attachments = append(m.Attachments, s.Message.Attachments...)
	return nil
}

func (o Opener) decode(part mapi.Content) (*Stream, error) {
	r, err := part.Open()
	if err != nil {
		return nil, err
	}
	file, size, err := o.Keep(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return Decode(file, size)
}

// ofTransport are the properties that a message's own header tells with more right than an attachment.
var ofTransport = func() map[mapi.ID]bool {
	ids := map[mapi.ID]bool{}
	for _, tag := range []mapi.Tag{
		mapi.PidTagTransportMessageHeaders, mapi.PidTagInternetMessageId, mapi.PidTagInReplyToId, mapi.PidTagInternetReferences,
		mapi.PidTagClientSubmitTime, mapi.PidTagMessageDeliveryTime, mapi.PidTagReplyRecipientEntries, mapi.PidTagReplyRecipientNames,
	} {
		ids[tag.ID()] = true
	}
	for _, a := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress} {
		for _, tag := range []mapi.Tag{a.Name, a.Type, a.Address, a.SMTP, a.EntryID, a.SearchKey} {
			ids[tag.ID()] = true
		}
	}
	return ids
}()
