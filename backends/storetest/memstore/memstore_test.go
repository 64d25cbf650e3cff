package memstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// What the contract says is tested by package storetest; this is the rest: faults, quota,
// aliases, delegation, the life of a grant.

const text = "Subject: x\r\n\r\none\r\ntwo\r\n"

func configured(t *testing.T, more string) *Store {
	t.Helper()
	s := New()
	t.Cleanup(func() { _ = s.Close() })
	err := s.Configure(t.Context(), backends.Settings{Raw: []byte(`{"accounts": [
		{"user": "anna", "password": "a", "address": "anna@sakes.example", "aliases": ["sales@sakes.example"], "act_as": ["bert"]},
		{"user": "bert", "password": "b", "address": "bert@sakes.example", "quota": 100},
		{"user": "carl", "password": "c", "address": "carl@sakes.example", "disabled": true}
	]` + more + `}`)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func as(user, password string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(password)}
}

func deliver(t *testing.T, s *Store, key string, recipients ...string) ([]backends.Verdict, error) {
	t.Helper()
	return s.Deliver(t.Context(), backends.Delivery{Key: key, Recipients: backends.To(recipients...)}, strings.NewReader(text))
}

func open(t *testing.T, s *Store) backends.Maildrop {
	t.Helper()
	d, err := s.Open(t.Context(), backends.OpenRequest{Credential: as("anna", "a")})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantKind(t *testing.T, err error, want backends.Kind) {
	t.Helper()
	if got := backends.KindOf(err); got != want {
		t.Errorf("failure %v, want %v", err, want)
	}
}

func TestQuotaAndAliases(t *testing.T) {
	s := configured(t, "")
	for i := range 4 {
		verdicts, err := deliver(t, s, fmt.Sprint(i), "bert@sakes.example", "Sales@Sakes.Example")
		if err != nil {
			t.Fatal(err)
		}
		full := i*len(text)+len(text) > 100
		if (verdicts[0].Failure != nil) != full || full && verdicts[0].Failure.Kind != backends.OverQuota {
			t.Errorf("delivery %d: %v", i, verdicts[0].Failure)
		}
	}
	if n := len(s.Messages("anna", "")); n != 4 {
		t.Errorf("the alias got %d messages", n)
	}
	if n := len(s.Messages("nobody", "")); n != 0 {
		t.Errorf("nobody has %d messages", n)
	}
}

func TestImpersonationOfAnother(t *testing.T) {
	s := configured(t, "")
	c := as("anna", "a")
	c.ActAs = "bert"
	if a, err := s.Login(t.Context(), c); err != nil || a.ID != "bert" {
		t.Errorf("account %q, error %v", a.ID, err)
	}
	c = as("bert", "b")
	c.ActAs = "anna"
	_, err := s.Login(t.Context(), c)
	wantKind(t, err, backends.Permanent)
	_, err = s.Login(t.Context(), as("carl", "c"))
	wantKind(t, err, backends.Permanent)
	_, err = s.Login(t.Context(), as("carl", "wrong"))
	wantKind(t, err, backends.BadCredentials)
}

func TestTrash(t *testing.T) {
	s := configured(t, "")
	id, err := s.Put("anna", "", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, s)
	if _, err := d.Remove(t.Context(), []backends.MessageID{id}, backends.DisposalTrash); err != nil {
		t.Fatal(err)
	}
	if in, out := len(s.Messages("anna", trash)), len(s.Messages("anna", "")); in != 1 || out != 0 {
		t.Errorf("%d messages in the trash, %d in the inbox", in, out)
	}
}

func TestGrantGetsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := configured(t, "")
		grant := func() backends.Credential {
			return backends.Credential{Kind: backends.CredentialGrant, Secret: s.grantTo(s.accounts["anna"])}
		}
		fresh, old := grant(), grant()
		if _, err := s.Login(t.Context(), fresh); err != nil {
			t.Error(err)
		}
		time.Sleep(grantLife)
		_, err := s.Login(t.Context(), old)
		wantKind(t, err, backends.BadCredentials)
		grant()
		time.Sleep(grantLife)
		grant()
		if len(s.grants) != 1 {
			t.Errorf("%d grants are kept", len(s.grants))
		}
	})
}

