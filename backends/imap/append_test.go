package imap_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/fakesmtp"
)

// selecting refuses each APPEND while a folder is selected, as Courier does for the one that is
// selected for reading alone, and counts those that it takes.
type selecting struct {
	mu       sync.Mutex
	selected bool
	appended int
}

func (s *selecting) rules() []fakeimap.Rule {
	rule := func(command string, do func(tag, right string) string) fakeimap.Rule {
		return fakeimap.Rule{Command: command, Make: func(tag, _, right string) string {
			s.mu.Lock()
			defer s.mu.Unlock()
			return do(tag, right)
		}}
	}
	return []fakeimap.Rule{
		rule("^(SELECT|EXAMINE)", func(_, right string) string { s.selected = true; return right }),
		rule("^(CLOSE|UNSELECT)", func(_, right string) string { s.selected = false; return right }),
		rule("^APPEND", func(tag, right string) string {
			if s.selected {
				return tag + " NO the mailbox is read-only\r\n"
			}
			s.appended++
			return right
		}),
	}
}

// TestAppendAfterLooking: no folder is selected when something is appended, whether the server
// has UNSELECT or not.
func TestAppendAfterLooking(t *testing.T) {
	for name, caps := range map[string]string{"UNSELECT": fakeimap.Caps, "CLOSE": strings.ReplaceAll(fakeimap.Caps, " UNSELECT", "")} {
		t.Run("a delivery that is tried again, "+name, func(t *testing.T) {
			state := &selecting{}
			server := fakeimap.Start(t, &fakeimap.Server{Caps: caps, On: state.rules()})
			s := storeOf(t, server, map[string]any{"master": map[string]any{"user": "m", "password": "p"}, "delivery": map[string]any{"append": true}})
			for n := range 3 {
				verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: fmt.Sprint("k", n), Retry: true, Recipients: backends.To("ada@peer.example")}, strings.NewReader("Subject: x\r\n\r\nx\r\n"))
				if err != nil || verdicts[0].Failure != nil {
					t.Fatal(verdicts, err)
				}
			}
			if state.appended != 3 {
				t.Errorf("%d were appended", state.appended)
			}
		})
		t.Run("a copy of what was sent, "+name, func(t *testing.T) {
			state := &selecting{}
			server := fakeimap.Start(t, &fakeimap.Server{Caps: caps, On: state.rules()})
			upstream := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}}).Start(t)
			s := storeOf(t, server, map[string]any{"submission": map[string]any{"address": upstream.Address, "tls": "none", "sent": "Sent"}})
			if _, err := s.Send(t.Context(), password, letterTo("friend@else.example"), strings.NewReader(letter)); err != nil {
				t.Fatal(err)
			}
			server.Until(t, "a copy", func() bool { return len(server.Appended()) > 0 })
			_ = s.Close() // what it was doing has ended then
			state.mu.Lock()
			defer state.mu.Unlock()
			if state.appended != 1 || len(upstream.Received()) != 1 {
				t.Errorf("%d copies of %d that were sent", state.appended, len(upstream.Received()))
			}
		})
	}
}

const letter = "From: ada@peer.example\r\nMessage-ID: <1@peer.example>\r\nSubject: x\r\n\r\nx\r\n"

func letterTo(recipients ...string) backends.Delivery {
	return backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "ada@peer.example"}, Recipients: backends.To(recipients...), Size: int64(len(letter))}
}

// TestRefusedAppends: what is refused for what the message is will be refused tomorrow; all else
// may pass.
func TestRefusedAppends(t *testing.T) {
	const content, later = "permanent 5.6.0", "temporary 4.3.0"
	for answer, want := range map[string]string{
		"NO Message contains NUL characters":                  content,
		"NO Message contains bare newlines":                   content,
		"NO Message contains non-ASCII characters in headers": content,
		"NO Message contains invalid header":                  content,
		"NO [ALERT] Message contains NUL characters":          content,
		"NO [CANNOT] no":      "unsupported 5.5.4",
		"NO [UNKNOWN-CTE] no": "poison 5.6.0",
		"NO [TOOBIG] no":      "too large 5.3.4",
		"NO [OVERQUOTA] no":   "over quota 4.2.2",
		"NO [OVERQUOTA] Account exceeded command or bandwidth limits": "throttled 4.7.0",
		"NO [SERVERBUG] Message contains trouble":                     later,
		"NO [UNAVAILABLE] no":                                         later,
		"NO could not be written":                                     later,
		"BAD Invalid message literal":                                 content,
		"BAD Header is malformed":                                     content,
		"BAD [CLIENTBUG] cannot parse":                                content,
		"BAD Mailbox name is not valid":                               later,
		"BAD Internal server error":                                   later,
	} {
		t.Run(answer, func(t *testing.T) {
			server := fakeimap.Start(t, &fakeimap.Server{On: []fakeimap.Rule{on("APPEND", "TAG "+answer+"\n")}})
			s := storeOf(t, server, map[string]any{"master": map[string]any{"user": "m", "password": "p"}, "delivery": map[string]any{"append": true}})
			verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To("ada@peer.example")}, strings.NewReader(letter))
			if err != nil || verdicts[0].Failure == nil {
				t.Fatal(verdicts, err)
			}
			if f := verdicts[0].Failure; f.Kind.String()+" "+f.Reply().Code != want {
				t.Errorf("got %s %s, want %s", f.Kind, f.Reply().Code, want)
			}
		})
	}
}

