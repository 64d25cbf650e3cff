package exchange

import (
	"slices"
	"strings"
	"time"
)

// Operations of sending, MS-OXCROPS §2.2.7.
const (
	ropReceiveFolder   = 0x27
	ropSubmit          = 0x32
	ropAbortSubmit     = 0x34
	ropSetSpooler      = 0x47
	ropSpoolerLock     = 0x48
	ropTransportSend   = 0x4A
	ropTransportFolder = 0x6D
)

// Codes of sending, MS-OXCDATA §2.4.
const (
	cancelMessage = 0x00040580
	noRecipients  = 0x80040607
	notInQueue    = 0x80040601
)

// Bits of PidTagMessageFlags, MS-OXCMSG §2.2.1.6.
const (
	flagRead       = 0x0001
	flagUnmodified = 0x0002
	flagSubmitted  = 0x0004
	flagUnsent     = 0x0008
	flagResend     = 0x0080
)

// Properties of sending.
const (
	tagDeleteAfterSubmit = 0x0E01000B
	tagSentMailSvrEID    = 0x674000FB
	tagSubmitTime        = 0x00390040
)

// tags of an address, MS-OXOMSG §2.2.1.
type addressTags struct{ name, kind, address, smtp, entry uint32 }

var (
	senderTags       = addressTags{0x0C1A001F, 0x0C1E001F, 0x0C1F001F, 0x5D01001F, 0x0C190102}
	representingTags = addressTags{0x0042001F, 0x0064001F, 0x0065001F, 0x5D02001F, 0x00410102}
)

// Sent is a message that left the organisation.
type Sent struct {
	From       string   // the mailbox that it was sent from
	Recipients []string // outside, in secret ones among them
	Stream     []byte   // where it was sent by MAPI
	Mail       []byte   // where it was sent by EWS
}

func now() time.Time { return time.Now() }

const since1601 = 11_644_473_600

func timeOf(fileTime []byte) time.Time {
	n := int64((&cursor{octets: fileTime}).u32()) | int64((&cursor{octets: fileTime[4:]}).u32())<<32
	return time.Unix(n/10_000_000-since1601, n%10_000_000*100).UTC()
}

func fileTime(at time.Time) []byte {
	n := uint64((at.Unix()+since1601)*10_000_000 + int64(at.Nanosecond()/100))
	return append(words(uint32(n)), words(uint32(n>>32))...)
}

// submit sends a message, MS-OXOMSG §3.2.5.1. Its reply says no more than whether.
func (x *call) submit(place uint8, o object) []byte {
	x.in.u8() // SubmitFlags
	m, ok := o.(*message)
	if !ok {
		return reply(ropSubmit, place, nullObject)
	}
	return reply(ropSubmit, place, x.s.send(x.c.mailbox, m, false))
}

// transportSend sends a message, and tells no properties. MS-OXOMSG §3.2.5.2.
func (x *call) transportSend(place uint8, o object) []byte {
	m, ok := o.(*message)
	if !ok {
		return reply(ropTransportSend, place, nullObject)
	}
	code := x.s.send(x.c.mailbox, m, true)
	if code != 0 {
		return reply(ropTransportSend, place, code)
	}
	return reply(ropTransportSend, place, 0, 1) // NoPropertiesReturned
}

// send sends what a message has become. by is who has signed in.
func (s *Server) send(by *Mailbox, m *message, keep bool) uint32 {
	draft := m.work()
	code, recipients := s.sendable(by, m)
	if code != 0 {
		return code
	}
	flags := draft.number(tagFlags)
	draft.setNumber(tagFlags, flags&^flagUnsent|flagSubmitted)
	draft.set(property{tag: tagSubmitTime, data: fileTime(now())})
	by.signs(draft)
	if code := m.save(); code != 0 {
		draft.setNumber(tagFlags, flags)
		return code
	}
	one := m.mailbox.find(m.id)
	if s.noTransport {
		return 0 // it waits in the folder for who takes it
	}
	s.transport(one, recipients)
	one.finish(keep)
	return 0
}

// sendable says whether a message can be sent, and to whom.
func (s *Server) sendable(by *Mailbox, m *message) (code uint32, recipients []*item) {
	draft := m.work()
	resend := draft.number(tagFlags)&flagResend != 0
	for _, r := range draft.recipients {
		if kind := r.number(tagRecipientType); !resend || kind&0x10 != 0 {
			recipients = append(recipients, r)
		}
	}
	switch {
	case !m.writable || m.in != nil || draft.number(tagFlags)&flagSubmitted != 0:
		return accessDenied, nil
	case len(recipients) == 0:
		return noRecipients, nil
	case draft.text(tagClass) == "":
		s.wrong("send a message without a class")
		return invalidParameter, nil
	case !s.maySendAs(by, draft):
		return accessDenied, nil
	}
	for _, r := range recipients {
		if slices.Contains(s.refused, strings.ToLower(s.addressOf(r))) {
			return cancelMessage, nil
		}
	}
	return 0, recipients
}

// maySendAs says whether somebody may send as whom the message names.
func (s *Server) maySendAs(by *Mailbox, i *item) bool {
	who := s.representing(i)
	if who == "" || strings.EqualFold(who, by.User) || slices.Contains(by.SendAs, strings.ToLower(who)) {
		return true
	}
	return slices.ContainsFunc(s.mailboxes, func(m *Mailbox) bool { return strings.EqualFold(m.User, who) && m.rights[by.DN].SendAs })
}

