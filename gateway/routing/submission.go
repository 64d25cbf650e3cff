package routing

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strings"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/gateway/content"
	"github.com/dipylon/dipylon/gateway/devices"
	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/login"
	"github.com/dipylon/dipylon/gateway/policy"
	"github.com/dipylon/dipylon/gateway/replies"
	"github.com/dipylon/dipylon/gateway/smtp"
	"github.com/dipylon/dipylon/gateway/stores"
)

// Submission takes mail from accounts of the stores (RFC 6409). It implements [smtp.Backend]
// for servers of the role [smtp.Submission].
type Submission struct{ o Options }

// NewSubmission makes a Submission; one serves all listeners.
func NewSubmission(o Options) *Submission {
	o.setDefaults()
	return &Submission{o: o}
}

// NewSession implements [smtp.Backend].
func (s *Submission) NewSession(_ context.Context, conn smtp.Conn) (smtp.Session, error) {
	return &submissionSession{o: &s.o, conn: conn, log: s.o.Log.With().Str("session", conn.ID).Str("remote", peerOf(conn, "submission").Address).Logger()}, nil
}

type submissionSession struct {
	o       *Options
	conn    smtp.Conn
	log     zerolog.Logger
	who     *identity
	current *transaction
	// failed says that a login has failed: the client is not taken for a device that says nothing.
	failed bool
}

// identity is the account that has logged in (RFC 6409 §4.3: submission needs one).
type identity struct {
	store   *stores.Store // as it was at the login
	account backends.Account
	owns    ownership
	lookups lookups
	policy  *policy.Policy
	// sending is set where the store is to send in the account's name.
	sending *sending
	device  *devices.Session // nil: it is none
}

// submitter is the account as the stores are told of it.
func (i *identity) submitter() backends.Submitter {
	return backends.Submitter{Store: i.store.Name, Account: i.account.ID, Address: i.address()}
}

// address is the account's primary address; empty: it has none, or its store is not believed for it.
func (i *identity) address() string {
	box, err := address.Parse(i.account.Address)
	if err != nil || !i.owns.has(box) {
		return ""
	}
	return box.String()
}

// The replies of a submission session (RFC 4954 §6).
var (
	errLoginFirst = &smtp.Error{Code: 530, Enhanced: "5.7.0", Text: "Authentication required"}
	errNoTLS      = &smtp.Error{Code: 538, Enhanced: "5.7.11", Text: "Encryption required for requested authentication mechanism: STARTTLS comes first"}
	errMechanism  = &smtp.Error{Code: 504, Enhanced: "5.5.4", Text: "unrecognized authentication type"}
)

func (s *submissionSession) mayLogin() bool {
	return s.o.PlaintextLogin || s.o.Legacy || s.TLS() != nil
}

// safe says whether a login that is not an old device's may come over the connection.
func (s *submissionSession) safe() bool {
	return s.o.PlaintextLogin || login.ModernTLS(s.TLS()) || !s.o.Legacy && s.TLS() != nil
}

// Mechanisms implements [smtp.Session].
func (s *submissionSession) Mechanisms() []string {
	if !s.mayLogin() {
		return nil
	}
	return s.o.Authenticator.Mechanisms(s)
}

// Authenticate implements [smtp.Session].
func (s *submissionSession) Authenticate(ctx context.Context, mechanism string) (sasl.Exchange[sasl.Accepted], error) {
	if !s.mayLogin() {
		return nil, errNoTLS
	}
	s.failed = true // until it has succeeded
	return begin(ctx, s.o.Authenticator, s, mechanism, s.leave)
}

// begin begins an exchange; leave forgets who was let in.
func begin(ctx context.Context, a *login.Authenticator, client login.Client, mechanism string, leave func()) (sasl.Exchange[sasl.Accepted], error) {
	inner, err := a.Begin(ctx, client, mechanism)
	if errors.Is(err, login.ErrMechanism) {
		return nil, errMechanism
	}
	if err != nil {
		return nil, replies.SMTPLogin(err)
	}
	return &exchange{leave: leave, inner: inner}, nil
}

type exchange struct {
	leave func()
	inner sasl.Exchange[sasl.Accepted]
	done  bool
}

// Next implements [sasl.Exchange].
func (e *exchange) Next(ctx context.Context, response []byte) ([]byte, *sasl.Accepted, error) {
	challenge, accepted, err := e.inner.Next(ctx, response)
	switch {
	case errors.Is(err, login.ErrMalformed):
		return nil, nil, &smtp.Error{Code: 501, Enhanced: "5.5.2", Text: "malformed authentication response", Err: err}
	case err != nil:
		return nil, nil, replies.SMTPLogin(err)
	}
	e.done = accepted != nil
	return challenge, accepted, nil
}

// Close implements [sasl.Exchange]. A client whose exchange has not come to its end is not logged in,
// even if Enter was called, and may try again.
func (e *exchange) Close() error {
	if !e.done {
		e.leave()
	}
	return e.inner.Close()
}

