package convert

import (
	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// MaySendToProto makes a question ready for the wire. [ErrText]: a name is not UTF-8.
func MaySendToProto(q backends.MaySendQuery) (*pb.MaySendRequest, error) {
	if err := checkText("sender", q.Account, q.Address); err != nil {
		return nil, err
	}
	return &pb.MaySendRequest{Account: q.Account, Address: q.Address, Peer: PeerToProto(q.Peer)}, nil
}

// MaySendFromProto reads a question.
func MaySendFromProto(m *pb.MaySendRequest) backends.MaySendQuery {
	return backends.MaySendQuery{Account: m.GetAccount(), Address: m.GetAddress(), Peer: PeerFromProto(m.GetPeer())}
}

// SendRightToProto makes an answer. One that is none is not sent.
func SendRightToProto(r backends.SendRight) (*pb.MaySendResponse, error) {
	if !validRight(r) {
		return nil, wireError("a right to send of kind %d", r)
	}
	return &pb.MaySendResponse{Right: pb.SendRight(r)}, nil
}

// SendRightFromProto reads an answer. No right is made out of one that is not known.
func SendRightFromProto(m *pb.MaySendResponse) (backends.SendRight, error) {
	right := m.GetRight()
	if right < pb.SendRight_SEND_RIGHT_NO || right > pb.SendRight_SEND_RIGHT_ON_BEHALF {
		return 0, wireError("a right to send of kind %d", right)
	}
	return backends.SendRight(right), nil
}

func validRight(r backends.SendRight) bool { return r >= backends.SendNo && r <= backends.SendOnBehalf }
