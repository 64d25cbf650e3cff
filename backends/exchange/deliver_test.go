package exchange_test

import (
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/mime"
	double "github.com/dipylon/dipylon/test/exchange"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

func (s *site) deliver(t testing.TB, d backends.Delivery, mail string) []backends.Verdict {
	t.Helper()
	verdicts, err := s.store(t).Deliver(t.Context(), d, strings.NewReader(mail))
	if err != nil {
		t.Fatal(err)
	}
	if err := backends.CheckVerdicts(d.Recipients, verdicts); err != nil {
		t.Error(err)
	}
	return verdicts
}

// inboxHas makes sure that an Inbox has so many messages.
func (s *site) inboxHas(t testing.TB, user string, n int) []double.Message {
	t.Helper()
	all := s.in(user, "Inbox")
	if len(all) != n {
		t.Fatalf("%d messages in the Inbox of %s, want %d", len(all), user, n)
	}
	return all
}

const arrival = "Received: from client.elsewhere.example by gateway; Mon, 30 Nov 2026 09:00:00 +0000\r\nFrom: Judy <judy@elsewhere.example>\r\n" +
	"To: undisclosed-recipients:;\r\nSubject: Hello\r\nDate: Mon, 30 Nov 2026 08:59:00 +0000\r\nX-Odd: kept\r\n\r\nHello.\r\n"

// TestCreated has a message in an Inbox as if it had come there: no draft, unread, with its header and the time of its arrival.
func TestCreated(t *testing.T) {
	s := start(t, takes)
	at := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	d := delivery("k", george, "nobody@sakes.example", "GEORGE+bills@sakes.example")
	d.Received, d.From = at, "judy@elsewhere.example"
	verdicts := s.deliver(t, d, arrival)
	if verdicts[0].Failure != nil || verdicts[0].StoredAs == "" || verdicts[2].StoredAs != verdicts[0].StoredAs || verdicts[0].Destination != "Inbox" {
		t.Error(verdicts)
	}
	if f := verdicts[1].Failure; f == nil || f.Kind != backends.NotFound {
		t.Error(f)
	}
	got := s.inboxHas(t, george, 1)[0]
	m := objectOf(t, got.Stream)
	if flags, _ := m.Integer(mapi.PidTagMessageFlags); flags&8 != 0 || got.Read || !got.Received.Equal(at) {
		t.Error(flags, got.Read, got.Received)
	}
	if headers := m.Text(mapi.PidTagTransportMessageHeaders); !strings.HasPrefix(headers, "Return-Path: <judy@elsewhere.example>\r\nReceived: from client") || !strings.Contains(headers, "X-Odd: kept") {
		t.Errorf("%q", headers)
	}
}

// TestCreationFaults loses sessions and replies at each step: the message is there once, and that is said, now or when it is tried again.
func TestCreationFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*double.Server)
		want  backends.Kind // 0: delivered
	}{
		{"restart in the middle of the stream", func(s *double.Server) { s.RestartAt(double.PutBuffer, 2) }, 0},
		{"restart before it is saved", func(s *double.Server) { s.RestartAt(double.Save, 1) }, 0},
		{"reply lost when it was saved", func(s *double.Server) { s.CutAt(double.Save, 1) }, 0},
		{"silent when it was saved", func(s *double.Server) { s.StallAt(double.Save, true) }, 0},
		{"silent before it is saved", func(s *double.Server) { s.StallAt(double.Save, false) }, backends.Temporary},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			settings := map[string]any{"timeout": "1s"}
			for name, value := range takes {
				settings[name] = value
			}
			s := start(t, settings)
			mail := arrival + strings.Repeat("This is the price of all of it.\r\n", 10_000)
			test.fault(s.Server)
			d := delivery("k", george)
			if f := s.deliver(t, d, mail)[0].Failure; test.want == 0 && f != nil || test.want != 0 && (f == nil || f.Kind != test.want) {
				t.Error(f)
			}
			d.Retry = true
			for range 2 {
				if f := s.deliver(t, d, mail)[0].Failure; f != nil {
					t.Error(f)
				}
			}
			s.inboxHas(t, george, 1)
		})
	}
}

// TestFullInbox tells each recipient's own outcome.
func TestFullInbox(t *testing.T) {
	s := start(t, takes)
	s.boxes[george].Quota = 100
	verdicts := s.deliver(t, delivery("k", george, chris), arrival)
	if f := verdicts[0].Failure; f == nil || f.Kind != backends.OverQuota {
		t.Error(f)
	}
	if f := verdicts[1].Failure; f != nil {
		t.Error(f)
	}
	s.inboxHas(t, george, 0)
	s.inboxHas(t, chris, 1)
}

// TestServiceRefused takes no mail in, and loses none, where the service account may not open a mailbox or is refused itself.
func TestServiceRefused(t *testing.T) {
	s := start(t, takes)
	s.AddMailbox("new@sakes.example", "secret", "/o=Sakes/cn=Recipients/cn=new")
	if f := s.deliver(t, delivery("k", "new@sakes.example"), arrival)[0].Failure; f == nil || f.Kind != backends.Temporary || !strings.Contains(f.Detail, "FullAccess") {
		t.Error(f)
	}
	s = start(t, map[string]any{"delivery": map[string]any{"create": true}, "service": map[string]any{"user": service, "password": "wrong"}})
	store := s.store(t)
	for range 3 {
		if _, err := store.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(george)}); backends.KindOf(err) != backends.Temporary {
			t.Error(err)
		}
	}
	if n := s.Refusals(service); n != 1 {
		t.Errorf("the wrong password was sent %d times", n)
	}
}

