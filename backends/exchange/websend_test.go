package exchange_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	double "github.com/dipylon/dipylon/test/exchange"
)

var (
	webSends = map[string]any{"protocol": "ews", "submission": true}
	webTakes = with(takes, "protocol", "ews")
)

// TestWebRecipients: a message goes to whom it is for and to nobody else, and who gets it in secret is told to nobody but its sender.
func TestWebRecipients(t *testing.T) {
	const judy, dora = "judy@elsewhere.example", "dora@elsewhere.example"
	for _, test := range []struct {
		name, fields string
		to           []string
		want         string // the fields of who gets it
	}{
		{"as in the header", "To: " + chris + ",\r\n\tJudy <" + judy + ">\r\n", []string{chris, judy}, "To: " + chris + ",\r\n\tJudy <" + judy + ">\r\n"},
		{"in secret", "To: " + chris + "\r\nbcc: " + judy + "\r\n", []string{chris, judy, dora}, "To: " + chris + "\r\n"},
		{"all in secret", "", []string{chris, judy}, ""},
		{"not to all", "To: Judy <" + judy + ">, " + chris + "\r\nCc: " + dora + "\r\n", []string{chris}, "To: <" + chris + ">\r\n"},
		{"on its way", "Received: from home by gate; x\r\nReturn-Path: <" + george + ">\r\nTo: " + chris + "\r\n", []string{chris}, "To: " + chris + "\r\n"},
		{"as another spells it", "To: CHRIS@sakes.example\r\n", []string{chris}, "To: CHRIS@sakes.example\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, webSends)
			wantSent(t, s.send(t, delivery("k", test.to...), letter(test.fields)))
			got := s.inboxHas(t, chris, 1)[0]
			if string(got.Mail) != letter(test.want) {
				t.Errorf("%q", got.Mail)
			}
			away := slices.DeleteFunc(slices.Clone(test.to), func(r string) bool { return r == chris })
			var left []string
			for _, one := range s.Sent() {
				left = append(left, one.Recipients...)
				if string(one.Mail) != letter(test.want) {
					t.Errorf("%q", one.Mail)
				}
			}
			slices.Sort(away)
			if !slices.Equal(left, away) {
				t.Errorf("it has left for %q", left)
			}
			sent := s.in(george, "Sent Items")
			if len(sent) != 1 || strings.Contains(string(sent[0].Mail), "Bcc:") != strings.Contains(test.name, "secret") {
				t.Errorf("%d copies: %+v", len(sent), sent)
			}
		})
	}
}

// TestWebSendingFaults: a message is sent once, and that is said, now or when it is tried again; what is not known is said to be that.
func TestWebSendingFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		twist double.Twist
		look  int           // how often looking for it fails then
		want  backends.Kind // 0: sent
	}{
		{"the reply is lost", double.Twist{Cut: -1}, 0, 0},
		{"half of the reply is lost", double.Twist{Cut: 400}, 0, 0},
		{"a proxy has an error", double.Twist{Status: 502}, 0, 0},
		{"the request is lost", double.Twist{Undone: true, Cut: -1}, 0, backends.Uncertain},
		{"the reply is lost, and then the server", double.Twist{Cut: -1}, 2, backends.Uncertain},
		{"busy", double.Twist{BackOff: time.Minute}, 0, backends.Throttled},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, webSends)
			s.Twist("CreateItem", 1, test.twist)
			if test.look > 0 {
				s.Twist("FindItem", test.look, double.Twist{Undone: true, Status: 500})
			}
			d, mail := delivery("k", chris), letter("To: "+chris+"\r\n")
			if f := s.send(t, d, mail)[0].Failure; test.want == 0 && f != nil || test.want != 0 && (f == nil || f.Kind != test.want) {
				t.Error(f)
			}
			d.Retry = true
			for s.operations(0) != "" && len(s.Operations()) < 100 { // until what is wrong with looking for it is over
				if _, err := s.store(t).Send(t.Context(), credential("george-secret"), d, strings.NewReader(mail)); err == nil {
					break
				}
			}
			wantSent(t, s.send(t, d, mail))
			s.inboxHas(t, chris, 1)
		})
	}
}

