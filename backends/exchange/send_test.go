package exchange_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	double "github.com/dipylon/dipylon/test/exchange"
)

// objectOf reads a message of the double's.
func objectOf(t testing.TB, stream []byte) *mapi.Message {
	t.Helper()
	m, err := fasttransfer.NewReader(bytes.NewReader(stream), fasttransfer.Options{Keep: mapi.KeepInMemory}).Message()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// in are the messages of a folder.
func (s *site) in(user, folder string) (all []double.Message) {
	for _, m := range s.boxes[user].Messages() {
		if m.Folder == folder && !m.Deleted {
			all = append(all, m)
		}
	}
	return all
}

func letter(fields string) string {
	return "From: George <" + george + ">\r\nSubject: The bill\r\nMessage-ID: <bill@sakes.example>\r\n" + fields + "\r\nHere it is.\r\n"
}

func delivery(key string, recipients ...string) backends.Delivery {
	return backends.Delivery{Key: key, Envelope: backends.Envelope{From: george}, Recipients: backends.To(recipients...)}
}

func (s *site) send(t testing.TB, d backends.Delivery, mail string) []backends.Verdict {
	t.Helper()
	credential := backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("george-secret")}
	verdicts, err := s.store(t).Send(t.Context(), credential, d, strings.NewReader(mail))
	if err != nil {
		t.Fatal(err)
	}
	if err := backends.CheckVerdicts(d.Recipients, verdicts); err != nil {
		t.Error(err)
	}
	return verdicts
}

// wantSent makes sure that all were sent the message.
func wantSent(t testing.TB, verdicts []backends.Verdict) {
	t.Helper()
	for _, v := range verdicts {
		if v.Failure != nil || v.Outcome() != backends.ActionRelayed {
			t.Errorf("%s: %v", v.Recipient, v.Failure)
		}
	}
}

// recipientsOf are the recipients that a message shows, as "1 address".
func recipientsOf(m *mapi.Message) (all []string) {
	for _, r := range m.Recipients {
		kind, _ := r.Integer(mapi.PidTagRecipientType)
		all = append(all, fmt.Sprintf("%x %s", kind, r.Text(mapi.PidTagSmtpAddress)))
	}
	slices.Sort(all)
	return all
}

// TestSecretRecipients sends to one who is not in the header: in the recipients' copies nobody sees that, and in Sent Items the sender does.
func TestSecretRecipients(t *testing.T) {
	s := start(t, sends)
	wantSent(t, s.send(t, delivery("k", chris, "judy@elsewhere.example"), letter("To: "+chris+"\r\n")))
	arrived := s.in(chris, "Inbox")
	if len(arrived) != 1 {
		t.Fatal(arrived)
	}
	m := objectOf(t, arrived[0].Stream)
	if got := recipientsOf(m); !slices.Equal(got, []string{"1 " + chris}) || bytes.Contains(arrived[0].Stream, []byte("j\x00u\x00d\x00y")) {
		t.Error(got)
	}
	if m.Text(mapi.PidTagSubject) != "The bill" || m.Text(mapi.PidTagInternetMessageId) != "<bill@sakes.example>" || m.Has(mapi.PidTagTransportMessageHeaders) {
		t.Error(m)
	}
	sent := s.in(george, "Sent Items")
	if len(sent) != 1 || len(s.in(george, "Outbox")) != 0 || !sent[0].Read {
		t.Fatal(len(sent), s.in(george, "Outbox"))
	}
	if got := recipientsOf(objectOf(t, sent[0].Stream)); !slices.Equal(got, []string{"1 " + chris, "3 judy@elsewhere.example"}) {
		t.Error(got)
	}
	if left := s.Sent(); len(left) != 1 || !slices.Equal(left[0].Recipients, []string{"judy@elsewhere.example"}) || bytes.Contains(left[0].Stream, []byte("j\x00u\x00d\x00y")) {
		t.Error(left)
	}
}

// TestShownRecipients sends to one of three in the header: the others are shown, and get nothing.
func TestShownRecipients(t *testing.T) {
	s := start(t, sends)
	wantSent(t, s.send(t, delivery("k", strings.ToUpper(chris)), letter("To: "+chris+", judy@elsewhere.example\r\nCc: Ann <ann@elsewhere.example>, "+chris+"\r\n")))
	if left := s.Sent(); len(left) != 0 {
		t.Error(left)
	}
	arrived := s.in(chris, "Inbox")
	if len(arrived) != 1 {
		t.Fatal(arrived)
	}
	if got := strings.Join(recipientsOf(objectOf(t, arrived[0].Stream)), ", "); !strings.Contains(got, "ann@") || !strings.Contains(got, "judy@") || strings.Count(got, "CHRIS@") != 1 {
		t.Error(got)
	}
}