// Protocol implements [login.Client].
func (s *submissionSession) Protocol() string { return cmp.Or(s.o.Protocol, "submission") }

// Peer implements [login.Client].
func (s *submissionSession) Peer() backends.Peer { return peerOf(s.conn, "submission") }

// TLS implements [login.Client].
func (s *submissionSession) TLS() *tls.ConnectionState { return tlsOf(s.conn) }

// ServerCertificate implements [login.Client].
func (s *submissionSession) ServerCertificate() []byte { return certificateOf(s.conn) }

// tlsOf is the state of a connection's TLS; nil: there is none.
func tlsOf(conn smtp.Conn) *tls.ConnectionState {
	if conn.TLS == nil {
		return nil
	}
	return conn.TLS()
}

// certificateOf is the server's certificate that a connection's TLS was made with; nil: it is not known.
func certificateOf(conn smtp.Conn) []byte {
	if conn.Certificate == nil {
		return nil
	}
	return conn.Certificate()
}

// Enter implements [login.Client]: the store verifies the credential, unless it has conducted the
// exchange and has returned the account already.
func (s *submissionSession) Enter(ctx context.Context, e login.Entry) error {
	s.leave()
	if !e.Legacy && !s.safe() {
		return errNoTLS
	}
	device, err := s.o.Devices.SessionOf(ctx, e.Device)
	if err != nil {
		return err
	}
	account, err := s.opened(ctx, e, device)
	if err != nil {
		return err
	}
	if err := e.Check(*account); err != nil {
		return err
	}
	allowed := s.o.Policies.Of(e.Store.Name, *account)
	if !allowed.Submission {
		return backends.Fail(backends.Permanent, "the policy of %s has submission off", account.ID).Say("this mailbox may not send mail here").WithCode("5.7.1")
	}
	s.who, s.failed = &identity{store: e.Store, account: *account, owns: newOwnership(*account, e.Store), policy: allowed, device: device}, false
	if e.Store.Sends {
		s.who.sending = newSending(e.Credential)
	}
	s.log = s.log.With().Str("account", account.ID).Logger() // the store of a delivery is another matter
	if device != nil {
		s.log = s.log.With().Str(events.Device, device.Name).Logger()
		device.Used(addrOf(s.conn).String())
	}
	return nil
}

// opened asks the store whose account a login opens, unless that is known.
func (s *submissionSession) opened(ctx context.Context, e login.Entry, device *devices.Session) (*backends.Account, error) {
	account, err := e.Open(ctx)
	if outage(err) && device != nil && device.IsKnown() && e.Known != nil && !e.Store.Sends {
		s.log.Warn().Err(err).Str(events.Device, device.Name).Str(events.Store, e.Store.Name).
			Msg("the store does not answer: the device goes on with what is known of its account")
		return e.Known, nil // its mail can wait
	}
	return &account, err
}

// Mail implements [smtp.Session]. The reverse-path has to be an address that the account may send as or
// on behalf of (RFC 6409 §6.1), or null, as in the disposition notifications that clients send (RFC 8098
// §3). The From field is checked in any case, see prepare.
func (s *submissionSession) Mail(ctx context.Context, reversePath address.Path, options smtp.MailOptions) (err error) {
	if s.who == nil {
		return errLoginFirst
	}
	defer func() { s.noteRefusal(err) }()
	reversePath = s.forced(reversePath)
	if !reversePath.IsNull() {
		box := reversePath.Mailbox()
		right, err := s.right(ctx, box)
		if err != nil {
			return replies.SMTP(err)
		}
		if right != backends.SendAs && right != backends.SendOnBehalf {
			s.foreign(box)
			return s.notOwn("this account may not send as " + box.String())
		}
		reversePath = box.Path()
	}
	s.current = &transaction{
		o: s.o, log: s.log, table: s.o.Router.Table(), peer: peerOf(s.conn, "submission"), from: s.who.store.Now(), submitter: s.who.submitter(),
		reversePath: reversePath, options: options, device: s.who.device,
	}
	return nil
}

// foreign tells the administrator what to list in send_as, when a store allows an account to send as an
// address outside the store's domains.
func (s *submissionSession) foreign(box address.Mailbox) {
	if s.who.owns.foreign(box) {
		s.log.Warn().Str("address", box.String()).
			Msg("the store lets the account send as an address beyond its domains: it is refused unless send_as of the store lists it")
	}
}

