//go:build linux

package jmap_test

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/jmap"
)

func password(user, secret string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: user, Secret: []byte(secret)}
}

func letter(subject string) string {
	return "From: ada@peer.example\r\nSubject: " + subject + "\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\n.dot\r\nline two\r\n"
}

// configured is a store with these settings.
func configured(t *testing.T, in backends.Settings) *jmap.Store {
	t.Helper()
	s := jmap.New()
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Configure(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return s
}

// subjects are those of the messages in a folder.
func subjects(t *testing.T, s *jmap.Store, user, folder string) (all []string) {
	t.Helper()
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: password(user, secretOf(user)), Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	for e, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(fetch(t, drop, backends.FetchRequest{ID: e.ID}), "Subject: ")
		subject, _, _ := strings.Cut(rest, "\r\n")
		all = append(all, subject)
	}
	return all
}

// verdictsOnSending are what a sender is told: Cyrus refuses a submission as a whole for one of
// its recipients, and still each has the verdict that the transport gave.
func verdictsOnSending(t *testing.T, c *cyrus, test int) {
	s := configured(t, c.settings(t, test, "lmtp"))
	ada, bob := pair(test)[0], pair(test)[1]
	for name, wanted := range map[string][]verdict{
		"taken":                   {{bob, 0}},
		"refused":                 {{"refused@far.example", backends.NotFound}},
		"deferred":                {{"deferred@far.example", backends.Temporary}},
		"one refused":             {{bob, 0}, {"refused@far.example", backends.NotFound}},
		"the first refused":       {{"refused@far.example", backends.NotFound}, {bob, 0}, {ada, 0}},
		"two refused":             {{"refused1@far.example", backends.NotFound}, {bob, 0}, {"refused2@far.example", backends.NotFound}},
		"of each kind":            {{"deferred@far.example", backends.Temporary}, {"refused@far.example", backends.NotFound}, {bob, 0}},
		"refused for its content": {{"late@far.example", backends.Permanent}},
		"nobody, for two reasons": {{"refused@far.example", backends.NotFound}, {"deferred@far.example", backends.Temporary}},
		"all deferred":            {{"deferred1@far.example", backends.Temporary}, {"deferred2@far.example", backends.Temporary}},
		"an address that is none": {{"no address at all", backends.NotFound}},
	} {
		t.Run(name, func(t *testing.T) {
			d := backends.Delivery{Key: "key-" + strings.ReplaceAll(name, " ", "-"), Envelope: backends.Envelope{From: ada}}
			for _, v := range wanted {
				d.Recipients = backends.To(append(backends.Addresses(d.Recipients), v.recipient)...)
			}
			verdicts, err := s.Send(t.Context(), password(ada, secretOf(ada)), d, strings.NewReader(letter(name)))
			if err != nil || len(verdicts) != len(wanted) {
				t.Fatalf("%+v, %v", verdicts, err)
			}
			taken := false
			for i, v := range verdicts {
				kind := backends.Kind(0)
				if v.Failure != nil {
					kind = v.Failure.Kind
				}
				if v.Recipient != wanted[i].recipient || kind != wanted[i].kind {
					t.Errorf("%s: %v, wanted the kind %q", v.Recipient, v.Failure, wanted[i].kind)
				}
				taken = taken || kind == 0
			}
			if sent := subjects(t, s, ada, "Sent"); contains(sent, name) != taken {
				t.Errorf("in Sent are %q", sent)
			}
			if left := subjects(t, s, ada, "Drafts"); len(left) > 0 {
				t.Errorf("drafts are left: %q", left)
			}
			d.Retry = true
			if !taken {
				return
			}
			before := len(subjects(t, s, ada, "Sent"))
			if _, err := s.Send(t.Context(), password(ada, secretOf(ada)), d, strings.NewReader(letter(name))); err != nil {
				t.Errorf("a retry: %v", err)
			}
			if after := len(subjects(t, s, ada, "Sent")); after != before {
				t.Errorf("a retry has sent it again: %d in Sent, and %d were there", after, before)
			}
		})
	}
}

type verdict struct {
	recipient string
	kind      backends.Kind
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}