// TestReports asks the server for what senders want to be told of (RFC 3461 §4.1).
func TestReports(t *testing.T) {
	s := start(t, sends)
	d := delivery("k", chris, "judy@elsewhere.example")
	d.Recipients[0].Notify = backends.NotifySuccess
	wantSent(t, s.send(t, d, letter("To: "+chris+", judy@elsewhere.example\r\nDisposition-Notification-To: "+george+"\r\n")))
	m := objectOf(t, s.in(george, "Sent Items")[0].Stream)
	if !m.Bool(mapi.PidTagReadReceiptRequested) {
		t.Error("nobody asks for a read receipt")
	}
	for i, want := range [][2]bool{{true, false}, {false, true}} {
		r := m.Recipients[i]
		if got := [2]bool{r.Bool(mapi.PidTagOriginatorDeliveryReportRequested), r.Bool(mapi.PidTagOriginatorNonDeliveryReportRequested)}; got != want {
			t.Errorf("%s: %v, want %v", r.Text(mapi.PidTagSmtpAddress), got, want)
		}
	}
}

// TestSendAs sends as somebody else, whom the address book knows: with the server's leave, and without it.
func TestSendAs(t *testing.T) {
	mail := strings.Replace(letter("To: judy@elsewhere.example\r\n"), "George <"+george, "Chris <"+chris, 1)
	t.Run("refused", func(t *testing.T) {
		s := start(t, sends)
		f := s.send(t, delivery("k", "judy@elsewhere.example"), mail)[0].Failure
		if f == nil || f.Kind != backends.Permanent || f.Code != "5.7.1" || !strings.Contains(f.Text, "may not send as") {
			t.Error(f)
		}
		if len(s.Sent()) != 0 || len(s.in(george, "Outbox")) != 0 {
			t.Error(s.Sent(), s.in(george, "Outbox"))
		}
	})
	t.Run("allowed", func(t *testing.T) {
		s := start(t, sends)
		s.boxes[george].SendAs = []string{chris}
		wantSent(t, s.send(t, delivery("k", "judy@elsewhere.example"), mail))
		m := objectOf(t, s.Sent()[0].Stream)
		as, _ := m.Address(mapi.SentRepresentingAddress)
		by, _ := m.Address(mapi.SenderAddress)
		if as.Type != "EX" || as.Address != s.boxes[chris].DN || as.SMTP != chris || by.SMTP != george {
			t.Errorf("%+v %+v", as, by)
		}
	})
}

// TestServiceSends sends as a user for whom the service account acts: the author is the user, whether the header says so or nobody.
func TestServiceSends(t *testing.T) {
	for name, mail := range map[string]string{
		"From": letter("To: judy@elsewhere.example\r\n"), "no From": strings.Replace(letter(""), "From: George <"+george+">\r\n", "", 1),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]any{"submission": true, "service": map[string]any{"user": chris, "password": "chris-secret"}})
			s.boxes[george].Grant(s.boxes[chris], double.Rights{Reads: true, SendAs: true})
			store := s.store(t)
			verdicts, err := store.Send(t.Context(), backends.Credential{Kind: backends.CredentialImpersonation, User: george}, delivery("k", "judy@elsewhere.example"), strings.NewReader(mail))
			if err != nil {
				t.Fatal(err)
			}
			wantSent(t, verdicts)
			m := objectOf(t, s.Sent()[0].Stream)
			if as, _ := m.Address(mapi.SentRepresentingAddress); as.SMTP != george || as.Address != s.boxes[george].DN {
				t.Errorf("%+v", as)
			}
			if len(s.in(george, "Sent Items")) != 1 || len(s.in(chris, "Sent Items")) != 0 {
				t.Error("the copy is not in the user's Sent Items")
			}
		})
	}
}

// TestRefusedRecipients has the transport refuse one of two: the other gets the message, once.
func TestRefusedRecipients(t *testing.T) {
	s := start(t, sends)
	s.Refuse("judy@elsewhere.example")
	verdicts := s.send(t, delivery("k", "judy@elsewhere.example", chris), letter("To: "+chris+", judy@elsewhere.example\r\n"))
	if f := verdicts[0].Failure; f == nil || f.Kind != backends.Permanent || f.Code != "5.1.1" {
		t.Error(f)
	}
	wantSent(t, verdicts[1:])
	if n := len(s.in(chris, "Inbox")); n != 1 || len(s.Sent()) != 0 || len(s.in(george, "Outbox")) != 0 {
		t.Error(n, s.Sent(), s.in(george, "Outbox"))
	}
}

// TestFullMailbox cannot put the message there to be sent.
func TestFullMailbox(t *testing.T) {
	s := start(t, sends)
	s.boxes[george].Quota = 100
	if f := s.send(t, delivery("k", chris), letter(""))[0].Failure; f == nil || f.Kind != backends.OverQuota || !strings.Contains(f.Text, "your own mailbox is full") {
		t.Error(f)
	}
}

