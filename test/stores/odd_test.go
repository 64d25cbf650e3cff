//go:build linux

package stores

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dipylon/dipylon/test/fakeimap"
	"github.com/dipylon/dipylon/test/harness"
)

// TestOneBadMessageAmongMany: whatever a store does with single messages, the others are served, in
// the same session, and one that cannot be had is held one day, stays in the store when its notice
// is deleted, and takes no other with it.
func TestOneBadMessageAmongMany(t *testing.T) {
	t.Parallel()
	letter := func(uid int) string {
		return fmt.Sprintf("Subject: letter %d\r\n\r\n%s", uid, strings.Repeat("a line of some length\r\n", 50*uid))
	}
	for name, tt := range map[string]struct {
		change func(f *fakeimap.Server)
		atOnce bool // the first session has the notice already
	}{
		"its connection breaks": {func(f *fakeimap.Server) { f.On = []fakeimap.Rule{{Command: "^UID FETCH 10 .*BODY", Drop: true}} }, false},
		"it is refused": {func(f *fakeimap.Server) {
			f.On = []fakeimap.Rule{{Command: "^UID FETCH 10 .*BODY", Answer: "TAG NO cannot\n"}}
		}, false},
		"its answer is not understood": {func(f *fakeimap.Server) {
			f.On = []fakeimap.Rule{{Command: "^UID FETCH 10 .*BODY", Answer: "* 10 FETCH (UID 10 BODY[]<0> what\nTAG OK\n"}}
		}, false},
		"it is cut":              {func(f *fakeimap.Server) { f.Messages[9].Size = "190000" }, true},
		"it is NIL":              {func(f *fakeimap.Server) { f.Messages[9].Body = "NIL" }, true},
		"it is not given at all": {func(f *fakeimap.Server) { f.Messages[9].Body = "-" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeimap.Server{}
			for uid := 1; uid <= 30; uid++ {
				f.Messages = append(f.Messages, fakeimap.Message{UID: uid, Content: letter(uid)})
			}
			tt.change(f)
			f = fakeimap.Start(t, f)
			g := front(t, harness.Mapping{"name": "odd", "plugin": "imap", "domains": []string{domain}, "settings": harness.Mapping{
				"address": f.Address, "tls": "none", "timeout": "5s",
			}})
			held := false
			for session := 1; session <= 3; session++ {
				held = drainBeside(t, g, letter, session)
				if tt.atOnce && !held {
					t.Errorf("in session %d there is no notice for it", session)
				}
			}
			if !held {
				t.Error("it is not held after three sessions")
			}
			p := login(t, g, "ada")
			if _, err := p.Ask("DELE 10"); err != nil {
				t.Fatal(err)
			}
			if err := p.Quit(); err != nil {
				t.Error(err)
			}
			if f.Deleted(10) || len(f.Heard("UID EXPUNGE")) > 0 {
				t.Error("a message that nobody has seen is removed")
			}
		})
	}
}

// drainBeside reads thirty messages, of which the tenth may fail, and says whether a notice stands
// for it.
func drainBeside(t *testing.T, g *harness.Gateway, letter func(int) string, session int) (held bool) {
	t.Helper()
	p := login(t, g, "ada")
	defer p.Close()
	for n := 1; n <= 30; n++ {
		got, err := p.Retr(n)
		switch {
		case n == 10:
			held = err == nil && strings.Contains(string(got), "Subject: A message that could not be shown")
			if err == nil && !held {
				t.Errorf("in session %d it comes as %d octets", session, len(got))
			}
		case err != nil:
			t.Fatalf("in session %d message %d: %v", session, n, err)
		case string(got) != letter(n):
			t.Errorf("in session %d message %d has %d octets, not %d", session, n, len(got), len(letter(n)))
		}
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
	return held
}
