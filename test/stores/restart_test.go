//go:build linux

package stores

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/corpus"
	"github.com/dipylon/dipylon/test/harness"
)

// testRestart restarts the store in the middle of a drain (I3, I10): what the client gets is
// whole or an honest error, the next session has everything, and nothing is left over.
func testRestart(t *testing.T, g *harness.Gateway, s store) {
	const size = 24 << 20
	deliver(t, g, "restart", simple("small"))
	mailer := mx(t, g)
	if _, err := mailer.Send(envelope("restart"), corpus.Sized("large", size)); err != nil {
		t.Fatal(err)
	}
	if err := mailer.Quit(); err != nil {
		t.Error(err)
	}
	plugins := fmt.Sprint(g.Plugins())

	marked := login(t, g, "restart")
	if err := marked.Dele(1); err != nil {
		t.Fatal(err)
	}
	marked.Close() // a dropped connection removes nothing
	reading := login(t, g, "restart")
	if err := reading.Dele(1); err != nil {
		t.Fatal(err)
	}
	pause := &pause{after: 1 << 20, meanwhile: func() { s.stop(); s.start() }}
	octets, err := reading.RetrTo(2, pause)
	if whole := err == nil && octets >= size; !whole && (!harness.Closed(err) || octets >= size) {
		t.Errorf("after %d octets RETR ended with %v", octets, err)
	}
	reading.Close() // where the store was connected to again in time, the session goes on

	next := login(t, g, "restart")
	if n, _, err := next.Stat(); n != 2 || err != nil {
		t.Errorf("the next session has %d messages (%v)", n, err)
	}
	got, err := next.Retr(2)
	if err != nil || int64(len(got)) < size {
		t.Errorf("the next session gets %d octets (%v)", len(got), err)
	}
	if got, err := next.Retr(1); err != nil || !bytes.Contains(got, []byte("body of small")) {
		t.Errorf("the next session gets %q (%v)", got, err)
	}
	if err := next.Dele(2); err != nil {
		t.Error(err)
	}
	s.stop()
	_, err = next.Ask("QUIT") // it cannot remove anything, and says so (I4)
	refusal(t, err, "-ERR", "SYS/TEMP")
	s.start()
	if n := dialIMAP(t, s.imap, "restart").count(t); n != 2 {
		t.Errorf("the store has %d messages", n)
	}

	harness.Eventually(t, time.Minute, "all connections to the store closed", func() bool { return connections(t, s.ports) <= s.idle })
	if now := fmt.Sprint(g.Plugins()); now != plugins {
		t.Errorf("the plugins were %s and are %s", plugins, now)
	}
}

// pause is a reader that stops after some octets, once, until something is done.
type pause struct {
	after     int
	meanwhile func()
}

func (p *pause) Write(octets []byte) (int, error) {
	if p.after -= len(octets); p.after <= 0 && p.meanwhile != nil {
		p.meanwhile()
		p.meanwhile = nil
	}
	return len(octets), nil
}

// connections counts the open connections to some of this machine's ports (see proc(5)).
func connections(t *testing.T, addresses []string) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	wanted := make(map[string]bool)
	for _, a := range addresses {
		_, port, _ := net.SplitHostPort(a)
		n, _ := strconv.Atoi(port)
		wanted[fmt.Sprintf("%04X", n)] = true
	}
	const established, closeWait = "01", "08"
	open := 0
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line) // sl local remote state …
		if len(fields) < 4 || fields[3] != established && fields[3] != closeWait {
			continue
		}
		if _, port, _ := strings.Cut(fields[2], ":"); wanted[port] {
			open++
		}
	}
	return open
}