// TestSenderUsesOwnAddress: what the store's own transport lets an account send as.
func TestSenderUsesOwnAddress(t *testing.T) {
	s := configured(t, "")
	for path, taken := range map[string]bool{"anna@sakes.example": true, "SALES@sakes.example": true, "": true, "bert@sakes.example": false} {
		_, err := s.Send(t.Context(), as("anna", "a"),
			backends.Delivery{Key: "k" + path, Envelope: backends.Envelope{From: path}, Recipients: backends.To("x@elsewhere.example")}, strings.NewReader(text))
		if (err == nil) != taken {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestOutboxKeepsTheEnvelope: what the sender wants to be told of (RFC 3461) comes out of the outbox, also
// for those who are left once some are settled.
func TestOutboxKeepsTheEnvelope(t *testing.T) {
	s := configured(t, "")
	envelope := backends.Envelope{From: "anna@sakes.example", ID: "e+1", Return: backends.ReturnHeaders}
	wanted := []backends.Recipient{
		{Address: "x@elsewhere.example", Notify: backends.NotifySuccess},
		{Address: "y@elsewhere.example", OriginalRecipient: "rfc822;list@elsewhere.example"},
	}
	if _, err := s.Send(t.Context(), as("anna", "a"), backends.Delivery{Key: "k", Envelope: envelope, Recipients: wanted}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	s.Enqueue(backends.Outgoing{Envelope: envelope, Recipients: wanted}, []byte(text))
	var got []backends.Outgoing
	collect := func() {
		got = nil
		if err := s.Collect(t.Context(), backends.CollectRequest{}, func(_ context.Context, o backends.Outgoing, _ backends.Content) error {
			got = append(got, o)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	collect()
	if len(got) != 2 || got[0].Envelope != envelope || got[1].Envelope != envelope || !slices.Equal(got[0].Recipients, wanted) || !slices.Equal(got[1].Recipients, wanted) {
		t.Fatalf("it is collected as %+v", got)
	}
	for _, o := range got {
		if err := s.Settle(t.Context(), []backends.Settlement{{ID: o.ID, Verdicts: []backends.Verdict{{Recipient: wanted[0].Address}}}}); err != nil {
			t.Fatal(err)
		}
	}
	s.now = func() time.Time { return time.Now().Add(time.Hour) } // past the lease
	collect()
	if len(got) != 2 || !slices.Equal(got[0].Recipients, wanted[1:]) || !slices.Equal(got[1].Recipients, wanted[1:]) {
		t.Errorf("the rest is collected as %+v", got)
	}
}

func TestFaults(t *testing.T) {
	health := func(t *testing.T, s *Store) error { return s.Health(t.Context()) }
	read := func(t *testing.T, s *Store) (int, error) {
		id, err := s.Put("anna", "", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := open(t, s).Fetch(t.Context(), backends.FetchRequest{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(c)
		return len(data), err
	}
	for _, f := range []struct {
		name, faults string
		see          func(*testing.T, *Store)
	}{
		{"twice", `{"call": "health", "kind": "throttled", "retry_after": "7s", "text": "slowly", "times": 2}`, func(t *testing.T, s *Store) {
			for range 2 {
				failure := backends.AsFailure(health(t, s))
				if failure == nil || failure.Kind != backends.Throttled || failure.RetryAfter != 7*time.Second || failure.Text != "slowly" {
					t.Errorf("failure %+v", failure)
				}
			}
			if err := health(t, s); err != nil {
				t.Error(err)
			}
		}},
		{"always, until mended", `{"call": "health", "kind": "temporary"}`, func(t *testing.T, s *Store) {
			for range 3 {
				wantKind(t, health(t, s), backends.Temporary)
			}
			s.Mend()
			if err := health(t, s); err != nil {
				t.Error(err)
			}
		}},
		{"delay", `{"call": "health", "delay": "10s"}`, func(t *testing.T, s *Store) {
			began := time.Now()
			if err := health(t, s); err != nil || time.Since(began) != 10*time.Second {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		}},
		{"hang ends with the context", `{"call": "health", "hang": true}`, func(t *testing.T, s *Store) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Health(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		}},
		{"hang ends with the store", `{"call": "health", "hang": true}`, func(t *testing.T, s *Store) {
			time.AfterFunc(time.Minute, func() { _ = s.Close() })
			wantKind(t, health(t, s), backends.Temporary)
		}},
		{"one recipient", `{"call": "deliver", "recipient": "bert@sakes.example", "kind": "temporary", "times": 1}`, func(t *testing.T, s *Store) {
			verdicts, err := deliver(t, s, "k", "anna@sakes.example", "bert@sakes.example")
			if err != nil || verdicts[0].Failure != nil || verdicts[1].Failure == nil {
				t.Fatalf("verdicts %v, error %v", verdicts, err)
			}
			verdicts, err = deliver(t, s, "k", "anna@sakes.example", "bert@sakes.example")
			if err != nil || verdicts[1].Failure != nil || len(s.Messages("anna", "")) != 1 || len(s.Messages("bert", "")) != 1 {
				t.Errorf("verdicts %v, error %v", verdicts, err)
			}
		}},
		{"one recipient, taken and told as uncertain", `{"call": "deliver", "recipient": "anna@sakes.example", "kind": "uncertain", "late": true, "times": 1}`, func(t *testing.T, s *Store) {
			verdicts, _ := deliver(t, s, "k", "anna@sakes.example")
			wantKind(t, verdicts[0].Failure, backends.Uncertain)
			if verdicts, _ = deliver(t, s, "k", "anna@sakes.example"); verdicts[0].Failure != nil || len(s.Messages("anna", "")) != 1 {
				t.Errorf("verdict %v, %d messages", verdicts[0].Failure, len(s.Messages("anna", "")))
			}
		}},
		{"resolve one recipient", `{"call": "resolve", "recipient": "anna@sakes.example", "kind": "over quota"}`, func(t *testing.T, s *Store) {
			verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("anna@sakes.example", "bert@sakes.example")})
			if err != nil || verdicts[0].Failure.Kind != backends.OverQuota || verdicts[1].Failure != nil {
				t.Errorf("verdicts %v, error %v", verdicts, err)
			}
		}},
		{"done and told as failed", `{"call": "deliver", "kind": "temporary", "late": true}`, func(t *testing.T, s *Store) {
			_, err := deliver(t, s, "k", "anna@sakes.example")
			wantKind(t, err, backends.Temporary)
			if len(s.Messages("anna", "")) != 1 {
				t.Error("it was not done")
			}
		}},
		{"dropped", `{"call": "deliver", "drop": true}`, func(t *testing.T, s *Store) {
			verdicts, err := deliver(t, s, "k", "anna@sakes.example")
			if err != nil || verdicts[0].Failure != nil || len(s.Messages("anna", "")) != 0 {
				t.Errorf("verdicts %v, error %v", verdicts, err)
			}
		}},
		{"not removed", `{"call": "remove", "drop": true}`, func(t *testing.T, s *Store) {
			id, _ := s.Put("anna", "", []byte(text))
			removals, err := open(t, s).Remove(t.Context(), []backends.MessageID{id}, backends.DisposalRemove)
			if err != nil || removals[0].Failure != nil || len(s.Messages("anna", "")) != 1 {
				t.Errorf("removals %v, error %v", removals, err)
			}
		}},
		{"a content fails", `{"call": "content", "after": 5, "kind": "poison"}`, func(t *testing.T, s *Store) {
			n, err := read(t, s)
			wantKind(t, err, backends.Poison)
			if n != 5 {
				t.Errorf("after %d octets", n)
			}
		}},
		{"a content fails at once", `{"call": "content", "kind": "temporary"}`, func(t *testing.T, s *Store) {
			n, err := read(t, s)
			wantKind(t, err, backends.Temporary)
			if n != 0 {
				t.Errorf("after %d octets", n)
			}
		}},
		{"a content ends early", `{"call": "content", "after": 5, "drop": true}`, func(t *testing.T, s *Store) {
			if n, err := read(t, s); n != 5 || err != nil {
				t.Errorf("%d octets, error %v", n, err)
			}
		}},
		{"a content pauses", `{"call": "content", "after": 5, "delay": "3s"}`, func(t *testing.T, s *Store) {
			began := time.Now()
			if n, err := read(t, s); n != len(text) || err != nil || time.Since(began) != 3*time.Second {
				t.Errorf("%d octets, error %v, after %v", n, err, time.Since(began))
			}
		}},
		{"sizes lie", `{"call": "list", "grow": 7}`, func(t *testing.T, s *Store) {
			_, _ = s.Put("anna", "", []byte(text))
			for e := range open(t, s).List(t.Context()) {
				if e.Size != int64(len(text))+7 {
					t.Errorf("size %d", e.Size)
				}
			}
		}},
		{"a list ends with a failure", `{"call": "list", "late": true, "kind": "temporary"}`, func(t *testing.T, s *Store) {
			_, _ = s.Put("anna", "", []byte(text))
			n, last := 0, error(nil)
			for _, err := range open(t, s).List(t.Context()) {
				n, last = n+1, err
			}
			wantKind(t, last, backends.Temporary)
			if n != 2 {
				t.Errorf("%d steps", n)
			}
		}},
	} {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f.see(t, configured(t, `, "faults": [`+f.faults+`]`)) })
		})
	}
}

func TestInject(t *testing.T) {
	s := configured(t, "")
	s.Inject(Fault{Call: "login", Kind: Kind(backends.Temporary), Times: 1})
	_, err := s.Login(t.Context(), as("anna", "a"))
	wantKind(t, err, backends.Temporary)
	if _, err := s.Login(t.Context(), as("anna", "a")); err != nil {
		t.Error(err)
	}
}

func TestBeforeConfigureAndAfterClose(t *testing.T) {
	s := New()
	wantKind(t, s.Health(t.Context()), backends.Temporary)
	s = configured(t, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Health(t.Context()), backends.Temporary)
}

// FuzzConfigure: settings are taken, or refused with reasons.
func FuzzConfigure(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"accounts": [{"user": "a", "password": "b", "aliases": ["x", "X"]}]}`, `{"faults": [null]}`, `{"lease": "-1s"}`,
		`{"faults": [{"call": "content", "kind": "over quota", "after": 1, "recipient": "x"}]}`, `[`, `{"accounts": [{"folders": [""]}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := New()
		defer s.Close() //nolint:errcheck // never fails
		err := s.Configure(t.Context(), backends.Settings{Raw: raw, Check: true})
		var wrong *backends.SettingsError
		if err != nil && (!errors.As(err, &wrong) || wrong.Err() == nil) {
			t.Fatalf("error %v", err)
		}
		if again := s.Configure(t.Context(), backends.Settings{Raw: raw}); (again == nil) != (err == nil) {
			t.Fatalf("checked: %v; configured: %v", err, again)
		}
	})
}
