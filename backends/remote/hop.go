package remote

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/fold"
	"github.com/dipylon/dipylon/backends/mail/smtpclient"
)

// Hop is the server that takes a store's mail in, by LMTP (RFC 2033) or by SMTP. The
// administrator has named it: no MX record is looked for, as that would lead back here.
type Hop struct {
	SMTP    bool   // not LMTP
	Address string // host:port, or the path of a unix socket
	Hello   string
	TLS     smtpclient.TLS
	Timeout time.Duration
	TempDir string // for content that is sent more than once, see Options
}

func (h Hop) protocol() string {
	if h.SMTP {
		return "SMTP"
	}
	return "LMTP"
}

func (h Hop) dial(ctx context.Context) (*smtpclient.Client, error) {
	network := "tcp"
	if strings.HasPrefix(h.Address, "/") {
		network = "unix"
	}
	client, err := smtpclient.Dial(ctx, network, h.Address, smtpclient.Options{
		LMTP: !h.SMTP, NotHello: h.SMTP, Hello: h.Hello, TLS: h.TLS, Timeouts: smtpclient.Within(h.Timeout), TempDir: h.TempDir,
	})
	if loop := (*smtpclient.LoopError)(nil); errors.As(err, &loop) {
		return nil, backends.Fail(backends.Permanent, "%s server %w", h.protocol(), err).
			WithCode("5.4.6").Say("the mail store's server is this gateway itself, tell your administrator")
	}
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "%s server %w", h.protocol(), err).WithCode("4.4.1")
	}
	return client, nil
}

// Resolve asks with RCPT whether the recipients would be taken.
func (h Hop) Resolve(ctx context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	client, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	outcomes, err := client.Ask(ctx, smtpclient.Envelope{ReversePath: q.From, Recipients: backends.Addresses(q.Recipients), Size: q.Size})
	if err != nil {
		return nil, SendFailure("ask the "+h.protocol()+" server", err)
	}
	return discreet(Verdicts(client.Server(), outcomes)), nil
}

// Deliver delivers with a trace put in front of the content. delivered, where there is one,
// says of a retry whether a recipient has the message already. A recipient that is named twice
// gets one copy.
func (h Hop) Deliver(ctx context.Context, d backends.Delivery, trace string, content io.Reader, delivered func(context.Context, string) (bool, error)) ([]backends.Verdict, error) {
	verdicts := make([]backends.Verdict, len(d.Recipients))
	first := make(map[string]int)
	var left []int
	for i, r := range backends.Addresses(d.Recipients) {
		verdicts[i].Recipient = r
		box := fold.Lower(r)
		if _, twice := first[box]; twice {
			continue
		}
		first[box] = i
		if d.Retry && delivered != nil {
			there, err := delivered(ctx, r)
			if err != nil {
				verdicts[i].Failure = backends.AsFailure(err)
			}
			if err != nil || there {
				continue
			}
		}
		left = append(left, i)
	}
	if err := h.deliver(ctx, d, trace, content, verdicts, left); err != nil {
		return nil, err
	}
	for i, r := range backends.Addresses(d.Recipients) {
		verdicts[i] = verdicts[first[fold.Lower(r)]]
		verdicts[i].Recipient = r
	}
	return discreet(verdicts), nil
}

func (h Hop) deliver(ctx context.Context, d backends.Delivery, trace string, content io.Reader, verdicts []backends.Verdict, left []int) error {
	if len(left) == 0 {
		_, err := io.Copy(io.Discard, content)
		return SendFailure("read the message", err)
	}
	client, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	envelope := smtpclient.Envelope{ReversePath: d.From, EightBit: d.Body == backends.Body8BitMIME, UTF8: d.SMTPUTF8, Size: d.Size + int64(len(trace)), Priority: d.Priority}
	for _, i := range left {
		envelope.Recipients = append(envelope.Recipients, d.Recipients[i].Address)
	}
	outcomes, err := client.Send(ctx, envelope, io.MultiReader(strings.NewReader(trace), content))
	if err != nil {
		return SendFailure("deliver to the "+h.protocol()+" server", err)
	}
	for n, v := range Verdicts(client.Server(), outcomes) {
		verdicts[left[n]] = v
	}
	return nil
}

// discreet keeps the texts of the server behind the gateway in the log: a stranger is told the
// kind and the code.
func discreet(verdicts []backends.Verdict) []backends.Verdict {
	for i := range verdicts {
		if f := verdicts[i].Failure; f != nil {
			verdicts[i].Failure = f.Say("")
		}
	}
	return verdicts
}
