package imap_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/test/fakeimap"
)

// thirty is a mailbox of thirty messages.
func thirty() *fakeimap.Server {
	f := &fakeimap.Server{}
	for uid := 1; uid <= 30; uid++ {
		f.Messages = append(f.Messages, fakeimap.Message{UID: uid, Content: letterOf(100 * uid)})
	}
	return f
}

// fetchTogether fetches all messages of a mailbox, several at once, and gives what they failed with.
func fetchTogether(t *testing.T, d backends.Maildrop, f *fakeimap.Server, atOnce int) map[int]error {
	t.Helper()
	failed := make(map[int]error)
	var mu sync.Mutex
	var all sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for _, m := range f.Messages {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			got, err := fetch(t, d, backends.MessageID(fmt.Sprintf("7.%d", m.UID)))
			if err == nil && got != canonicalOf(m.Content) {
				t.Errorf("message %d comes as %d octets", m.UID, len(got))
			}
			if err != nil {
				mu.Lock()
				failed[m.UID] = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed
}

// TestLostConnection: a connection that is lost is opened again, in whatever way it was lost, and
// no message fails by it.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]fakeimap.Rule{
		"closed":                     {Drop: true},
		"closed in the answer":       {Cut: 60},
		"with a BYE":                 {Answer: "* BYE [UNAVAILABLE] going down\nCLOSE"},
		"not understood":             {Answer: "* 10 FETCH (UID 10 BODY[]<0> what\nTAG OK\n"},
		"a literal that is too long": {Answer: "* 10 FETCH (UID 10 BODY[]<0> {99999999}\nxxx\nCLOSE"},
		"refused":                    {Answer: "TAG NO [SERVERBUG] internal error\n"},
		"not known":                  {Answer: "TAG BAD what\n"},
	} {
		for _, atOnce := range []int{1, 7} {
			t.Run(fmt.Sprintf("%s, %d at once", name, atOnce), func(t *testing.T) {
				t.Parallel()
				f := fakeimap.Start(t, thirty())
				d := openInbox(t, storeOf(t, f, nil))
				list(t, d)
				rule := rule // the others' is not changed
				rule.Command, rule.Times = "^UID FETCH 10 .*BODY", 1
				f.Set(rule)
				if failed := fetchTogether(t, d, f, atOnce); len(failed) > 0 {
					t.Errorf("it failed with %v", failed)
				}
				if n := f.Accepted(); n != 2 {
					t.Errorf("it took %d connections", n)
				}
				if _, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalRemove); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestGuiltIsShownAlone: one message that ends each connection it is asked for on fails, and no
// other one does.
func TestGuiltIsShownAlone(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]fakeimap.Rule{
		"closed":         {Drop: true},
		"not understood": {Answer: "* 10 FETCH (UID 10 BODY[]<0> what\nTAG OK\n"},
		"refused":        {Answer: "TAG NO cannot\n"},
		"silence":        {Answer: "* 10 FETCH (UID 10 BODY[]<0> {3000}\nxxx\n"},
	} {
		timeout, several := "1m", "^UID FETCH (1|2|10|29|30) .*BODY"
		if name == "silence" {
			// The time-out ends it, and bounds connecting again, too: a busy machine has time for that. Where
			// the messages are in the mailbox the others show.
			timeout, several = "5s", "^UID FETCH (10|11) .*BODY"
		}
		for _, bad := range []string{"^UID FETCH 10 .*BODY", several} {
			t.Run(name+" "+bad, func(t *testing.T) {
				t.Parallel()
				f := fakeimap.Start(t, thirty())
				d := openInbox(t, storeOf(t, f, map[string]any{"timeout": timeout}))
				list(t, d)
				rule := rule // the other's is not changed
				rule.Command = bad
				f.Set(rule)
				wanted := strings.Count(bad, "|") + 1
				for range 2 {
					if failed := fetchTogether(t, d, f, 7); len(failed) != wanted || failed[10] == nil {
						t.Errorf("it failed with %v", failed)
					}
				}
				if n := f.Accepted(); n > 1+3*wanted {
					t.Errorf("it took %d connections", n)
				}
			})
		}
	}
}

// TestAnotherMailbox: a mailbox that has another UIDVALIDITY on the new connection, or none to know
// it by, ends the session, and nothing is removed from it.
func TestAnotherMailbox(t *testing.T) {
	t.Parallel()
	for _, validity := range []string{"8", "0", "-"} {
		t.Run(validity, func(t *testing.T) {
			t.Parallel()
			f := fakeimap.Start(t, thirty())
			d := openInbox(t, storeOf(t, f, nil))
			list(t, d)
			f.Change(func(f *fakeimap.Server) { f.Validity = validity })
			f.DropAll()
			for range 2 {
				if got, err := fetch(t, d, "7.3"); backends.KindOf(err) != backends.Temporary {
					t.Errorf("it gives %q (%v)", got, err)
				}
				if _, err := d.Remove(t.Context(), []backends.MessageID{"7.4"}, backends.DisposalRemove); err == nil {
					t.Error("a message is removed from another mailbox")
				}
			}
			if got := f.Heard("UID STORE"); len(got) > 0 {
				t.Errorf("it said %q", got)
			}
		})
	}
}

// TestServerThatGoesOnBreaking: where no connection brings anything, it is not tried for ever, and
// no message is taken for the guilty one.
func TestServerThatGoesOnBreaking(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, thirty())
	d := openInbox(t, storeOf(t, f, nil))
	list(t, d)
	f.Set(fakeimap.Rule{Command: "^UID FETCH", Drop: true})
	failed := fetchTogether(t, d, f, 7)
	if len(failed) != 30 {
		t.Errorf("%d messages failed", len(failed))
	}
	for uid, err := range failed {
		if backends.KindOf(err) != backends.Temporary {
			t.Errorf("message %d: %v", uid, err)
		}
	}
	if n := f.Accepted(); n > 12 {
		t.Errorf("it took %d connections", n)
	}
}

// TestNewsOfABatch: what others have removed is asked for before a batch of messages, and not for
// each of them.
func TestNewsOfABatch(t *testing.T) {
	t.Parallel()
	f := fakeimap.Start(t, thirty())
	d := openInbox(t, storeOf(t, f, nil))
	list(t, d)
	before := len(f.Heard("NOOP"))
	for _, m := range f.Messages {
		if _, err := fetch(t, d, backends.MessageID(fmt.Sprintf("7.%d", m.UID))); err != nil {
			t.Error(err)
		}
	}
	if n := len(f.Heard("NOOP")) - before; n > 5 {
		t.Errorf("thirty messages cost %d NOOPs", n)
	}
}