// TestLiteralIsAskedFor: a server may say no more than "+", and may refuse a message before it comes.
func TestLiteralIsAskedFor(t *testing.T) {
	for answer, want := range map[string]string{
		"+": "taken", "+ ": "taken", "+ Ready for literal data": "taken",
		"TAG NO [TOOBIG] no": "too large 5.3.4", "TAG NO [OVERQUOTA] no": "over quota 4.2.2", "TAG NO not now": "temporary 4.3.0",
		"TAG BAD this has NULs": "permanent 5.6.0",
	} {
		t.Run(answer, func(t *testing.T) {
			caps := strings.ReplaceAll(fakeimap.Caps, " LITERAL-", "")
			server := fakeimap.Start(t, &fakeimap.Server{Caps: caps, Continue: answer})
			s := storeOf(t, server, map[string]any{"master": map[string]any{"user": "m", "password": "p"}, "delivery": map[string]any{"append": true}})
			for range 2 {
				verdicts, err := s.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To("ada@peer.example")}, strings.NewReader(letter))
				if err != nil {
					t.Fatal(err)
				}
				if got := outcomes(verdicts); got != "ada@peer.example "+want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if n := len(server.Appended()); want == "taken" && n != 2 || want != "taken" && n != 0 {
				t.Errorf("%d were appended", n)
			}
		})
	}
}

// TestQuotaOfTraffic: a quota by which a server ends the connection is none of the mailbox.
func TestQuotaOfTraffic(t *testing.T) {
	for name, on := range map[string][]fakeimap.Rule{
		"at login":     {on("AUTHENTICATE", "* BYE [OVERQUOTA] Account exceeded bandwidth limits\nCLOSE")},
		"at the inbox": {on("SELECT", "* BYE [OVERQUOTA] enough for today\nCLOSE"), on("EXAMINE", "* BYE [OVERQUOTA] enough for today\nCLOSE")},
		"a NO":         {on("AUTHENTICATE", "TAG NO [OVERQUOTA] bandwidth limit reached\n")},
	} {
		t.Run(name, func(t *testing.T) {
			s := storeOf(t, fakeimap.Start(t, &fakeimap.Server{On: on}), nil)
			_, err := s.Open(t.Context(), backends.OpenRequest{Credential: password})
			if f := backends.AsFailure(err); f == nil || f.Kind != backends.Throttled {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestSubmissionLogin: what the submission server says to AUTH reaches the client as what it is.
func TestSubmissionLogin(t *testing.T) {
	for reply, want := range map[string]string{
		"": "taken",
		"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant": "permanent 5.7.139",
		"535 5.7.8 wrong":   "bad credentials 5.7.8",
		"454 4.7.0 not now": "temporary 4.7.0",
	} {
		t.Run(reply, func(t *testing.T) {
			upstream := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN"}, Auth: func(string) string { return reply }}).Start(t)
			s := storeOf(t, fakeimap.Start(t, &fakeimap.Server{}), map[string]any{"submission": map[string]any{"address": upstream.Address, "tls": "none"}})
			_, err := s.Send(t.Context(), password, letterTo("friend@else.example"), strings.NewReader(letter))
			got := "taken"
			if f := backends.AsFailure(err); f != nil {
				got = f.Kind.String() + " " + f.Reply().Code
			}
			if got != want {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
		})
	}
}

// TestManyRecipientsOfASubmission: the rest goes in further transactions, and one copy of all is
// kept.
func TestManyRecipientsOfASubmission(t *testing.T) {
	upstream := (&fakesmtp.Server{Offers: []string{"AUTH PLAIN", "PIPELINING"}, Rcpt: func(t fakesmtp.Transaction, _ string) string {
		if t.Took >= 100 {
			return "452 4.5.3 too many recipients"
		}
		return ""
	}}).Start(t)
	server := fakeimap.Start(t, &fakeimap.Server{})
	s := storeOf(t, server, map[string]any{"submission": map[string]any{"address": upstream.Address, "tls": "none", "sent": "Sent"}})
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("r%d@else.example", i))
	}
	verdicts, err := s.Send(t.Context(), password, letterTo(to...), strings.NewReader(letter))
	if err != nil {
		t.Fatal(err)
	}
	copies := upstream.Copies(letter)
	for i, v := range verdicts {
		if v.Recipient != to[i] || v.Failure != nil || copies[to[i]] != 1 {
			t.Fatalf("%v, %d copies", v, copies[to[i]])
		}
	}
	server.Until(t, "a copy", func() bool { return len(server.Appended()) > 0 })
	_ = s.Close() // what it was doing has ended then
	if upstream.Transactions() != 3 || upstream.Connections() != 1 || len(server.Appended()) != 1 {
		t.Errorf("%d transactions, %d connections, %d copies in Sent", upstream.Transactions(), upstream.Connections(), len(server.Appended()))
	}
}
