package main

import (
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/events"
	"github.com/dipylon/dipylon/gateway/track"
)

// TestWordsOfFetched: a message that was collected is told as that.
func TestWordsOfFetched(t *testing.T) {
	what, how := wordsOf(track.Event{Event: events.Fetched, Source: "pop.provider.example:995", Recipients: 2, Octets: 7})
	if got := what + ": " + strings.Join(how, ", "); got != "collected: recipients: 2, 7 octets, from pop.provider.example:995" {
		t.Error(got)
	}
}

// TestWordsOfStored: where a store's copy is can be read, whether the client waited for it or the queue delivered it.
func TestWordsOfStored(t *testing.T) {
	for event, want := range map[string]string{
		events.Delivery: "250 2.0.0, store sakes, stored as 17", events.Relay: "250 2.0.0, for store:sakes, in Archive, stored as 17",
	} {
		e := track.Event{Event: event, Code: 250, Enhanced: "2.0.0", StoredAs: "17"}
		if event == events.Delivery {
			e.Store = "sakes"
		} else {
			e.Destination, e.Folder = "store:sakes", "Archive"
		}
		if _, how := wordsOf(e); strings.Join(how, ", ") != want {
			t.Errorf("%s: %q", event, how)
		}
	}
}
