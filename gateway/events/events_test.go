package events_test

import (
	"os"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/gateway/events"
)

// TestSchema: the page has each event, and each field that the code names.
func TestSchema(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		events.SessionStart, events.SessionEnd, events.SessionRefused, events.Login, events.MessageIn, events.Fetched, events.Queued, events.Delivery, events.Relay,
		events.QueueChange, events.MessageOut, events.Deletion, events.Plugin,
	} {
		if !strings.Contains(string(page), "\n| `"+name+"` |") {
			t.Errorf("the page has no event %s", name)
		}
	}
	for _, name := range []string{
		events.Session, events.Protocol, events.Remote, events.Outcome, events.User, events.Store, events.Account, events.Folder,
		events.TLSVersion, events.TLSCipher, events.Reason, events.Octets, events.TookMS, events.MessageID, events.OutcomeInsecure,
	} {
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page has no %s", name)
		}
	}
}
