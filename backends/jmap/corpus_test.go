//go:build linux

package jmap_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/corpus"
)

func fetch(t *testing.T, drop backends.Maildrop, request backends.FetchRequest) string {
	t.Helper()
	content, err := drop.Fetch(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	octets, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	if size := content.Size(); size >= 0 && size != int64(len(octets)) {
		t.Errorf("%d octets were promised and %d came", size, len(octets))
	}
	return string(octets)
}

// altered are the messages whose header Cyrus's LMTP server corrects: it adds the Date and the
// Message-ID that are missing, takes Return-Path away, and drops fields whose names are dots.
var altered = []string{"plain/only-from", "dots/field-of-dots", "header/return-path", "header/return-path-first"}

// refusedMost is how many messages of the collection Cyrus does not take: those with NUL octets,
// and those whose header is none.
const refusedMost = 13

// wholeCorpus delivers the project's collection: a message that Cyrus takes comes back as it was,
// behind what was put in front of it.
func wholeCorpus(t *testing.T, c *cyrus, test int, delivery string) {
	s := configured(t, c.settings(t, test, delivery))
	ada := pair(test)[0]
	var taken []corpus.Message
	refused := 0
	for m := range corpus.All() {
		d := backends.Delivery{Key: m.Name, ReversePath: "x@far.example", Recipients: []string{ada}, EightBit: m.EightBit, UTF8: m.UTF8}
		verdicts, err := s.Deliver(t.Context(), d, bytes.NewReader(m.Canonical()))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if f := verdicts[0].Failure; f == nil {
			taken = append(taken, m)
		} else {
			refused++
			if f.Kind != backends.Permanent {
				t.Errorf("%s: %v", m.Name, f)
			}
		}
	}
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: password(ada, secretOf(ada))})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	n := 0
	for e, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got := fetch(t, drop, backends.FetchRequest{ID: e.ID})
		if n < len(taken) && !unharmed(got, taken[n], delivery) || int64(len(got)) != e.Size {
			t.Errorf("message %d has changed, or has not %d octets: %q", n, e.Size, got)
		}
		n++
	}
	if n != len(taken) || refused > refusedMost {
		t.Errorf("%d messages are there, %d were taken and %d refused", n, len(taken), refused)
	}
}

func unharmed(got string, m corpus.Message, delivery string) bool {
	return strings.HasSuffix(got, string(m.Canonical())) || delivery == "lmtp" && slices.Contains(altered, m.Name)
}
