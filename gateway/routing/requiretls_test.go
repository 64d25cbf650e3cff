package routing_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/smtp"
)

// TestRequireTLS: what is to go by verified TLS alone (RFC 8689) is in the queue with that, and nothing of it is in a report; who
// has no queue does not offer it.
func TestRequireTLS(t *testing.T) {
	q := newQueued(t)
	for name, s := range map[string]smtp.Session{"submission": q.submission(), "an MX": q.mx()} {
		if r, is := s.(smtp.RequiresTLS); !is || !r.RequiresTLS() {
			t.Errorf("%s does not offer it", name)
		}
		s.Close()
	}
	g := newGateway(t)
	for name, s := range map[string]smtp.Session{"submission": g.submission(), "an MX": g.mx()} {
		if s.(smtp.RequiresTLS).RequiresTLS() {
			t.Errorf("%s offers it without a queue", name)
		}
		s.Close()
	}

	s := q.submission()
	defer s.Close()
	if err := s.Mail(t.Context(), path(t, "alice@sakes.example"), smtp.MailOptions{ID: "t1", RequireTLS: true, Return: smtp.ReturnFull}); err != nil {
		t.Fatal(err)
	}
	if err := s.Rcpt(t.Context(), path(t, "zoe@far.example"), smtp.RcptOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Data(t.Context(), trace(), strings.NewReader(letter)); err != nil {
		t.Fatal(err)
	}
	if far := q.waiting("far.example"); len(far) != 1 || !far[0].Envelope.RequireTLS {
		t.Errorf("far.example has %+v", far)
	}

	mx := q.mx()
	defer mx.Close()
	if err := mx.Mail(t.Context(), path(t, "carol@other.example"), smtp.MailOptions{ID: "t2", RequireTLS: true, Return: smtp.ReturnFull}); err != nil {
		t.Fatal(err)
	}
	if err := mx.Rcpt(t.Context(), path(t, "bob@sakes.example"), smtp.RcptOptions{Notify: smtp.NotifySuccess}); err != nil {
		t.Fatal(err)
	}
	if _, err := mx.Data(t.Context(), trace(), strings.NewReader("Subject: what nobody else reads\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	reports := q.waiting("other.example")
	if len(reports) != 1 || strings.Contains(contentOf(t, reports[0]), "what nobody else reads") {
		t.Errorf("there are %d reports, or one has something of the message", len(reports))
	}
}
