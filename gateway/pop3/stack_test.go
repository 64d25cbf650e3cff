package pop3

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"testing"
)

// TestStackOfIdleSessions: a session that has worked deep in its stack waits in one of 4 KiB. The collector halves a stack of
// which less than a quarter is in use, so frames that are a few hundred octets larger in all double what idle sessions
// have; a tenth of a gateway's memory with a thousand of them was that once.
func TestStackOfIdleSessions(t *testing.T) {
	const sessions = 200
	fake := newFake("message\r\n")
	open := fake.newDrop
	fake.newDrop = func(user string) *fakeDrop { deeply(64); return open(user) }
	r := start(t, fake, func(s *Server) { s.MaxPerAddress = 2 * sessions })
	before := stacks()
	for range sessions {
		idle(t, r.tcp.Addr().String())
	}
	most := uint64(mostStack)
	if each := (stacks() - before) / sessions; each > most {
		t.Errorf("an idle session has %d octets of stack, more than %d", each, most)
	} else if each < 2048 {
		t.Errorf("an idle session has %d octets of stack: it was not measured", each)
	}
}

// deeply uses half a KiB of stack, and again as often as it is told.
func deeply(more int) (sum byte) {
	var frame [512]byte
	if more > 0 {
		frame[more] = deeply(more - 1)
	}
	for _, b := range frame {
		sum += b
	}
	return sum
}

// idle logs in and asks something, and then says nothing until the test is over.
func idle(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	answers := bufio.NewReader(conn)
	for _, command := range []string{"", "USER bob\r\n", "PASS secret\r\n", "STAT\r\n"} {
		if _, err := fmt.Fprint(conn, command); err != nil {
			t.Fatal(err)
		}
		if answer, err := answers.ReadString('\n'); err != nil || answer[0] != '+' {
			t.Fatalf("%q was answered %q, %v", command, answer, err)
		}
	}
}

// stacks are the octets of all stacks, once collections have made them as small as they get.
func stacks() uint64 {
	for range 8 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.StackInuse
}
