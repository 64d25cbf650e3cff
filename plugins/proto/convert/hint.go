package convert

import (
	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// HintToProto makes a hint. What is no account's id is left out.
func HintToProto(h backends.Hint) *pb.Hint {
	m := &pb.Hint{Kind: pb.HintKind(h.Kind)}
	if validAccount(h.Account) {
		m.Account = h.Account
	}
	return m
}

// HintFromProto reads a hint. A kind that is not known is [backends.HintAny], and what is no account's
// id means any account.
func HintFromProto(m *pb.Hint) backends.Hint {
	var h backends.Hint
	if _, known := pb.HintKind_name[int32(m.GetKind())]; known {
		h.Kind = backends.HintKind(m.GetKind())
	}
	if validAccount(m.GetAccount()) {
		h.Account = m.GetAccount()
	}
	return h
}
