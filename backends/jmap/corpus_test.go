//go:build linux

package jmap_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"sync"
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

// refusedMost is how many messages of the whole collection Cyrus does not take: those with NUL
// octets, and those whose header is none.
const refusedMost = 13

// importedCorpus imports every third message of the project's collection: one that Cyrus takes
// comes back as it was, behind what was put in front of it. All of it goes through LMTP in test/stores.
func importedCorpus(t *testing.T, c *cyrus, test int) {
	s := configured(t, c.settings(t, test, "import"))
	ada := pair(test)[0]
	var mu sync.Mutex
	taken, refused := make(map[string]corpus.Message), 0
	var under sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, m := range slices.Collect(corpus.All()) {
		if i%3 != 0 {
			continue
		}
		places <- struct{}{}
		under.Go(func() {
			defer func() { <-places }()
			d := backends.Delivery{Key: m.Name, Envelope: backends.Envelope{From: "x@far.example", Body: backends.BodyOf(m.EightBit), SMTPUTF8: m.UTF8}, Recipients: backends.To(ada)}
			verdicts, err := s.Deliver(t.Context(), d, bytes.NewReader(m.Canonical()))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil || kindOf(verdicts[0].Failure) != 0 && kindOf(verdicts[0].Failure) != backends.Permanent:
				t.Errorf("%s: %+v, %v", m.Name, verdicts, err)
			case verdicts[0].Failure != nil:
				refused++
			default:
				taken["Return-Path: <x@far.example>\r\nDipylon-Delivery-Key: "+m.Name+"\r\n"] = m
			}
		})
	}
	under.Wait()
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: password(ada, secretOf(ada))})
	if err != nil {
		t.Fatal(err)
	}
	defer drop.Close()
	for e, err := range drop.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got := fetch(t, drop, backends.FetchRequest{ID: e.ID})
		front := strings.Join(strings.SplitAfterN(got, "\r\n", 3)[:2], "")
		if m, ok := taken[front]; !ok || got != front+string(m.Canonical()) || int64(len(got)) != e.Size {
			t.Errorf("a message has changed: %d octets, %d were listed: %q", len(got), e.Size, got)
		}
		delete(taken, front)
	}
	if len(taken) > 0 || refused > refusedMost {
		t.Errorf("%d are not there, and %d were refused", len(taken), refused)
	}
}