// Rcpt implements [smtp.Session].
func (s *submissionSession) Rcpt(ctx context.Context, path address.Path, options smtp.RcptOptions) (err error) {
	t := s.current
	if t == nil {
		return errNoMessage
	}
	defer func() { s.noteRefusal(err) }()
	box, err := t.mailbox(path)
	if err != nil {
		return err
	}
	if t.device != nil && !t.device.MayReach(box) {
		return s.notTo(box)
	}
	if t.table.StoreFor(box.Domain) == nil && !s.who.policy.Elsewhere.Has(box.Domain) {
		return errNotThere(box)
	}
	if s.who.sending != nil {
		if t.from.Sender == nil {
			return replies.SMTP(backends.Fail(backends.Unsupported, "store %s is to send, and its plugin cannot", t.from.Name))
		}
		if !s.o.PassesOut() && t.table.StoreFor(box.Domain) == nil {
			return errNotOut
		}
		t.add(recipient{Recipient: recipientOf(box, options)}) // the store knows whom it can send to, and says so at Send
		return nil
	}
	store := t.table.StoreFor(box.Domain)
	if store == nil {
		return t.outside(ctx, box, options)
	}
	return t.resolve(ctx, store, box, options)
}

// Data implements [smtp.Session]: nil means that each recipient's store, or the transport of
// the account's store, has the message (I1; RFC 5321 §6.1).
func (s *submissionSession) Data(ctx context.Context, trace string, body io.Reader) (text string, err error) {
	t := s.current
	if t == nil || len(t.to) == 0 {
		return "", errNoMessage
	}
	counted, err := s.count(ctx)
	defer func() { counted(ctx, err) }()
	if err != nil {
		return "", err
	}
	m, err := t.take(body)
	if err != nil {
		return "", err
	}
	defer m.Discard() //nolint:errcheck // it is not needed any more
	p, err := t.begin(ctx, trace, m, s.who.store.Name+"/"+s.who.account.ID)
	if err != nil {
		return "", err
	}
	p.from, p.sending = t.from, s.who.sending
	if err = s.prepare(ctx, p, trace, m); err == nil {
		err = p.deliver(ctx)
	}
	t.finish(ctx, p)
	return "Ok: " + p.attempt.Key, err
}

// prepare completes the header (RFC 6409 §8: Date, Message-ID). What it adds is the same in each attempt,
// so that a store recognises the message.
func (s *submissionSession) prepare(ctx context.Context, p *delivery, trace string, m *message) error {
	h, size, err := s.o.readHeader(m, s.quirks())
	if err != nil {
		return s.headerReply(err)
	}
	s.mendDevice(p, h, m, size)
	var unknown error // an outage does not mean that the account may not
	has := func(want backends.SendRight) func(address.Mailbox) bool {
		return func(box address.Mailbox) bool {
			if unknown != nil {
				return false
			}
			right, err := s.right(ctx, box)
			unknown = err
			return err == nil && right == want
		}
	}
	err = content.Submission{
		MayWrite: has(backends.SendAs), OnBehalf: has(backends.SendOnBehalf), Sender: s.agent(s.current),
		Date: p.attempt.First.Local(), MessageID: p.attempt.Key + "@" + s.o.Hostname,
		DropEmpty: s.quirks().has(QuirkEmptyFields), Author: s.author(s.current),
	}.Apply(h)
	if unknown != nil {
		return replies.SMTP(unknown)
	}
	if err != nil {
		return s.headerReply(err)
	}
	p.compose(func() io.Reader { return io.MultiReader(strings.NewReader(trace), h.Reader()) }, m, size)
	p.envelope.Size = int64(len(trace)) + h.Size() + m.Size() - size
	return nil
}

// headerReply tells what is wrong with a header (5.6.0, RFC 3463 §3.7). The texts are those of package
// content, and quote only addresses that the client has sent.
func (s *submissionSession) headerReply(err error) error {
	reply := &smtp.Error{Code: 550, Enhanced: "5.6.0", Text: backends.SafeText(err.Error()), Err: err}
	var malformed *header.MalformedError
	var unreadable *content.AddressError
	var notOwned *content.NotOwnedError
	switch {
	case errors.As(err, &malformed), errors.Is(err, content.ErrTwice):
	case errors.Is(err, content.ErrNoFrom):
		reply.Text += ": set a sender" + s.who.advice()
	case errors.As(err, &unreadable):
		reply.Text += ": an address is user@domain, and the sender" + s.who.advice()
	case errors.As(err, &notOwned):
		return s.notOwn(err.Error())
	case errors.Is(err, header.ErrTooLarge), errors.Is(err, header.ErrTooManyFields):
		reply.Code, reply.Enhanced = 552, "5.3.4"
	default:
		return replies.SMTP(err) // the message that is buffered cannot be read again
	}
	return reply
}

// notOwn refuses a sender (RFC 6409 §6.1; 5.7.1, RFC 3463 §3.8), and says which addresses can be set
// instead.
func (s *submissionSession) notOwn(what string) error {
	return &smtp.Error{Code: 550, Enhanced: "5.7.1", Text: backends.SafeText(what) + ": set the sender" + s.who.advice()}
}

// Reset implements [smtp.Session].
func (s *submissionSession) Reset() { s.current = nil }

// Close implements [smtp.Session].
func (s *submissionSession) Close() {
	s.leave()
	s.current = nil
}

// leave ends the login.
func (s *submissionSession) leave() {
	if s.who != nil && s.who.sending != nil {
		s.who.sending.close()
	}
	s.who = nil
}
