package backends

import "context"

// SendRights is a store that knows more of what an account may send as than it can list at the login.
type SendRights interface {
	// MaySend says whether an account may send as an address. It is asked about addresses in the
	// store's own domains, and in what the administrator has listed for it, that are not among
	// [Account.Addresses]; its answer decides. An address with a detail (RFC 5233) is one of them. An
	// account or an address that does not exist is [SendNo]; a failure means that the store cannot
	// say now.
	MaySend(ctx context.Context, query MaySendQuery) (SendRight, error)
}

// MaySendQuery asks about one account and one address.
type MaySendQuery struct {
	Account string // its [Account.ID]
	Address string
	Peer    Peer
}

// SendRight is what an account may do with an address.
type SendRight uint8

// The rights. The numbers are on the wire; zero is no answer.
const (
	SendNo SendRight = 1
	SendAs SendRight = 2 // as the address itself
	// SendOnBehalf allows the address in From where Sender names the account (RFC 5322 §3.6.2).
	SendOnBehalf SendRight = 3
)

// String is the right in words.
func (r SendRight) String() string {
	switch r {
	case SendNo:
		return "no"
	case SendAs:
		return "as"
	case SendOnBehalf:
		return "on behalf"
	}
	return "unknown"
}
