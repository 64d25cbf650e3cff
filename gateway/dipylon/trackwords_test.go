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
