package mime

import (
	"io"

	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/tnef"
)

// Spool takes octets to where they can be read anywhere, such as a file, for as long as the message is in use. It returns
// how many there are.
type Spool func(r io.Reader) (at io.ReaderAt, size int64, err error)

// OpenTNEF returns what a [Reader] opens TNEF with. Its properties and attachments become those of the message; a
// stream of which something would be lost is left as it is. Who has sent the message to whom, its Message-ID and its
// header are those of the mail that it came in: what TNEF says of them nobody on the way has seen.
func OpenTNEF(spool Spool) func(*mapi.Message, mapi.Content) error {
	return func(m *mapi.Message, data mapi.Content) error {
		r, err := data.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		at, size, err := spool(r)
		if err != nil {
			return err
		}
		s, err := tnef.Decode(at, size)
		if err != nil {
			return err
		}
		merge(m, s.Message)
		return nil
	}
}

// outer are the properties of the mail that count more than those in TNEF: MS-OXCMAIL §2.2.3.1.6 for replies, and the
// others for the reason that [OpenTNEF] says.
var outer = func() map[mapi.Tag]bool {
	tags := map[mapi.Tag]bool{
		mapi.PidTagTransportMessageHeaders: true, mapi.PidTagInternetMessageId: true, mapi.PidTagMessageDeliveryTime: true, mapi.PidTagClientSubmitTime: true,
		mapi.PidTagReplyRecipientEntries: true, mapi.PidTagReplyRecipientNames: true,
		mapi.PidTagReadReceiptRequested: true, mapi.PidTagNonReceiptNotificationRequested: true,
	}
	for _, a := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress, readReceiptAddress} {
		for _, tag := range []mapi.Tag{a.Name, a.Type, a.Address, a.SMTP, a.EntryID, a.SearchKey} {
			tags[tag] = true
		}
	}
	return tags
}()

// merge adds what TNEF has to a message.
func merge(m, inside *mapi.Message) {
	for p := range inside.All() {
		if p.Named.IsZero() && outer[canonical(p.Tag)] && m.Has(p.Tag) {
			continue
		}
		m.Put(p)
	}
	if len(m.Recipients) == 0 {
		m.Recipients = inside.Recipients
	}
	m.Attachments = append(m.Attachments, inside.Attachments...)
}

// canonical returns the tag with the type that it has by its name: a string may be in a code page.
func canonical(t mapi.Tag) mapi.Tag {
	if t.Type() == mapi.PtypString8 {
		return t.WithType(mapi.PtypString)
	}
	return t
}
