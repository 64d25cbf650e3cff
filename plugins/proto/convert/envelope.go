package convert

import (
	"strings"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Bounds of what an envelope says (RFC 3461 §4.2, §4.4; RFC 6710 §4).
const (
	envidMost    = 100
	orcptMost    = 500
	priorityMost = 9
)

// envelopeToProto makes an envelope ready for the wire. [ErrText]: a text is not UTF-8.
func envelopeToProto(e backends.Envelope) (*pb.Envelope, error) {
	if err := checkText("envelope", e.From, e.ID, e.Submitter.Store, e.Submitter.Account, e.Submitter.Address); err != nil {
		return nil, err
	}
	return &pb.Envelope{
		ReversePath: e.From,
		Id:          e.ID,
		Ret:         pb.Return(e.Return),
		Body:        pb.BodyType(e.Body),
		Smtputf8:    e.SMTPUTF8,
		RequireTls:  e.RequireTLS,
		Priority:    toInt32(e.Priority),
		DeliverBy:   deliverByToProto(e.DeliverBy),
		Submitter:   submitterToProto(e.Submitter),
	}, nil
}

// envelopeFromProto reads an envelope. What is not known, or out of its bounds, is as if it had
// been left out: none of it decides whether a message is taken. The reverse-path is judged where
// an envelope comes from a store.
func envelopeFromProto(m *pb.Envelope) backends.Envelope {
	e := backends.Envelope{
		From:       m.GetReversePath(),
		SMTPUTF8:   m.GetSmtputf8(),
		RequireTLS: m.GetRequireTls(),
		Priority:   max(-priorityMost, min(int(m.GetPriority()), priorityMost)),
		DeliverBy:  deliverByFromProto(m.GetDeliverBy()),
		Submitter: backends.Submitter{
			Store: m.GetSubmitter().GetStore(), Account: m.GetSubmitter().GetAccount(), Address: m.GetSubmitter().GetAddress(),
		},
	}
	if id := m.GetId(); len(id) <= envidMost && !strings.ContainsFunc(id, notPrintableASCII) {
		e.ID = id
	}
	if _, known := pb.Return_name[int32(m.GetRet())]; known {
		e.Return = backends.Return(m.GetRet())
	}
	if _, known := pb.BodyType_name[int32(m.GetBody())]; known {
		e.Body = backends.BodyType(m.GetBody())
	}
	return e
}

func notPrintableASCII(r rune) bool { return r < ' ' || r > '~' }

func submitterToProto(s backends.Submitter) *pb.Submitter {
	if s == (backends.Submitter{}) {
		return nil
	}
	return &pb.Submitter{Store: s.Store, Account: s.Account, Address: s.Address}
}

func deliverByToProto(d backends.DeliverBy) *pb.DeliverBy {
	if d.Until.IsZero() {
		return nil
	}
	return &pb.DeliverBy{Until: timeToProto(d.Until), ReturnToSender: d.Return, Trace: d.Trace}
}

func deliverByFromProto(m *pb.DeliverBy) backends.DeliverBy {
	until := timeFromProto(m.GetUntil())
	if until.IsZero() {
		return backends.DeliverBy{}
	}
	return backends.DeliverBy{Until: until, Return: m.GetReturnToSender(), Trace: m.GetTrace()}
}

// notifyOnWire gives the events their places on the wire.
var notifyOnWire = []struct {
	event backends.Notify
	wire  pb.Notify
}{
	{backends.NotifyNever, pb.Notify_NOTIFY_NEVER},
	{backends.NotifySuccess, pb.Notify_NOTIFY_SUCCESS},
	{backends.NotifyFailure, pb.Notify_NOTIFY_FAILURE},
	{backends.NotifyDelay, pb.Notify_NOTIFY_DELAY},
}

// recipientsToProto makes recipients ready for the wire. [ErrText]: an address is not UTF-8.
func recipientsToProto(recipients []backends.Recipient) ([]*pb.Recipient, error) {
	all := make([]*pb.Recipient, len(recipients))
	for i, r := range recipients {
		if err := checkText("address", r.Address, r.OriginalRecipient); err != nil {
			return nil, err
		}
		all[i] = &pb.Recipient{Address: r.Address, OriginalRecipient: r.OriginalRecipient}
		for _, n := range notifyOnWire {
			if r.Notify&n.event != 0 {
				all[i].Notify = append(all[i].Notify, n.wire)
			}
		}
	}
	return all, nil
}

// recipientsFromProto reads recipients. A NOTIFY that cannot be, or an ORCPT that is too long, is
// as if it had been left out; addresses are judged where they come from a store.
func recipientsFromProto(recipients []*pb.Recipient) []backends.Recipient {
	all := make([]backends.Recipient, len(recipients))
	for i, m := range recipients {
		all[i] = backends.Recipient{Address: m.GetAddress(), Notify: notifyFromProto(m.GetNotify())}
		if orcpt := m.GetOriginalRecipient(); len(orcpt) <= orcptMost && printable(orcpt) {
			all[i].OriginalRecipient = orcpt
		}
	}
	return all
}

func notifyFromProto(events []pb.Notify) (notify backends.Notify) {
	for _, event := range events {
		for _, n := range notifyOnWire {
			if n.wire == event {
				notify |= n.event
			}
		}
	}
	if !notify.Valid() {
		return 0
	}
	return notify
}
