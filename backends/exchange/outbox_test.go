package exchange_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/exchange"
	double "github.com/dipylon/dipylon/test/exchange"
)

// collected is what came out of the outbox.
type collected struct {
	backends.Outgoing
	mail string
}

func collect(t testing.TB, store *exchange.Store, lease time.Duration) (all []collected, err error) {
	t.Helper()
	err = store.Collect(t.Context(), backends.CollectRequest{Lease: lease}, func(_ context.Context, out backends.Outgoing, content backends.Content) error {
		mail, err := io.ReadAll(content)
		all = append(all, collected{out, string(mail)})
		return err
	})
	return all, err
}

// TestOutbox hands over what was submitted, without recipients in secret in its header, and leaves drafts.
func TestOutbox(t *testing.T) {
	s := start(t, takes)
	out := backends.Outgoing{Recipients: backends.To("judy@elsewhere.example", "secret@elsewhere.example")}
	if err := s.enqueue("Outbox", out, []byte(letter("To: judy@elsewhere.example\r\n"))); err != nil {
		t.Fatal(err)
	}
	s.boxes[connector].Put("Outbox", 8, s.boxes[connector].Messages()[0].Stream) // a draft
	store := s.store(t)
	all, err := collect(t, store, time.Hour)
	if err != nil || len(all) != 1 || all[0].From != george || len(all[0].Recipients) != 2 || !strings.Contains(all[0].mail, "Subject: The bill") {
		t.Fatal(all, err)
	}
	for i, left := range []int{2, 1} {
		settlement := backends.Settlement{ID: all[0].ID, Verdicts: []backends.Verdict{{Recipient: all[0].Recipients[i].Address}}}
		if err := store.Settle(t.Context(), []backends.Settlement{settlement}); err != nil {
			t.Error(err)
		}
		if n := len(s.in(connector, "Outbox")); n != left {
			t.Errorf("%d messages are left, want %d", n, left)
		}
	}
}

// TestOutboxOfOthers hands over those whom nobody else delivers to, and all where that is said of all.
func TestOutboxOfOthers(t *testing.T) {
	s := start(t, takes)
	judy, pat := "judy@elsewhere.example", "pat@elsewhere.example"
	out := backends.Outgoing{Recipients: backends.To(judy, pat)}
	for _, others := range [][]string{{pat}, {judy, pat}} {
		if err := s.enqueueFor("Outbox", out, []byte(letter("")), others); err != nil {
			t.Fatal(err)
		}
	}
	all, err := collect(t, s.store(t), time.Hour)
	if err != nil || len(all) != 2 || len(all[0].Recipients) != 1 || all[0].Recipients[0].Address != judy || len(all[1].Recipients) != 2 {
		t.Fatal(all, err)
	}
}

// TestOutboxesOfUsers hands over what users have submitted where the server has no transport: one whose mailbox cannot be opened holds up no other, and what
// is settled in one's mailbox stays in the other's.
func TestOutboxesOfUsers(t *testing.T) {
	users := []string{george, "nobody@sakes.example", chris}
	s := start(t, with(takes, "outbox", map[string]any{"users": users}))
	s.NoTransport()
	for _, user := range []string{george, chris} {
		credential := backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(strings.Split(user, "@")[0] + "-secret")}
		d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: user}, Recipients: backends.To("judy@elsewhere.example")}
		mail := "From: " + user + "\r\nTo: judy@elsewhere.example\r\nSubject: of " + user + "\r\n\r\nx\r\n"
		if _, err := s.store(t).Send(t.Context(), credential, d, strings.NewReader(mail)); err != nil {
			t.Fatal(err)
		}
	}
	store := s.store(t)
	all, err := collect(t, store, time.Hour)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, one := range all {
		if !strings.Contains(one.mail, "Subject: of "+one.From) || !strings.HasPrefix(string(one.ID), one.From+"/") {
			t.Errorf("%q from %s:\n%s", one.ID, one.From, one.mail)
		}
	}
	if again, err := collect(t, store, time.Hour); err != nil || len(again) != 0 {
		t.Error(again, err)
	}
	settlement := backends.Settlement{ID: all[0].ID, Verdicts: []backends.Verdict{{Recipient: "judy@elsewhere.example"}}}
	if err := store.Settle(t.Context(), []backends.Settlement{settlement}); err != nil {
		t.Error(err)
	}
	for i, one := range all {
		if n := len(s.in(one.From, "Outbox")); n != i {
			t.Errorf("%d messages are left of %s's, want %d", n, one.From, i)
		}
	}
}

// TestOutboxFaults loses sessions and replies at each step of handing over and of settling: the message is handed over then or when its lease has run out,
// is never gone before it was settled, and is gone afterwards.
func TestOutboxFaults(t *testing.T) {
	for _, test := range []struct {
		name    string
		collect func(*double.Server)
		settle  func(*double.Server)
	}{
		{"restart before the lease", func(s *double.Server) { s.RestartAt(double.Save, 1) }, nil},
		{"reply lost to the lease", func(s *double.Server) { s.CutAt(double.Save, 1) }, nil},
		{"restart before the recipients are noted", func(s *double.Server) { s.RestartAt(double.Save, 2) }, nil},
		{"reply lost when they were noted", func(s *double.Server) { s.CutAt(double.Save, 2) }, nil},
		{"restart before it is settled", nil, func(s *double.Server) { s.RestartAt(double.Save, 1) }},
		{"reply lost when it was settled", nil, func(s *double.Server) { s.CutAt(double.Save, 1) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, takes)
			if err := s.enqueue("Outbox", backends.Outgoing{Recipients: backends.To("judy@elsewhere.example")}, []byte(letter(""))); err != nil {
				t.Fatal(err)
			}
			store := s.store(t)
			if test.collect != nil {
				test.collect(s.Server)
			}
			all, err := collect(t, store, time.Second)
			for deadline := time.Now().Add(time.Minute); len(all) == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
				all, err = collect(t, store, time.Second)
			}
			if err != nil || len(all) == 0 || len(s.in(connector, "Outbox")) != 1 {
				t.Fatal(all, err, s.in(connector, "Outbox"))
			}
			if test.settle != nil {
				test.settle(s.Server)
			}
			settlement := backends.Settlement{ID: all[0].ID, Verdicts: []backends.Verdict{{Recipient: "judy@elsewhere.example"}}}
			for range 2 { // the gateway says it again where it has not heard
				if err := store.Settle(t.Context(), []backends.Settlement{settlement}); err != nil {
					t.Error(err)
				}
			}
			if n := len(s.in(connector, "Outbox")); n != 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}