// representing returns the address that a message is sent as.
func (s *Server) representing(i *item) string {
	if strings.EqualFold(i.text(representingTags.kind), "EX") {
		for _, m := range s.mailboxes {
			if strings.EqualFold(m.DN, i.text(representingTags.address)) {
				return m.User
			}
		}
	}
	if smtp := i.text(representingTags.smtp); smtp != "" {
		return smtp
	}
	return i.text(representingTags.address)
}

// signs names the owner of the mailbox as who sends, and as who is represented where nobody is.
func (m *Mailbox) signs(i *item) {
	set := func(tags addressTags) {
		i.setText(tags.name, m.User)
		i.setText(tags.kind, "SMTP")
		i.setText(tags.address, m.User)
		i.setText(tags.smtp, m.User)
		i.remove(tags.entry >> 16)
	}
	set(senderTags)
	if i.text(representingTags.address) == "" {
		set(representingTags)
	}
}

// addressOf is the Internet address of a recipient.
func (s *Server) addressOf(r *item) string {
	if strings.EqualFold(r.text(tagAddressType), "EX") {
		for _, m := range s.mailboxes {
			if strings.EqualFold(m.DN, r.text(tagAddress)) {
				return m.User
			}
		}
	}
	if strings.EqualFold(r.text(tagAddressType), "SMTP") {
		return r.text(tagAddress)
	}
	return r.text(tagSMTPAddress)
}

// transport delivers a message to those who have a mailbox, each once, and notes whom it left for.
func (s *Server) transport(one *Message, recipients []*item) {
	out := one.item.clone()
	out.recipients = slices.DeleteFunc(out.recipients, func(r *item) bool { return r.number(tagRecipientType)&0xF == 3 }) // Bcc
	for _, tag := range []uint32{tagDeleteAfterSubmit, tagSentMailSvrEID} {
		out.remove(tag >> 16)
	}
	out.setNumber(tagFlags, out.number(tagFlags)&^(flagSubmitted|flagUnsent|flagResend|flagRead))
	sent := Sent{From: one.mailbox.User, Stream: out.stream()}
	got := map[*Mailbox]bool{}
	for _, r := range recipients {
		address := s.addressOf(r)
		at := slices.IndexFunc(s.mailboxes, func(m *Mailbox) bool { return strings.EqualFold(m.User, address) })
		if at < 0 {
			sent.Recipients = append(sent.Recipients, address)
			continue
		}
		if box := s.mailboxes[at]; !got[box] {
			got[box] = true
			copied := out.clone()
			copied.set(property{tag: tagReceived, data: fileTime(now())})
			box.add(inbox).take(copied, copied.stream())
		}
	}
	if len(sent.Recipients) > 0 {
		s.sent = append(s.sent, sent)
	}
}

// finish does what the sender wants of a message that was sent: it is in a folder then, or deleted. MS-OXOMSG §2.2.3.8 and
// §2.2.3.10.
func (m *Message) finish(keep bool) {
	to := uint64(0)
	switch wanted := m.item.get(tagSentMailSvrEID); {
	case len(wanted) == 1+8+8+4:
		to = id(wanted[1:9]).counter()
	case keep && m.item.get(tagDeleteAfterSubmit) == nil:
		to = sentItems
	}
	if to == 0 || m.mailbox.folder(number(to)) == nil {
		m.mailbox.messages = slices.DeleteFunc(m.mailbox.messages, func(one *Message) bool { return one == m })
		return
	}
	m.item.setNumber(tagFlags, m.item.number(tagFlags)&^(flagSubmitted|flagUnsent)|flagRead)
	m.take(m.item, m.item.stream())
	m.mailbox.counter++
	m.ID = m.mailbox.counter // it is a copy
	m.move(to)
}

// sending executes the other operations of sending.
func (x *call) sending(operation, place uint8, o object) []byte {
	var folderID, mid id
	state := uint8(0)
	switch operation {
	case ropAbortSubmit:
		folderID, mid = x.in.id(), x.in.id()
	case ropSpoolerLock:
		mid, state = x.in.id(), x.in.u8()
	case ropReceiveFolder:
		x.in.rowValue(typeString8)
	}
	l, ok := o.(*logon)
	if !ok {
		return reply(operation, place, nullObject)
	}
	switch operation {
	case ropAbortSubmit:
		return reply(operation, place, l.mailbox.abort(folderID, mid))
	case ropSpoolerLock:
		return reply(operation, place, l.mailbox.lock(mid, state))
	case ropTransportFolder:
		folder := number(outbox)
		return reply(operation, place, 0, folder[:]...)
	case ropReceiveFolder:
		folder := number(inbox)
		return reply(operation, place, 0, append(folder[:], 0)...)
	}
	return reply(operation, place, 0)
}

// abort takes a message back that was submitted and not sent, MS-OXOMSG §3.2.5.3.
func (m *Mailbox) abort(folder, mid id) uint32 {
	one := m.find(mid.counter())
	switch {
	case one == nil || number(one.folder) != folder:
		return notFound
	case one.Flags&flagSubmitted == 0:
		return notInQueue
	}
	one.item.setNumber(tagFlags, one.Flags&^flagSubmitted|flagUnsent)
	one.take(one.item, one.item.stream())
	return 0
}

// lock keeps a message for one spooler, which unlocks it or has finished with it. MS-OXOMSG §2.2.3.4.
func (m *Mailbox) lock(mid id, state uint8) uint32 {
	one := m.find(mid.counter())
	switch {
	case one == nil:
		return notFound
	case one.Flags&flagSubmitted == 0:
		return notInQueue
	case state == 0 && one.locked:
		return 0x8004010B // ecBusy
	case state == 2:
		one.finish(false)
		return 0
	}
	one.locked = state == 0
	return 0
}
