package pop3

import (
	"context"
	"sync/atomic"
	"testing"
)

// TestOver: a session that its backend ends is over at the next command, QUIT or not, and nothing is removed.
func TestOver(t *testing.T) {
	for _, command := range []string{"NOOP", "QUIT", "RETR 1"} {
		t.Run(command, func(t *testing.T) {
			var over atomic.Bool
			fake := newFake(first, second)
			fake.over = func(context.Context) error {
				if over.Load() {
					return &Error{Code: "AUTH", Text: "the device is switched off"}
				}
				return nil
			}
			c := start(t, fake, nil).dialTCP()
			c.login()
			c.do("DELE 1", "+OK…")
			over.Store(true)
			c.do(command, "-ERR [AUTH] the device is switched off…")
			c.closed()
			if removed := fake.opened[0].updates; len(removed) > 0 {
				t.Errorf("removed: %v", removed)
			}
		})
	}
}
