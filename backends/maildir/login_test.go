package maildir

import (
	"context"
	"testing"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/argon2id"
)

// TestFailingLoginsCostTheSame shows that a name that nobody has waits for its turn to be
// hashed as any other, and that its hash costs what most of the file's do.
func TestFailingLoginsCostTheSame(t *testing.T) {
	w := newWorld(t, nil)
	w.verifier = argon2id.NewVerifier(1)
	w.verifier <- struct{}{} // somebody else's turn
	for _, user := range []string{anna, "nobody@sakes.example", "nobody", ""} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Login(ctx, password(user)); backends.KindOf(err) != backends.Temporary {
			t.Errorf("%q is told something without its turn: %v", user, err)
		}
	}
	if d := w.use.accounts.directory(); d.decoy.Costs != cheapCosts {
		t.Errorf("the decoy costs %+v", d.decoy.Costs)
	}
}
