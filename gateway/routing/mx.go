package routing

import (
	"context"
	"io"
	"net"
	"net/netip"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// MX takes mail from the Internet for the stores' domains, and relays none to others (I12; RFC 5321
// §3.6.2). It implements [smtp.Backend] for servers of the role [smtp.MX].
type MX struct{ o Options }

// NewMX makes an MX; one serves all listeners.
func NewMX(o Options) *MX {
	o.setDefaults()
	return &MX{o: o}
}

// NewSession implements [smtp.Backend].
func (m *MX) NewSession(_ context.Context, conn smtp.Conn) (smtp.Session, error) {
	return &mxSession{o: &m.o, conn: conn, log: m.o.Log.With().Str("session", conn.ID).Str("remote", peerOf(conn, "smtp").Address).Logger()}, nil
}

type mxSession struct {
	o       *Options
	conn    smtp.Conn
	log     zerolog.Logger
	current *transaction
	who     *identity // the account that has logged in to ask for mail; nil: none has
}

// Mail implements [smtp.Session].
func (s *mxSession) Mail(_ context.Context, reversePath address.Path, options smtp.MailOptions) error {
	if !s.o.TakesIn() && !s.o.Relays(addrOf(s.conn)) {
		return errNotNow
	}
	s.current = &transaction{
		o: s.o, log: s.log, table: s.o.Router.Table(), peer: peerOf(s.conn, "smtp"),
		reversePath: reversePath, options: options,
	}
	return nil
}

// Rcpt implements [smtp.Session]. The local part is taken literally: no part of it is a route to
// another host (RFC 5321 §3.6.1 and appendix C; a "%" or "!" in it is a character like others).
func (s *mxSession) Rcpt(ctx context.Context, path address.Path, options smtp.RcptOptions) error {
	t := s.current
	if t == nil {
		return errNoMessage
	}
	box, err := t.mailbox(path)
	if err != nil {
		return err
	}
	store := t.table.StoreFor(box.Domain)
	switch {
	case store != nil:
	case s.o.queueing() && s.o.Relays(addrOf(s.conn)):
		return t.outside(ctx, box, options)
	default:
		return errNotLocal
	}
	return t.resolve(ctx, store, box, options)
}

// addrOf is a client's address; not valid: it has none.
func addrOf(conn smtp.Conn) netip.Addr {
	if remote, is := conn.Remote.(*net.TCPAddr); is {
		return remote.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Data implements [smtp.Session]: nil means that each recipient's store has the message (I1; RFC 5321
// §6.1).
func (s *mxSession) Data(ctx context.Context, trace string, body io.Reader) (string, error) {
	t := s.current
	if t == nil || len(t.to) == 0 {
		return "", errNoMessage
	}
	m, err := t.take(body)
	if err != nil {
		return "", err
	}
	defer m.Discard() //nolint:errcheck // it is not needed any more
	p, err := t.begin(ctx, trace, m, "")
	if err != nil {
		return "", err
	}
	err = p.deliver(ctx)
	t.finish(ctx, p)
	return "Ok: " + p.attempt.Key, err
}

// Reset implements [smtp.Session].
func (s *mxSession) Reset() { s.current = nil }

// Close implements [smtp.Session].
func (s *mxSession) Close() { s.current = nil }
