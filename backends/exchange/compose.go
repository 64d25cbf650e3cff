package exchange

import (
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	"github.com/dipylon/dipylon/backends/remote"
)

// mail is Internet mail that becomes a message object.
type mail struct {
	object   // of which the mail itself is the first that is kept
	dir      string
	received time.Time // when it has come in
}

// spool keeps what is unpacked of TNEF.
func (m *mail) spool(r io.Reader) (io.ReaderAt, int64, error) {
	b, err := buffer.Fill(buffer.InFolder(m.dir), r)
	if err != nil {
		return nil, 0, err
	}
	m.kept = append(m.kept, b)
	return b, b.Size(), nil
}

// readMail keeps a content, and makes an object of it. A content that fails is its own failure.
func (s *Store) readMail(content io.Reader, reader mime.Reader) (*mail, error) {
	kept, err := remote.Keep(s.stateDir, content)
	if err != nil {
		return nil, err
	}
	m := &mail{dir: s.stateDir}
	m.kept = []*buffer.Buffer{kept}
	reader.TNEF = mime.OpenTNEF(m.spool)
	if m.message, err = reader.Read(kept, kept.Size()); err != nil {
		m.discard()
		var storage *buffer.StorageError
		if errors.As(err, &storage) {
			return nil, backends.Fail(backends.Temporary, "read the message: %w", err)
		}
		return nil, backends.Fail(backends.Permanent, "make a message object: %w", err).WithCode("5.6.0")
	}
	return m, nil
}

// Names of our own properties on what this backend has made: the key that it was made under, and whom it was for. They say to a retry what an
// earlier attempt has done (I2). They are octets: texts are compared without regard to case.
var (
	keyName  = mapi.Named{Set: mapi.PSPublicStrings, Name: "DipylonDeliveryKey"}
	sentName = mapi.Named{Set: mapi.PSPublicStrings, Name: "DipylonRecipients"}
)

// Bits of PidTagMessageFlags, MS-OXCMSG §2.2.1.6.
const (
	flagSubmitted = 0x00000004
	flagUnsent    = 0x00000008
	flagResend    = 0x00000080
)

// Bits of a RecipientType, MS-OXOMSG §2.2.3.1: in a message that is sent again, who is to get it, and who is there to be seen alone.
const (
	recipientTo     uint8 = 1
	recipientBcc    uint8 = 3
	recipientWanted uint8 = 0x10
	recipientSeen   uint8 = 0x80
)

// notForSending are properties of mail that has arrived.
var notForSending = []mapi.Key{
	mapi.PidTagTransportMessageHeaders, mapi.PidTagMimeSkeleton, mapi.PidTagMessageDeliveryTime, mapi.PidTagDisplayTo, mapi.PidTagDisplayCc,
	mapi.PidTagDisplayBcc, mapi.PidTagHasAttachments,
	mapi.PidTagSenderName, mapi.PidTagSenderAddressType, mapi.PidTagSenderEmailAddress, mapi.PidTagSenderSmtpAddress, mapi.PidTagSenderEntryId,
	mapi.PidTagSenderSearchKey, // the server says who has sent it
}

// forSending makes of an object that was read what is to be sent to some recipients, and returns the rows of these. Who is in the header and
// gets nothing now is shown alone: that makes the message one that is sent again (MS-OXOMSG §3.2.5.1). Who gets it, and is not in the header, gets it
// in secret.
func forSending(m *mapi.Message, key string, recipients []backends.Recipient) []rop.RecipientChange {
	m.Delete(notForSending...)
	shown := m.Recipients
	m.Recipients = nil
	m.Set(keyName, mapi.Binary(key))
	m.Set(sentName, sentTo(recipients))
	rows, seen := recipientRows(shown, recipients)
	flags := mapi.Integer32(flagUnsent)
	if seen {
		flags |= flagResend
	}
	m.Set(mapi.PidTagMessageFlags, flags)
	return rows
}

