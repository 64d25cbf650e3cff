//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

func itoa(n int) string { return strconv.Itoa(n) }

// ledger is what senders have been promised.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[string]bool
	refused      int // 4xx
	unknown      int // the connection was lost: it may have been taken
}

func (l *ledger) note(id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acknowledged[id] = true
	case harness.Closed(err):
		l.unknown++
	default:
		l.refused++
	}
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

var idLine = regexp.MustCompile(`(?m)^X-Ledger: (\S+)\r$`)

// TestLedger (I1, I2): while several senders send, the plugin is killed again and again. At the
// end each message that was acknowledged is there; few are there twice, and none without having
// been sent.
func TestLedger(t *testing.T) {
	t.Parallel()
	const senders = 6
	g := harness.Start(t, harness.Options{})
	user := g.AddUser(t, "erika")
	sent := &ledger{acknowledged: map[string]bool{}}
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for n := range senders {
		wait.Go(func() { keepSending(g, user, n, stop, sent) })
	}
	kills := killPlugins(t, g, sent)
	close(stop)
	wait.Wait()
	t.Logf("%d acknowledged, %d refused, %d unknown, %d kills", len(sent.acknowledged), sent.refused, sent.unknown, kills)
	if len(sent.acknowledged) < leastAcknowledged || kills < leastKills {
		t.Fatal("too little happened to prove anything")
	}
	copies := readLedger(t, g, user)
	lost, twice := 0, 0
	for id := range sent.acknowledged {
		switch n := copies[id]; {
		case n == 0:
			lost++
			t.Errorf("message %s was acknowledged and is not there", id)
		case n > 1:
			twice += n - 1
		}
	}
	t.Logf("%d messages stored, %d lost, %d duplicates", len(copies), lost, twice)
	if twice > len(sent.acknowledged)/20 {
		t.Errorf("%d duplicates among %d messages", twice, len(sent.acknowledged))
	}
}

// keepSending sends one message after the other, as a careful client does: what is refused or
// not answered is sent again, under the same id.
func keepSending(g *harness.Gateway, user harness.User, sender int, stop <-chan struct{}, sent *ledger) {
	for n := 0; !over(stop); n++ {
		id := fmt.Sprintf("%d-%d", sender, n)
		content := fmt.Appendf(nil, "From: sender@corpus.example\r\nSubject: ledger\r\nX-Ledger: %s\r\n\r\n%s", id, bytes.Repeat([]byte("line\r\n"), 1000))
		for attempt := 0; attempt < 50; attempt++ {
			err := sendOne(g, user, content)
			sent.note(id, err)
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond) // a client waits before it tries again
		}
	}
}

func over(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

func sendOne(g *harness.Gateway, user harness.User, content []byte) error {
	s, err := harness.DialSMTP(g.Address("smtp"), nil)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Send(envelope(user), bytes.NewReader(content))
	return err
}

// What has to have happened before the test ends: so much proves something.
const leastAcknowledged, leastKills = 40, 5

// betweenKills is how many messages are acknowledged before the plugin is killed once more: one that is killed whenever
// it has started is started less and less often.
const betweenKills = leastAcknowledged / leastKills

// killPlugins kills the plugin at random moments amid the work, until enough has happened, or for three minutes.
func killPlugins(t *testing.T, g *harness.Gateway, sent *ledger) int {
	kills := 0
	r := rand.New(rand.NewPCG(1, 2))
	for begin, next := time.Now(), betweenKills; (kills < leastKills || sent.count() < leastAcknowledged) && time.Since(begin) < 3*time.Minute; {
		time.Sleep(time.Duration(200+r.IntN(900)) * time.Millisecond)
		if sent.count() < next {
			continue
		}
		next = sent.count() + betweenKills
		for _, pid := range g.Plugins() {
			harness.Kill(t, pid)
			kills++
		}
	}
	return kills
}

// readLedger counts how often each message is in the maildrop.
func readLedger(t *testing.T, g *harness.Gateway, user harness.User) map[string]int {
	t.Helper()
	var p *harness.POP3
	harness.Eventually(t, 30*time.Second, "a login", func() bool {
		var err error
		p, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password)
		return err == nil
	})
	defer p.Quit()
	n, _, err := p.Stat()
	if err != nil {
		t.Fatal(err)
	}
	copies := map[string]int{}
	for i := range n {
		content, err := p.Top(i+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		id := idLine.FindSubmatch(content)
		if id == nil {
			t.Fatalf("a message that nobody sent: %q", content)
		}
		copies[string(id[1])]++
	}
	return copies
}
