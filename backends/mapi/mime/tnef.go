package mime

import (
	"io"
	"strings"

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
var outer = func() map[mapi.ID]bool {
	tags := []mapi.Tag{
		mapi.PidTagTransportMessageHeaders, mapi.PidTagInternetMessageId, mapi.PidTagInReplyToId, mapi.PidTagInternetReferences,
		mapi.PidTagMessageDeliveryTime, mapi.PidTagClientSubmitTime, mapi.PidTagReplyRecipientEntries, mapi.PidTagReplyRecipientNames,
		mapi.PidTagReadReceiptRequested, mapi.PidTagNonReceiptNotificationRequested,
	}
	for _, a := range []mapi.AddressTags{mapi.SenderAddress, mapi.SentRepresentingAddress, readReceiptAddress} {
		tags = append(tags, a.Name, a.Type, a.Address, a.SMTP, a.EntryID, a.SearchKey)
	}
	ids := map[mapi.ID]bool{} // of whatever type TNEF has them
	for _, tag := range tags {
		ids[tag.ID()] = true
	}
	return ids
}()

// isForged says whether a property in TNEF says what is the mail's to say: also what a field of its own says, and what
// Exchange's servers tell one another.
func isForged(m *mapi.Message, p mapi.Property) bool {
	if p.Named.Set == mapi.PSInternetHeaders {
		return m.Has(p.Named) || IsReserved(strings.ToLower(p.Named.Name))
	}
	return p.Named.IsZero() && (outer[p.Tag.ID()] && m.Has(p.Tag) || p.Tag.ID() == mapi.PidTagMimeSkeleton.ID())
}

// merge adds what TNEF has to a message.
func merge(m, inside *mapi.Message) {
	for p := range inside.All() {
		if !isForged(m, p) {
			m.Put(p)
		}
	}
	if len(m.Recipients) == 0 {
		m.Recipients = inside.Recipients
	}
	withoutSkeletons(inside)
	m.Attachments = append(m.Attachments, inside.Attachments...)
}