// recipientRows are the rows of recipients. It says whether somebody is shown alone.
func recipientRows(shown []*mapi.Recipient, recipients []backends.Recipient) (rows []rop.RecipientChange, seen bool) {
	left := make(map[string]backends.Recipient, len(recipients))
	for _, r := range recipients {
		left[fold.Lower(r.Address)] = r
	}
	add := func(kind uint8, name string, r backends.Recipient) {
		rows = append(rows, rop.RecipientChange{RowID: uint32(len(rows)), RecipientType: kind, Row: recipientRow(name, r)})
	}
	for _, one := range shown {
		n, _ := one.Integer(mapi.PidTagRecipientType)
		kind, address := uint8(n), one.Text(mapi.PidTagSmtpAddress)
		r, wanted := left[fold.Lower(address)]
		switch {
		case wanted:
			delete(left, fold.Lower(address)) // who is named twice is there once
			add(kind|recipientWanted, one.Text(mapi.PidTagDisplayName), r)
		case kind != recipientBcc && address != "" && !contains(recipients, address):
			seen = true
			add(kind|recipientSeen, one.Text(mapi.PidTagDisplayName), backends.Recipient{Address: address})
		}
	}
	for _, r := range recipients {
		if _, there := left[fold.Lower(r.Address)]; there {
			delete(left, fold.Lower(r.Address))
			add(recipientBcc|recipientWanted, r.Address, r)
		}
	}
	if !seen {
		for i := range rows {
			rows[i].RecipientType &^= recipientWanted
		}
	}
	return rows, seen
}

func contains(recipients []backends.Recipient, address string) bool {
	return slices.ContainsFunc(recipients, func(r backends.Recipient) bool { return fold.Equal(r.Address, address) })
}

// recipientColumns are those of each row, besides what each row has by itself.
var recipientColumns = []mapi.Tag{
	mapi.PidTagObjectType, mapi.PidTagDisplayType, mapi.PidTagSmtpAddress, mapi.PidTagRecipientDisplayName, mapi.PidTagRecipientFlags,
	mapi.PidTagOriginatorDeliveryReportRequested, mapi.PidTagOriginatorNonDeliveryReportRequested,
}

// recipientRow is the row of a recipient on the Internet, MS-OXCDATA §2.8.3.2. What a sender wants to be told of (RFC 3461 §4.1) are two properties.
func recipientRow(name string, r backends.Recipient) *mapi.RecipientRow {
	const mailUser, sendable = 6, 1 // MS-OXCPRPT §2.2.1.7, MS-OXOCAL §2.2.4.10.1
	if name == "" {
		name = r.Address
	}
	address := r.Address
	return &mapi.RecipientRow{
		Kind: mapi.RecipientSMTP, NoRichInfo: true, Unicode: true, EmailAddress: &address, DisplayName: &name,
		Values: []mapi.Value{
			mapi.Integer32(mailUser), mapi.Integer32(0), mapi.String(address), mapi.String(name), mapi.Integer32(sendable),
			mapi.Boolean(r.Notify&backends.NotifySuccess != 0), mapi.Boolean(r.Notify == 0 || r.Notify&backends.NotifyFailure != 0),
		},
	}
}

// recipientHash is how many octets stand for a recipient in the property of whom a message was sent to, so that thousands fit.
const recipientHash = 8

// sentTo is the value of that property.
func sentTo(recipients []backends.Recipient) mapi.Binary {
	var all mapi.Binary
	for _, r := range recipients {
		all = append(all, hashOf(r.Address)...)
	}
	return all
}

func hashOf(address string) []byte {
	sum := sha256.Sum256([]byte(fold.Lower(address)))
	return sum[:recipientHash]
}

// wasSentTo says whether an address is among those that a value of sentTo was made of.
func wasSentTo(value mapi.Binary, address string) bool { return hasHash(value, hashOf(address)) }

func hasHash(value mapi.Binary, hash []byte) bool {
	for one := range slices.Chunk(value, recipientHash) {
		if string(one) == string(hash) {
			return true
		}
	}
	return false
}

// author is whom a message is to be sent as, where that is not who signs in: its From, or the mailbox's owner. nil: the one who signs in, or nobody
// is named.
func author(m *mapi.Message, who parties) *mapi.Address {
	a, named := m.Address(mapi.SentRepresentingAddress)
	if !named && who.owner.dn != who.user.dn {
		return &mapi.Address{Name: who.owner.account.DisplayName, SMTP: who.owner.account.Address}
	}
	own := func(address string) bool { return fold.Equal(address, a.SMTP) }
	if !named || own(who.user.account.Address) || slices.ContainsFunc(who.user.account.Addresses, own) {
		return nil
	}
	return &a
}

// sendableAddress says whether an address can be in a row: a text that ends where it should.
func sendableAddress(address string) bool {
	return strings.Contains(address, "@") && !strings.ContainsFunc(address, unicode.IsControl)
}
