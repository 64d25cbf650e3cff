//go:build linux

package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

var (
	postfixFor      = flag.Duration("postfix-for", 2*time.Second, "how long faults are made with Postfix")
	postfixNonsense = flag.Bool("postfix-nonsense", false, "Postfix's next hop answers nonsense, too: Postfix 3.7 loses mail by that")
)

// postfixSettings have it try again within seconds, and not give a next hop up for a while because of one failure. All
// mail that is not for its mailboxes goes to the sink.
func postfixSettings(hop string) []string {
	return []string{
		"relayhost = [127.0.0.1]:" + hop,
		"minimal_backoff_time = 1s", "maximal_backoff_time = 2s", "queue_run_delay = 1s", "transport_retry_time = 1s",
		"default_destination_concurrency_failed_cohort_limit = 0",
	}
}

// TestNothingLostOnPostfix is the same method on another server: Debian's Postfix is killed at random moments, all of
// its processes at once, and its next hop has the same habits.
func TestNothingLostOnPostfix(t *testing.T) {
	seed := aSeed(t)
	w, r := unbegun(t), rand.New(rand.NewPCG(seed, 3))
	hop := w.startSink()
	p := peers.StartPostfix(t, peers.PostfixOptions{
		Boxes: append([]string{from}, near...), Host: loopback(), Settings: postfixSettings(fmt.Sprint(hop.Port())),
	})
	w.box = func(address string) string { return filepath.Join(p.Mail, address) }
	w.queue = []string{"--postfix", p.Dir}
	t.Setenv("PATH", filepath.Join(p.Unpacked, "usr/sbin")+":"+os.Getenv("PATH"))
	t.Setenv("LD_LIBRARY_PATH", filepath.Join(p.Unpacked, "usr/lib/postfix"))
	w.send(seed, p.SMTP)
	// On Postfix the power is not cut: its queue has sockets in it, and a folder with those cannot be on that file system.
	kill := blow{"kill -9 of Postfix", func(*world) { p.Kill() }, func(*world) { p.Start() }, true}
	blows := []blow{kill, kill, habit("silent"), habit("close"), habit("refuse")}
	if *postfixNonsense {
		blows = append(blows, habit("nonsense"))
	}
	w.dealAll(blows, *postfixFor, r)
	w.senders.end(t)
	w.deal(kill, r)
	harness.Eventually(t, leastFor, "an empty queue", func() bool { return p.Command("postqueue", "-j") == "" })
	p.Stop()
	w.tell("the judgement")
	w.look(w.judge(true))
}
