//go:build linux

package jmap_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/address"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/backends/remote"
	"github.com/dipylon/dipylon/gateway/smtp"
)

// transport is the mail server that Cyrus submits to. It knows by the local part who is deferred
// and who is refused, and delivers the rest to Cyrus's own LMTP server. It does so once the
// submission is over: Cyrus holds a lock on the sender's mail until then.
type transport struct {
	address string
	lmtp    atomic.Pointer[remote.Hop] // known once Cyrus runs
	under   sync.WaitGroup             // deliveries under way
	later   sync.Map                   // addresses that are put off, besides deferred@
	t       *testing.T
}

func startTransport(t *testing.T) *transport {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sink := &transport{address: listener.Addr().String(), t: t}
	server := &smtp.Server{Backend: sink, Hostname: "transport.example"}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = server.Shutdown(ctx) // Cyrus keeps its connections open
		<-served
		sink.under.Wait()
	})
	return sink
}

// putOff puts an address off until undone.
func (s *transport) putOff(_ context.Context, address string) (undo func(), err error) {
	s.later.Store(address, nil)
	return func() { s.later.Delete(address) }, nil
}

func (s *transport) NewSession(context.Context, smtp.Conn) (smtp.Session, error) {
	return &transaction{sink: s}, nil
}

type transaction struct {
	sink     *transport
	delivery backends.Delivery
}

func (t *transaction) Mechanisms() []string { return nil }

func (t *transaction) Authenticate(context.Context, string) (sasl.Exchange[sasl.Accepted], error) {
	return nil, &smtp.Error{Code: 504, Enhanced: "5.5.4", Text: "no such mechanism"}
}

func (t *transaction) Mail(_ context.Context, reversePath address.Path, o smtp.MailOptions) error {
	t.delivery = backends.Delivery{Envelope: backends.Envelope{From: reversePath.String()}}
	return nil
}

func (t *transaction) Rcpt(_ context.Context, path address.Path, _ smtp.RcptOptions) error {
	recipient := path.String()
	_, later := t.sink.later.Load(recipient)
	switch local, _, _ := strings.Cut(recipient, "@"); {
	case later, strings.HasPrefix(local, "deferred"):
		return &smtp.Error{Code: 451, Enhanced: "4.2.1", Text: "the mailbox sleeps"}
	case strings.HasPrefix(local, "refused"):
		return &smtp.Error{Code: 550, Enhanced: "5.1.1", Text: "there is no such mailbox"}
	}
	t.delivery.Recipients = backends.To(append(backends.Addresses(t.delivery.Recipients), recipient)...)
	return nil
}

func (t *transaction) Data(ctx context.Context, trace string, body io.Reader) (string, error) {
	for _, r := range backends.Addresses(t.delivery.Recipients) {
		if strings.HasPrefix(r, "late") { // refused once its content is seen
			_, _ = io.Copy(io.Discard, body)
			return "", &smtp.Error{Code: 554, Enhanced: "5.7.1", Text: "the content is not wanted"}
		}
	}
	content, err := io.ReadAll(io.MultiReader(strings.NewReader(trace), body))
	if err != nil {
		return "", err
	}
	delivery := t.delivery
	t.sink.under.Go(func() { t.sink.deliver(delivery, content) })
	return "Ok", nil
}

func (s *transport) deliver(d backends.Delivery, content []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	verdicts, err := s.lmtp.Load().Deliver(ctx, d, "", bytes.NewReader(content), nil)
	for _, v := range verdicts {
		if v.Failure != nil {
			err = v.Failure
		}
	}
	if err != nil {
		s.t.Errorf("what Cyrus submitted cannot be delivered: %v", err)
	}
}

func (t *transaction) Reset() {}
func (t *transaction) Close() {}