// TestEncapsulatedRecipient: the address that encapsulates a distinguished name is who has that name in the address book, or had it. It leads to nobody else:
// not out of the store's domains, nor to whom the name could mean besides.
func TestEncapsulatedRecipient(t *testing.T) {
	for _, protocol := range []string{"mapi", "ews"} {
		t.Run(protocol, func(t *testing.T) {
			s := start(t, with(takes, "protocol", protocol))
			const old = "/o=Sakes/ou=Before/cn=Recipients/cn=g1"
			s.boxes[george].OldDNs = []string{old}
			now := mime.Encapsulate("EX", strings.ToUpper(s.boxes[george].DN), "sakes.example")
			before := mime.Encapsulate("EX", old, "sakes.example")
			to := []string{
				now, "IMCEASMTP-chris+40sakes+2Eexample@sakes.example", mime.Encapsulate("EX", "/o=Sakes/cn=nobody", "sakes.example"),
				mime.Encapsulate("EX", s.boxes[george].DN, "far.example"), "IMCEASMTP-george+40far+2Eexample@sakes.example", "IMCEAX400-george@sakes.example", before,
			}
			verdicts := s.deliver(t, delivery("k", to...), strings.Replace(arrival, "undisclosed-recipients:;", "<"+now+">", 1))
			for i, v := range verdicts {
				known := i < 2 || to[i] == before && protocol == "mapi" // by EWS names of before are not told
				if known != (v.Failure == nil) || !known && v.Failure.Kind != backends.NotFound {
					t.Errorf("%s: %+v", to[i], v.Failure)
				}
			}
			got := s.inboxHas(t, george, 1)[0]
			s.inboxHas(t, chris, 1)
			if protocol == "mapi" { // by EWS it is the server that makes properties of it
				if a, _ := objectOf(t, got.Stream).Recipients[0].Address(mapi.RecipientAddress); a.Type != mapi.AddressEX || !strings.EqualFold(a.Address, s.boxes[george].DN) {
					t.Errorf("%+v", a)
				}
			}
			resolved, err := s.store(t).Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(george, now)})
			if err != nil || resolved[0].Account == "" || resolved[0].Account != resolved[1].Account {
				t.Errorf("%+v, %v", resolved, err)
			}
		})
	}
}

// TestResolveRemembers asks the address book once, about all who are not known.
func TestResolveRemembers(t *testing.T) {
	s := start(t, takes)
	store := s.store(t)
	ask := func(recipients ...string) int {
		before := s.Requests()
		verdicts, err := store.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(recipients...)})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range recipients {
			if (verdicts[i].Failure == nil) != (r != "nobody@sakes.example") {
				t.Error(r, verdicts[i].Failure)
			}
		}
		return s.Requests() - before
	}
	if n := ask(george, "nobody@sakes.example", chris, "George+x@sakes.example"); n == 0 || n > 4 {
		t.Errorf("%d requests", n)
	}
	if n := ask(chris, george, "nobody@sakes.example"); n != 0 {
		t.Errorf("%d requests about those who are known", n)
	}
}

// TestDeliveryBySMTP hands messages to the server's own SMTP server.
func TestDeliveryBySMTP(t *testing.T) {
	server := (&fakesmtp.Server{Rcpt: func(_ fakesmtp.Transaction, path string) string {
		if strings.Contains(path, "nobody") {
			return "550 5.1.1 no such mailbox"
		}
		return ""
	}}).Start(t)
	s := start(t, map[string]any{"delivery": map[string]any{"smtp": server.Address}})
	store := s.store(t)
	d, err := store.Describe(t.Context())
	if err != nil || !d.Capabilities.Receiver || d.Capabilities.Sender {
		t.Error(d.Capabilities, err)
	}
	for what, verdicts := range map[string]func() ([]backends.Verdict, error){
		"resolve": func() ([]backends.Verdict, error) {
			return store.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(george, "nobody@sakes.example")})
		},
		"deliver": func() ([]backends.Verdict, error) {
			return store.Deliver(t.Context(), delivery("k", george, "nobody@sakes.example"), strings.NewReader(arrival))
		},
	} {
		v, err := verdicts()
		if err != nil || v[0].Failure != nil || v[1].Failure == nil || v[1].Failure.Kind != backends.NotFound {
			t.Errorf("%s: %v, %v", what, v, err)
		}
	}
	if got := server.Received(); len(got) != 1 || got[0].Content != arrival {
		t.Errorf("%q", got)
	}
}

// TestNoDelivery has a store without a way in, which says so.
func TestNoDelivery(t *testing.T) {
	store := start(t, nil).store(t)
	if d, err := store.Describe(t.Context()); err != nil || d.Capabilities.Receiver {
		t.Error(d.Capabilities, err)
	}
	if _, err := store.Deliver(t.Context(), delivery("k", george), strings.NewReader(arrival)); backends.KindOf(err) != backends.Unsupported {
		t.Error(err)
	}
}