// TestOddRecipients refuses what is no address, and sends once to one who is named twice.
func TestOddRecipients(t *testing.T) {
	s := start(t, sends)
	verdicts := s.send(t, delivery("k", "judy", chris, "x@y\r\n", strings.ToUpper(chris)), letter(""))
	for i, sent := range []bool{false, true, false, true} {
		if (verdicts[i].Failure == nil) != sent {
			t.Error(i, verdicts[i].Failure)
		}
	}
	if n := len(s.in(chris, "Inbox")); n != 1 {
		t.Error(n)
	}
}

// TestSendingFaults loses sessions and replies at each step: the message is sent once, and its sender is told so.
func TestSendingFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*double.Server)
		want  backends.Kind // 0: sent
	}{
		{"restart in the middle of the stream", func(s *double.Server) { s.RestartAt(double.PutBuffer, 2) }, 0},
		{"reply to a piece lost", func(s *double.Server) { s.CutAt(double.PutBuffer, 1) }, 0},
		{"restart before it is saved", func(s *double.Server) { s.RestartAt(double.Save, 1) }, 0},
		{"reply lost when it was saved", func(s *double.Server) { s.CutAt(double.Save, 1) }, 0},
		{"restart before it is submitted", func(s *double.Server) { s.RestartAt(double.Submit, 1) }, 0},
		{"reply lost when it was submitted", func(s *double.Server) { s.CutAt(double.Submit, 1) }, 0},
		{"silent when it was submitted", func(s *double.Server) { s.StallAt(double.Submit, true) }, 0},
		{"silent before it is submitted", func(s *double.Server) { s.StallAt(double.Submit, false) }, backends.Uncertain},
		{"busy", func(s *double.Server) { s.Busy(1) }, backends.Throttled},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, map[string]any{"submission": true, "timeout": "1s"})
			credential := backends.Credential{Kind: backends.CredentialPassword, User: george, Secret: []byte("george-secret")}
			session, err := s.store(t).OpenSending(t.Context(), credential)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			if _, err := session.Send(t.Context(), delivery("first", george), strings.NewReader(letter(""))); err != nil {
				t.Fatal(err)
			}
			test.fault(s.Server)
			mail := letter("") + strings.Repeat("This is the price of all of it.\r\n", 10_000)
			verdicts, err := session.Send(t.Context(), delivery("k", chris, "judy@elsewhere.example"), strings.NewReader(mail))
			if err != nil {
				verdicts = []backends.Verdict{{Failure: backends.AsFailure(err)}, {Failure: backends.AsFailure(err)}}
			}
			sent := 1
			for _, v := range verdicts {
				switch f := v.Failure; {
				case test.want == 0:
					wantSent(t, []backends.Verdict{v})
				case f == nil || f.Kind != test.want:
					t.Error(f)
				}
			}
			if test.want != 0 {
				sent = 0
			}
			if a, b, c := len(s.in(chris, "Inbox")), len(s.Sent()), len(s.in(george, "Sent Items"))-1; a != sent || b != sent || c != sent {
				t.Errorf("%d, %d and %d messages, want %d", a, b, c, sent)
			}
			if test.want == 0 && len(s.in(george, "Outbox")) != 0 {
				t.Error("something is left in the Outbox")
			}
			// Asked again, nobody gets it twice.
			again := delivery("k", chris, "judy@elsewhere.example")
			again.Retry = true
			wantSent(t, s.send(t, again, mail))
			if a, b := len(s.in(chris, "Inbox")), len(s.Sent()); a != 1 || b != 1 {
				t.Errorf("%d and %d messages after a retry", a, b)
			}
		})
	}
}

// TestRetryForOneMore sends under one key to those alone to whom it was not sent.
func TestRetryForOneMore(t *testing.T) {
	s := start(t, sends)
	mail := letter("To: " + chris + "\r\n")
	wantSent(t, s.send(t, delivery("k", chris), mail))
	d := delivery("k", chris, george)
	d.Retry = true
	wantSent(t, s.send(t, d, mail))
	wantSent(t, s.send(t, delivery("other", george), mail))
	if a, b := len(s.in(chris, "Inbox")), len(s.in(george, "Inbox")); a != 1 || b != 2 {
		t.Error(a, b)
	}
}

// TestNothingIsLeft has no session context nor object left behind.
func TestNothingIsLeft(t *testing.T) {
	s := start(t, sends)
	wantSent(t, s.send(t, delivery("k", chris), letter("")))
	if contexts, objects := s.Left(); contexts != 0 || objects != 0 {
		t.Error(contexts, objects)
	}
}
