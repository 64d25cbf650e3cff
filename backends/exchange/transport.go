package exchange

import (
	"context"

	"github.com/dipylon/dipylon/backends/exchange/mapihttp"
	"github.com/dipylon/dipylon/backends/exchange/mapirpc"
	"github.com/dipylon/dipylon/backends/exchange/rop"
	"github.com/dipylon/dipylon/backends/mapi"
)

// transport is a session context of a mailbox, over HTTP or RPC.
type transport interface {
	rop.Transport
	// Revive connects anew if the session context is lost, and Generation is how often one was made.
	Revive(ctx context.Context) error
	Generation() int
	// Packs says whether the server takes several payloads of an upload at once, and User what it calls the user.
	Packs() bool
	User() string
	// Disconnect ends the session context and the connections, and Close the connections alone.
	Disconnect(ctx context.Context) error
	Close()
}

// book is a session context of the address book, over HTTP or RPC.
type book interface {
	Resolve(ctx context.Context, names []string, columns []mapi.Tag) ([]mapihttp.Match, error)
	// Unbind ends the session context and the connection.
	Unbind(ctx context.Context) error
}

// openBook signs in to the address book.
func (s *Store) openBook(ctx context.Context, login login) (book, error) {
	if s.settings.Protocol == protocolRPC {
		a, err := mapirpc.Bind(ctx, s.rpcConfig(login, s.settings.RPC.addressBook()))
		if err != nil {
			return nil, failure(err)
		}
		return a, nil
	}
	a, err := mapihttp.Bind(ctx, s.config(addressBook, login.own, login))
	if err != nil {
		return nil, failure(err)
	}
	return a, nil
}

// openMailbox makes a session context for a mailbox, for a user of a distinguished name.
func (s *Store) openMailbox(ctx context.Context, login login, dn string) (transport, error) {
	if s.settings.Protocol == protocolRPC {
		c, err := mapirpc.Connect(ctx, s.rpcConfig(login, s.settings.RPC.mailboxes()), dn)
		if err != nil {
			return nil, failure(err)
		}
		return c, nil
	}
	c, err := mapihttp.Connect(ctx, s.config(mailboxes, login.address, login), dn)
	if err != nil {
		return nil, failure(err)
	}
	return c, nil
}
