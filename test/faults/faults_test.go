//go:build linux

package faults

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

var (
	length = flag.Duration("for", 20*time.Second, "how long faults are made")
	seeded = flag.Uint64("seed", 0, "what is done when, and what is lost; 0: a random one")
)

// blow is something that is done to the gateway, and undone after a moment.
type blow struct {
	name string
	do   func(w *world)
	undo func(w *world)
	// interrupts says that the gateway may have passed something on and not be able to write that down.
	interrupts bool
}

var blows = []blow{
	{"kill -9 of the gateway", func(w *world) { w.kill() }, nil, true},
	{"kill -9 of the plugin", (*world).killPlugins, nil, true},
	{"power cut", func(w *world) { w.cut(); w.retry() }, nil, true},
	{"power cut", func(w *world) { w.cut(); w.retry() }, nil, true},
	habit("silent"), habit("close"), habit("nonsense"), habit("refuse"),
	disk("full on", "full off"), disk("fail write 0.05", "fail write 0"), disk("fail sync 0.1", "fail sync 0"),
}

func habit(name string) blow {
	return blow{
		"next hop: " + name,
		func(w *world) { w.sink.tell(w.t, name) },
		func(w *world) { w.sink.tell(w.t, "good") },
		false,
	}
}

func disk(on, off string) blow {
	return blow{"disk: " + on, func(w *world) { w.layer.ask(w.t, on) }, func(w *world) { w.layer.ask(w.t, off) }, true}
}

func (w *world) killPlugins() {
	for _, pid := range w.gateway.Plugins() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
	}
}

// TestNothingLost has senders send all the while, deals blows at random moments, and asks the ledger in the
// end. Every blow is dealt before one is dealt again.
func TestNothingLost(t *testing.T) {
	seed := aSeed(t)
	w, r := newWorld(t, seed), rand.New(rand.NewPCG(seed, 1))
	w.dealAll(blows, *length, r)
	w.deal(lastCut, r)
	w.settleDown()
	w.tell("the gateway is stopped")
	w.gateway.Stop(t)
	w.tell("the judgement")
	w.look(w.judge(true))
}

// aSeed is the one that the command line names, or a random one.
func aSeed(t *testing.T) uint64 {
	seed := *seeded
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("seed %d", seed)
	return seed
}

// dealAll deals blows in a random order for so long, each of them before any is dealt again.
func (w *world) dealAll(blows []blow, most time.Duration, r *rand.Rand) {
	w.t.Helper()
	var order []int
	for dealt := 0; w.goesOn(most, dealt, blows); dealt++ {
		if len(order) == 0 {
			order = r.Perm(len(blows))
		}
		w.moment(r)
		w.deal(blows[order[0]], r)
		order = order[1:]
	}
}

// lastCut ends the senders first: what they know of is judged.
var lastCut = blow{"the last power cut", func(w *world) { w.senders.end(w.t); w.cut(); w.retry() }, nil, true}

// leastTaken is how much has to have been taken: so much proves something. A machine that is busy has
// leastFor time for that.
const leastTaken, leastFor = 100, 3 * time.Minute

// goesOn says whether there is more to be done after so many of the blows.
func (w *world) goesOn(most time.Duration, dealt int, blows []blow) bool {
	past := time.Since(w.begin)
	return past < most || dealt < len(blows) || w.taken() < leastTaken && past < leastFor
}

// moment is until the next blow: some messages, or some time, whichever comes first.
func (w *world) moment(r *rand.Rand) {
	most, until := w.taken()+5+r.IntN(60), time.Now().Add(time.Duration(200+r.IntN(1500))*time.Millisecond)
	for time.Now().Before(until) && w.taken() < most {
		time.Sleep(10 * time.Millisecond)
	}
}

// deal deals a blow, and has a gateway run after it.
func (w *world) deal(b blow, r *rand.Rand) {
	w.t.Helper()
	w.tell(b.name)
	since := time.Now()
	b.do(w)
	if b.undo != nil {
		w.moment(r)
		b.undo(w)
	}
	b.interrupts = w.runAgain() || b.interrupts
	w.note(b, since)
}