// TestWebSendRefused: what the server says to a sender.
func TestWebSendRefused(t *testing.T) {
	s := start(t, webSends)
	other := strings.Replace(letter("To: "+chris+"\r\n"), george, chris, 1)
	if f := s.send(t, delivery("k1", chris), other)[0].Failure; f == nil || f.Reply().Code != "5.7.1" {
		t.Error(f)
	}
	s.boxes[george].SendAs = []string{chris}
	wantSent(t, s.send(t, delivery("k2", chris), other))
	s.Refuse(chris)
	if f := s.send(t, delivery("k3", chris), letter("To: "+chris+"\r\n"))[0].Failure; f == nil || f.Reply().Code != "5.1.1" {
		t.Error(f)
	}
	s.Refuse()
	s.Upload(2000)
	if f := s.send(t, delivery("k4", chris), letter("To: "+chris+"\r\n")+strings.Repeat("long\r\n", 1000))[0].Failure; f == nil || f.Kind != backends.TooLarge {
		t.Error(f)
	}
	s.Upload(0)
	s.boxes[george].Quota = 100
	if f := s.send(t, delivery("k5", chris), letter("To: "+chris+"\r\n"))[0].Failure; f == nil || f.Kind != backends.OverQuota || !strings.Contains(f.Text, "own mailbox") {
		t.Error(f)
	}
	if verdicts := s.send(t, delivery("k6", "nobody", chris), letter("To: "+chris+"\r\n")); verdicts[0].Failure == nil || verdicts[0].Failure.Reply().Code != "5.1.3" {
		t.Error(verdicts)
	}
	if _, err := s.store(t).Send(t.Context(), credential("wrong"), delivery("k7", chris), strings.NewReader("x")); backends.KindOf(err) != backends.BadCredentials {
		t.Error(err)
	}
}

// TestWebAutoSends: where there is no MAPI over HTTP, mail is sent by EWS.
func TestWebAutoSends(t *testing.T) {
	s := start(t, takes)
	wantSent(t, s.send(t, delivery("k", chris), letter("To: "+chris+"\r\n")))
	if s.operations(0) != "" {
		t.Error(s.operations(0))
	}
	s.WithoutMAPI(true)
	wantSent(t, s.send(t, delivery("k2", chris), letter("To: "+chris+"\r\n")))
	if f := s.deliver(t, delivery("k3", chris), arrival)[0].Failure; f != nil {
		t.Error(f)
	}
	s.inboxHas(t, chris, 3)
}

// TestWebCreated has a message in an Inbox as if it had come there: no draft, unread, as it came, and at the time of its arrival.
func TestWebCreated(t *testing.T) {
	s := start(t, webTakes)
	s.boxes[service].Impersonates = true
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
	if got.Flags != 0 || got.Read || !got.Received.Equal(at) || string(got.Mail) != "Return-Path: <judy@elsewhere.example>\r\n"+arrival {
		t.Errorf("%+v", got)
	}
	if ids, _ := list(t, open(t, s.store(t), "")); verdicts[0].StoredAs != ids[0] {
		t.Error(verdicts[0].StoredAs, ids)
	}
}

// TestWebCreationFaults: a message is there once, whatever is lost, also where the user has deleted it before the retry.
func TestWebCreationFaults(t *testing.T) {
	for _, test := range []struct {
		name  string
		twist double.Twist
		want  backends.Kind // 0: delivered
	}{
		{"the reply is lost", double.Twist{Cut: -1}, 0},
		{"the reply lacks the id", double.Twist{Edit: func(r string) string { return strings.Replace(r, "<t:ItemId ", "<t:NoId ", 1) }}, 0},
		{"the request is lost", double.Twist{Undone: true, Cut: -1}, backends.Uncertain},
		{"busy", double.Twist{BackOff: time.Minute}, backends.Throttled},
	} {
		for _, disposal := range []backends.Disposal{backends.DisposalRemove, backends.DisposalTrash} {
			t.Run(fmt.Sprint(test.name, disposal), func(t *testing.T) {
				s := start(t, webTakes)
				s.Twist("CreateItem", 1, test.twist)
				d := delivery("k", george)
				if f := s.deliver(t, d, arrival)[0].Failure; test.want == 0 && f != nil || test.want != 0 && (f == nil || f.Kind != test.want) {
					t.Error(f)
				}
				d.Retry = true
				for range 2 {
					if f := s.deliver(t, d, arrival)[0].Failure; f != nil {
						t.Error(f)
					}
				}
				s.inboxHas(t, george, 1)
				m := open(t, s.store(t), "")
				ids, _ := list(t, m)
				if _, err := m.Remove(t.Context(), ids, disposal); err != nil {
					t.Fatal(err)
				}
				if f := s.deliver(t, d, arrival)[0].Failure; f != nil {
					t.Error(f)
				}
				s.inboxHas(t, george, 0)
			})
		}
	}
}

// TestWebFullInbox tells each recipient's own outcome.
func TestWebFullInbox(t *testing.T) {
	s := start(t, webTakes)
	s.boxes[george].Quota = 100
	verdicts := s.deliver(t, delivery("k", george, chris), arrival)
	if f := verdicts[0].Failure; f == nil || f.Kind != backends.OverQuota {
		t.Error(f)
	}
	if f := verdicts[1].Failure; f != nil {
		t.Error(f)
	}
	s.inboxHas(t, chris, 1)
}
