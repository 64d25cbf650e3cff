package host

import (
	"testing"

	"github.com/dipylon/dipylon/backends"
)

// TestAfterLoss: who waits for the end of an idle maildrop is told once, also where it has ended
// already; who has stopped to wait is not, and neither is who closes it.
func TestAfterLoss(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	told := make(chan string, 10)
	tell := func(who string) func() { return func() { told <- who } }
	drop, closed := openDrop(t, s), openDrop(t, s)
	drop.Opened().AfterLoss(tell("one"))
	stop := drop.Opened().AfterLoss(tell("stopped"))
	drop.Opened().AfterLoss(tell("one"))
	closed.Opened().AfterLoss(tell("closed"))
	if !stop() || stop() {
		t.Error("stopping says something else than whether it has stopped the call")
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Login(t.Context(), userNamed("crash"))
	kindIs(t, err, backends.Temporary)
	for range 2 {
		if who := <-told; who != "one" {
			t.Errorf("%s is told", who)
		}
	}
	late := drop.Opened().AfterLoss(tell("late"))
	if who := <-told; who != "late" {
		t.Errorf("%s is told", who)
	}
	if late() {
		t.Error("what was called is said to be stopped")
	}
	if len(told) > 0 {
		t.Errorf("%s is told, too", <-told)
	}
}