// runAgain starts the gateway if it has ended. Another server is started by what has ended it.
func (w *world) runAgain() bool {
	w.t.Helper()
	if w.gateway == nil {
		return false
	}
	if w.gateway.Log.Has("the gateway cannot go on") {
		harness.Eventually(w.t, time.Minute, "the end of the gateway, whose disk has failed", w.gateway.Ended)
	}
	if !w.gateway.Ended() {
		return false
	}
	w.gateway.Run(w.t)
	w.tell("the gateway runs again")
	return true
}

// settleDown waits until everything is where it should be, or a while: what waits for its time is in the spool.
func (w *world) settleDown() {
	w.t.Helper()
	for until := time.Now().Add(6 * time.Second); time.Now().Before(until) && len(w.judge(false).Lost) > 0; {
		time.Sleep(300 * time.Millisecond)
	}
}

func (w *world) look(v verdict) {
	w.t.Helper()
	w.t.Logf("%d messages taken, %d recipients: %d delivered (%d at the next hop), %d waiting, %d reported as failed, %d lost; %d attempts refused, %d without a reply",
		v.Messages, v.Recipients, v.Delivered, v.Relayed, v.Waiting, v.Reported, len(v.Lost), v.Refused, v.Unknown)
	w.t.Logf("duplicates: %v", v.Duplicates)
	for _, wrong := range v.wrong() {
		w.t.Error(wrong)
	}
}

// wrong is what a server that loses nothing has nothing of. One that takes everything and passes nothing on loses
// nothing either, and is wrong.
func (v verdict) wrong() (all []string) {
	say := func(is bool, format string, args ...any) {
		if is {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	say(v.Messages < leastTaken, "%d messages were taken: too few to prove anything", v.Messages)
	say(len(v.Lost) > 0, "lost: %q", v.Lost[:min(len(v.Lost), 50)])
	say(v.Damaged > 0, "%d copies are damaged", v.Damaged)
	say(v.Spool != "", "the spool cannot be read: %s", v.Spool)
	say(v.Duplicates["unexplained"] > 0, "%d duplicates that nothing explains", v.Duplicates["unexplained"])
	say(2*v.Delivered < v.Recipients, "%d of %d recipients have their mail: not half of them", v.Delivered, v.Recipients)
	say(v.Relayed == 0, "nothing was passed on to the next hop")
	return all
}

// TestWrong: each thing that may be wrong is told, by itself.
func TestWrong(t *testing.T) {
	good := verdict{Messages: leastTaken, Recipients: 200, Delivered: 100, Relayed: 1, Waiting: 50, Reported: 50, Duplicates: map[string]int{"explained": 9}}
	if got := good.wrong(); len(got) > 0 {
		t.Errorf("of a good one: %q", got)
	}
	for what, change := range map[string]func(*verdict){
		"too few":    func(v *verdict) { v.Messages-- },
		"lost":       func(v *verdict) { v.Lost = []string{"m a@far.example"} },
		"damaged":    func(v *verdict) { v.Damaged = 1 },
		"spool":      func(v *verdict) { v.Spool = "a disk image is malformed" },
		"duplicates": func(v *verdict) { v.Duplicates = map[string]int{"unexplained": 1} },
		"not half":   func(v *verdict) { v.Delivered-- },
		"next hop":   func(v *verdict) { v.Relayed = 0 },
	} {
		v := good
		change(&v)
		if got := v.wrong(); len(got) != 1 || !strings.Contains(got[0], what) {
			t.Errorf("%s: %q", what, got)
		}
	}
}

// TestMissingSyncIsFound has the disk ignore syncs: a run that finds nothing then would prove nothing.
func TestMissingSyncIsFound(t *testing.T) {
	w := newWorld(t, 3, "FAULTS_IGNORE_SYNC=1")
	harness.Eventually(t, time.Minute, "some messages", func() bool { return w.taken() > 40 })
	w.cut()
	w.senders.end(t)
	v := w.judge(true)
	t.Logf("%d of %d are lost; spool: %s", len(v.Lost), v.Recipients, v.Spool)
	if len(v.Lost) == 0 {
		t.Error("syncs do nothing, and nothing is lost")
	}
}
