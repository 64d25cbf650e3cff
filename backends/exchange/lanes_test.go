package exchange

import (
	"testing"
	"time"
)

// TestLanes: many messages wait for a session context that nobody reads in, in their order; a few do not wait.
func TestLanes(t *testing.T) {
	first, other := &session{}, &session{}
	l := newLanes(first, time.Hour)
	many := func() (*session, chan *session, bool) { return l.choose(lanesFrom) }
	c, _, another := many()
	if c != first || another {
		t.Fatal("one that nobody reads in is not given")
	}
	_, wait, another := many()
	_, gone, second := many()
	_, third, no := many()
	if wait == nil || gone == nil || third == nil || !another || !second || no {
		t.Fatalf("of three who wait, two have another made: %v, %v, %v", another, second, no)
	}
	if c, _, _ := l.choose(1); c != first {
		t.Error("one message waits")
	}
	l.leave(first)
	select {
	case <-wait:
		t.Fatal("it was given while another reads in it")
	default:
	}
	l.leave(first)
	if <-wait != first {
		t.Error("the first who waits does not get it")
	}
	l.forget(gone)()
	l.made(other)
	if <-third != other {
		t.Error("what was made is given to nobody")
	}
	l.made(nil)
	if _, _, another := many(); another {
		t.Error("another is made where there is none to be had")
	}
}
