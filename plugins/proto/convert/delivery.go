package convert

import (
	"time"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// ResolveToProto makes a Resolve request. [ErrText]: an address is not UTF-8.
func ResolveToProto(q backends.ResolveQuery) (*pb.ResolveRequest, error) {
	envelope, recipients, err := addressed(q.Envelope, q.Recipients)
	if err != nil {
		return nil, err
	}
	return &pb.ResolveRequest{
		Envelope: envelope, Recipients: recipients, Size: q.Size, Peer: PeerToProto(q.Peer), Accounts: q.Accounts,
	}, nil
}

// addressed makes an envelope and its recipients ready for the wire.
func addressed(e backends.Envelope, to []backends.Recipient) (*pb.Envelope, []*pb.Recipient, error) {
	envelope, err := envelopeToProto(e)
	if err != nil {
		return nil, nil, err
	}
	recipients, err := recipientsToProto(to)
	return envelope, recipients, err
}

// ResolveFromProto reads a Resolve request.
func ResolveFromProto(m *pb.ResolveRequest) backends.ResolveQuery {
	return backends.ResolveQuery{
		Envelope:   envelopeFromProto(m.GetEnvelope()),
		Recipients: recipientsFromProto(m.GetRecipients()),
		Size:       max(0, m.GetSize()),
		Peer:       PeerFromProto(m.GetPeer()),
		Accounts:   m.GetAccounts(),
	}
}

// DeliveryToProto makes the envelope of a Deliver or Send. [ErrText]: an address is not UTF-8.
func DeliveryToProto(d backends.Delivery) (*pb.Delivery, error) {
	if !validKey(d.Key) {
		return nil, wireError("a delivery key that is not 1 to %d printable characters", KeyMost)
	}
	envelope, recipients, err := addressed(d.Envelope, d.Recipients)
	if err != nil {
		return nil, err
	}
	return &pb.Delivery{
		Key:        d.Key,
		Retry:      d.Retry,
		Envelope:   envelope,
		Recipients: recipients,
		Size:       d.Size,
		Received:   timeToProto(d.Received),
		Peer:       PeerToProto(d.Peer),
	}, nil
}

// DeliveryFromProto reads the envelope of a Deliver or Send.
func DeliveryFromProto(m *pb.Delivery) (backends.Delivery, error) {
	if !validKey(m.GetKey()) {
		return backends.Delivery{}, wireError("a delivery key that is not 1 to %d printable characters", KeyMost)
	}
	return backends.Delivery{
		Key:        m.GetKey(),
		Retry:      m.GetRetry(),
		Envelope:   envelopeFromProto(m.GetEnvelope()),
		Recipients: recipientsFromProto(m.GetRecipients()),
		Size:       max(0, m.GetSize()),
		Received:   timeFromProto(m.GetReceived()),
		Peer:       PeerFromProto(m.GetPeer()),
	}, nil
}

// validKey checks an idempotency key: 1 to 64 printable ASCII characters without spaces.
func validKey(key string) bool {
	if len(key) == 0 || len(key) > KeyMost {
		return false
	}
	for _, c := range []byte(key) {
		if c < 0x21 || c > 0x7E {
			return false
		}
	}
	return true
}

// VerdictsToProto makes the answer to Resolve, Deliver and Send.
func VerdictsToProto(verdicts []backends.Verdict) (*pb.Verdicts, error) {
	m := &pb.Verdicts{Verdicts: make([]*pb.Verdict, len(verdicts))}
	for i, v := range verdicts {
		if err := checkText("recipient", v.Recipient, v.Account); err != nil {
			return nil, err
		}
		if err := v.Check(); err != nil {
			return nil, wireError("%v", err)
		}
		m.Verdicts[i] = &pb.Verdict{
			Recipient:        v.Recipient,
			Failure:          FailureToProto(v.Failure),
			Account:          v.Account,
			Action:           pb.Action(v.Action),
			Destination:      Line(v.Destination, nameMost),
			RemoteDiagnostic: Line(v.RemoteDiagnostic, textMost),
			StoredAs:         []byte(v.StoredAs),
			Directory:        directoryToProto(v.Directory),
			Holds:            durationToProto(v.Holds),
		}
	}
	return m, nil
}

// verdictFromProto reads one verdict on a recipient. What is there for the track alone is made one
// line, or dropped where it cannot be what it is meant to be.
func verdictFromProto(m *pb.Verdict) backends.Verdict {
	v := backends.Verdict{
		Recipient:        m.GetRecipient(),
		Failure:          FailureFromProto(m.GetFailure()),
		Account:          m.GetAccount(), // one that cannot be an account's id is nobody's: it is compared, and nothing else
		Destination:      Line(m.GetDestination(), nameMost),
		RemoteDiagnostic: Line(m.GetRemoteDiagnostic(), textMost),
	}
	if _, known := pb.Action_name[int32(m.GetAction())]; known {
		v.Action = backends.Action(m.GetAction())
	}
	v.Directory = directoryFromProto(m.GetDirectory())
	if v.Failure == nil {
		v.Holds = durationFromProto(m.GetHolds(), backends.HoldsMost)
	}
	if id, err := checkID(m.GetStoredAs()); err == nil {
		v.StoredAs = id
	}
	return v
}

// VerdictsFromProto reads the answer to Resolve, Deliver and Send; see [backends.CheckVerdicts].
func VerdictsFromProto(m *pb.Verdicts, asked []backends.Recipient) ([]backends.Verdict, error) {
	verdicts := make([]backends.Verdict, len(m.GetVerdicts()))
	for i, v := range m.GetVerdicts() {
		verdicts[i] = verdictFromProto(v)
	}
	if err := backends.CheckVerdicts(asked, verdicts); err != nil {
		return nil, wireError("%v", err)
	}
	return verdicts, nil
}

// leaseMost bounds what a Collect may ask for, so that a message cannot be lost in a lease.
const leaseMost = 7 * 24 * time.Hour

// CollectToProto makes the start of a Collect.
func CollectToProto(r backends.CollectRequest) (*pb.CollectStart, error) {
	rendering, err := RenderingToProto(r.Rendering)
	if err != nil {
		return nil, err
	}
	return &pb.CollectStart{
		Most: toInt32(max(0, r.Most)), Lease: durationToProto(min(r.Lease, leaseMost)), Rendering: rendering,
		Wait: durationToProto(min(r.Wait, backends.CollectWaitMost)),
	}, nil
}

// CollectFromProto reads the start of a Collect.
func CollectFromProto(m *pb.CollectStart) (backends.CollectRequest, error) {
	rendering, err := RenderingFromProto(m.GetRendering())
	if err != nil {
		return backends.CollectRequest{}, err
	}
	return backends.CollectRequest{
		Most: max(0, int(m.GetMost())), Lease: durationFromProto(m.GetLease(), leaseMost), Rendering: rendering,
		Wait: durationFromProto(m.GetWait(), backends.CollectWaitMost),
	}, nil
}

// OutgoingToProto makes the envelope of a collected message.
func OutgoingToProto(o backends.Outgoing) (*pb.Outgoing, error) {
	if _, err := checkID([]byte(o.ID)); err != nil {
		return nil, err
	}
	envelope, recipients, err := addressed(o.Envelope, o.Recipients)
	if err != nil {
		return nil, err
	}
	return &pb.Outgoing{
		Id:         []byte(o.ID),
		Envelope:   envelope,
		Recipients: recipients,
		Queued:     timeToProto(o.Queued),
		Size:       o.Size,
	}, nil
}

// OutgoingFromProto reads the envelope of a collected message: its addresses have the form of
// one, and there is at least one recipient.
func OutgoingFromProto(m *pb.Outgoing) (backends.Outgoing, error) {
	id, err := checkID(m.GetId())
	if err != nil {
		return backends.Outgoing{}, err
	}
	o := backends.Outgoing{
		ID:         id,
		Envelope:   envelopeFromProto(m.GetEnvelope()),
		Recipients: recipientsFromProto(m.GetRecipients()),
		Queued:     timeFromProto(m.GetQueued()),
		Size:       max(-1, m.GetSize()),
	}
	if o.From != "" && !validAddress(o.From) {
		return backends.Outgoing{}, wireError("an outgoing message whose reverse-path is not an address")
	}
	if len(o.Recipients) == 0 || len(o.Recipients) > addressesMost {
		return backends.Outgoing{}, wireError("an outgoing message with %d recipients", len(o.Recipients))
	}
	for _, r := range o.Recipients {
		if !validAddress(r.Address) {
			return backends.Outgoing{}, wireError("an outgoing message whose recipient is not an address")
		}
	}
	return o, nil
}

// SettlementsToProto makes a Settle request.
func SettlementsToProto(settlements []backends.Settlement) (*pb.SettleRequest, error) {
	m := &pb.SettleRequest{}
	for _, s := range settlements {
		if _, err := checkID([]byte(s.ID)); err != nil {
			return nil, err
		}
		verdicts, err := VerdictsToProto(s.Verdicts)
		if err != nil {
			return nil, err
		}
		m.Settlements = append(m.Settlements, &pb.Settlement{Id: []byte(s.ID), Verdicts: verdicts.GetVerdicts()})
	}
	return m, nil
}

// SettlementsFromProto reads a Settle request.
func SettlementsFromProto(m *pb.SettleRequest) ([]backends.Settlement, error) {
	var settlements []backends.Settlement
	for _, s := range m.GetSettlements() {
		id, err := checkID(s.GetId())
		if err != nil {
			return nil, err
		}
		settlement := backends.Settlement{ID: id}
		for _, v := range s.GetVerdicts() {
			verdict := verdictFromProto(v)
			if err := verdict.Check(); err != nil {
				return nil, wireError("%v", err)
			}
			settlement.Verdicts = append(settlement.Verdicts, verdict)
		}
		settlements = append(settlements, settlement)
	}
	return settlements, nil
}
