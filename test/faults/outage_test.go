//go:build linux

package faults

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

var outagesFor = flag.Duration("outages-for", 0, "for how long outages follow each other; 0: there is one")

// The default schedule, in which a quarter of an hour is a second. The notice of a delay, too, which comes after four hours by default,
// comes after half an hour: an outage of an hour is to have some.
const (
	anHour      = 4 * time.Second
	delayNotice = anHour / 2
)

var schedule = []time.Duration{anHour / 4, anHour / 2, anHour, 4 * anHour}

// outageWorld is a gateway on an ordinary disk, whose next hop and whose store go away for an hour and more. Nothing but the
// schedule has mail tried again.
type outageWorld struct {
	*world
	root  string   // the store's
	known string   // the ledger of a stranger whose recipients the store has confirmed
	sends *program // the stranger
	due   []string // "message recipient" of which a delay has to have been told
}

func newOutageWorld(t *testing.T, seed uint64) *outageWorld {
	t.Helper()
	w := &outageWorld{world: unbegun(t)}
	w.root = filepath.Join(w.mounted, "mail")
	// Clients leave from 127.0.0.1: nobody takes the next hop's port while it is away.
	hop := w.startSink("--listen", strings.Replace(loopback(), "127.77.", "127.78.", 1)+":0")
	var waits []string
	for _, wait := range schedule {
		waits = append(waits, wait.String())
	}
	w.gateway = w.prepare(hop, harness.Mapping{
		"state":    w.state,
		"timeouts": harness.Mapping{"drain": "2s", "plugin_call": "1s"},
		"relay":    harness.Mapping{"retry": waits, "delay_notice": delayNotice.String(), "expire": (5 * 24 * anHour).String()},
	})
	w.addUsers()
	w.gateway.Run(t)
	w.send(seed, w.gateway.Address("submission"))
	w.known, w.sends = w.stranger(seed+1, near...)
	return w
}

// stranger starts a sender that does not log in.
func (w *outageWorld) stranger(seed uint64, to ...string) (ledger string, sender *program) {
	w.t.Helper()
	ledger = w.path(fmt.Sprint("strangers-", len(w.strangers)))
	if err := os.WriteFile(ledger, nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.strangers = append(w.strangers, ledger)
	return ledger, launch(w.t, nil, append([]string{
		w.ledger, "send", "--to", w.gateway.Address("smtp"), "--record", ledger, "--seed", fmt.Sprint(seed), "--senders", "1",
		"--from", "chris@elsewhere.example",
	}, each("--near", to)...)...)
}

// try is an attempt of a sender.
type try struct {
	At, Until          time.Time
	ID, Outcome, Reply string
	To                 []string
}

// tries are the attempts in a ledger that began after a moment.
func (w *outageWorld) tries(ledger string, since time.Time) (all []try) {
	w.t.Helper()
	file, err := os.Open(ledger)
	if err != nil {
		w.t.Fatal(err)
	}
	defer file.Close()
	for in := bufio.NewReader(file); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return all // a last line without its end is being written
		}
		var a try
		if err := json.Unmarshal(line, &a); err != nil {
			w.t.Fatal(err)
		}
		if a.At.After(since) {
			all = append(all, a)
		}
	}
}

// storeOutages are the ways in which a store is away while its plugin is there.
func (w *outageWorld) storeOutages() []blow {
	away := w.root + " away"
	var stopped []int
	signal := func(s syscall.Signal) {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, s) // what is stopped for long is killed by the gateway
		}
	}
	return []blow{
		{"the store's folder is away", func(w *world) { move(w.t, filepath.Join(w.mounted, "mail"), away) }, func(w *world) {
			move(w.t, away, filepath.Join(w.mounted, "mail"))
		}, false},
		{"the store's plugin is stopped", func(w *world) {
			stopped = w.gateway.Plugins()
			signal(syscall.SIGSTOP)
		}, func(*world) { signal(syscall.SIGCONT) }, false},
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if _, err := os.Lstat(to); err == nil {
		t.Fatalf("%s: %v", to, fs.ErrExist)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestNothingLostThroughOutages has the next hop away for an hour and more of a scaled schedule: connections are refused, hang, and
// are told 421. The store is away meanwhile, while its plugin runs. Both come back, and nobody has anything tried again.
func TestNothingLostThroughOutages(t *testing.T) {
	seed := aSeed(t)
	w, r := newOutageWorld(t, seed), rand.New(rand.NewPCG(seed, 6))
	outages := w.storeOutages()
	for n := 0; n == 0 || w.goesOnFor(*outagesFor); n++ {
		long := anHour
		if n > 0 {
			long += time.Duration(r.Int64N(int64(3 * anHour)))
		}
		w.outage(n, long, outages[n%len(outages)])
	}
	w.senders.end(t)
	w.sends.end(t)
	w.comesBySchedule()
	w.gateway.Stop(t)
	w.tell("the gateway is stopped")
	v := w.judge(true)
	w.look(v)
	w.lookAtNotices(v)
	w.tell("judged")
}

// outage has the next hop away for so long, and the store for an hour of that, and waits until all is where it should be.
func (w *outageWorld) outage(n int, long time.Duration, store blow) {
	w.t.Helper()
	w.confirmAll()
	guest := fmt.Sprintf("guest%d@%s", n, harness.Domain)
	w.gateway.AddUserIn(w.t, w.root, guest)
	harness.Eventually(w.t, time.Minute, "mail has passed before", func() bool { return w.taken() > 40 })
	w.guests = append(w.guests, guest)

	since, place := time.Now(), w.gateway.Log.Len()
	w.become("away")
	w.tell(store.name)
	store.do(w.world)
	ledger, sender := w.stranger(uint64(n), guest)
	steps := []step{
		{long / 3, func() { w.become("hang") }},
		{2 * long / 3, func() { w.become("greeting 421 4.3.2 Service not available") }},
		{anHour, func() { w.storeBack(store, since, ledger) }},
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.after, b.after) })
	for _, s := range steps {
		time.Sleep(time.Until(since.Add(s.after)))
		s.do()
	}
	time.Sleep(time.Until(since.Add(long)))
	w.hopBack(since, place)
	if w.goesOnFor(*outagesFor) {
		w.comesBySchedule() // else it is waited for in the end
	}
	harness.Eventually(w.t, time.Minute, "mail for whom the store had not confirmed", func() bool { return outcomes(w.tries(ledger, since))["taken"] > 0 })
	sender.end(w.t)
}

func (w *outageWorld) goesOnFor(d time.Duration) bool { return time.Since(w.begin) < d }

// step is something that is done so long after the beginning of an outage.
type step struct {
	after time.Duration
	do    func()
}

// become has the next hop take a habit on.
func (w *outageWorld) become(habit string) {
	w.t.Helper()
	w.sink.tell(w.t, habit)
	w.tell("next hop: " + habit)
}

// confirmAll waits until the store has confirmed each of the recipients that are always there.
func (w *outageWorld) confirmAll() {
	w.t.Helper()
	harness.Eventually(w.t, time.Minute, "the store has confirmed its recipients", func() bool {
		confirmed := make(map[string]bool)
		for _, a := range w.tries(w.known, time.Time{}) {
			for _, to := range a.To {
				confirmed[to] = confirmed[to] || a.Outcome == "taken"
			}
		}
		return len(confirmed) == len(near) && !slices.Contains(slices.Collect(maps.Values(confirmed)), false)
	})
}

// outcomes counts attempts.
func outcomes(all []try) map[string]int {
	count := make(map[string]int)
	for _, a := range all {
		count[a.Outcome]++
	}
	return count
}

// storeBack ends the store's outage. Until then strangers' mail was taken for whom the store had confirmed, and for nobody else.
func (w *outageWorld) storeBack(b blow, since time.Time, guests string) {
	w.t.Helper()
	harness.Eventually(w.t, time.Minute, "strangers have tried while the store is away", func() bool {
		return len(w.tries(w.known, since)) > 0 && len(w.tries(guests, since)) > 0
	})
	known, unknown := w.tries(w.known, since), w.tries(guests, since)
	b.undo(w.world)
	w.tell("the store is back")
	w.note(b, since)
	for _, a := range known {
		if a.Outcome != "taken" {
			w.t.Errorf("%s: mail for %q, whom it has confirmed, is %s: %s", b.name, a.To, a.Outcome, a.Reply)
		}
	}
	for _, a := range unknown {
		if a.Outcome != "refused" || !strings.Contains(a.Reply, "451") {
			w.t.Errorf("%s: mail for %q, whom it has not confirmed, is %s: %s", b.name, a.To, a.Outcome, a.Reply)
		}
	}
	w.t.Logf("%s: %d attempts for whom it had confirmed, %d for whom it had not", b.name, len(known), len(unknown))
}

// leftAlone is an entry of the log on a destination that has failed.
type leftAlone struct {
	domain string
	at     time.Time // to the second, rounded down
	cause  string
}

// failures are those in the log.
func (w *outageWorld) failures(place int) (all []leftAlone) {
	w.t.Helper()
	for _, e := range w.gateway.Log.Since(place) {
		if e.Field("message") != "the destination is left alone for a while" || !strings.HasSuffix(e.Field("destination"), ".far.example") {
			continue
		}
		at, err := time.Parse(time.RFC3339, e.Field("time"))
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, leftAlone{e.Field("destination"), at, e.Field("error")})
	}
	return all
}

// hopBack ends the outage of the next hop. Until then each destination was tried as often as the schedule says, and all three kinds
// of failure were met.
func (w *outageWorld) hopBack(since time.Time, place int) {
	w.t.Helper()
	var due []string
	harness.Eventually(w.t, time.Minute, "destinations that were refused, that hung, and that were told 421, and a delay that is told", func() bool {
		due = w.late(since, place)
		met := func(cause string) bool {
			return slices.ContainsFunc(w.failures(place), func(f leftAlone) bool { return strings.Contains(f.cause, cause) })
		}
		return met("refused") && met("EOF") && met("421") && len(due) > 0
	})
	w.due = append(w.due, due...)
	count := make(map[string]int)
	for _, f := range w.failures(place) {
		count[f.domain]++
	}
	most, waited := 1, time.Duration(0)
	for waited += schedule[0]; waited < time.Since(since); waited += schedule[min(most-1, len(schedule)-1)] {
		most++
	}
	for domain, n := range count {
		if n > most {
			w.t.Errorf("%s was tried %d times in %s, and %d times are in the schedule:", domain, n, time.Since(since), most)
			for _, e := range w.gateway.Log.Since(place) {
				if strings.Contains(e.Text, domain) {
					w.t.Log(e.Text)
				}
			}
		}
	}
	w.become("good")
	w.note(blow{name: "the next hop is away"}, since)
	w.t.Logf("%d destinations were left alone, at most %d times; %d delays are to be told", len(count), slices.Max(slices.Collect(maps.Values(count))), len(due))
}

// late are those recipients of whom the sender has to be told that it takes longer: those whose mail the gateway has had for long
// enough when their destination failed again.
func (w *outageWorld) late(since time.Time, place int) (all []string) {
	w.t.Helper()
	last := make(map[string]time.Time)
	for _, f := range w.failures(place) {
		last[f.domain] = f.at
	}
	for _, a := range w.tries(w.path("sent"), since) {
		for _, to := range a.To {
			_, domain, _ := strings.Cut(to, "@")
			if at, failed := last[domain]; failed && a.Outcome == "taken" && !at.Before(a.Until.Add(delayNotice)) {
				all = append(all, a.ID+" "+to)
			}
		}
	}
	return all
}

// comesBySchedule waits until all mail that has been taken by now is where it should be: by the schedule alone.
func (w *outageWorld) comesBySchedule() {
	w.t.Helper()
	left := w.judge(false).Lost
	harness.Eventually(w.t, schedule[len(schedule)-1]+time.Minute, "all mail that was taken is where it should be", func() bool {
		now := w.judge(false).Lost
		left = slices.DeleteFunc(left, func(one string) bool { return !slices.Contains(now, one) })
		return len(left) == 0
	})
	w.tell("all is there")
}

// lookAtNotices wants a notice of each delay that was due, and none twice, or before its time.
func (w *outageWorld) lookAtNotices(v verdict) {
	w.t.Helper()
	begun := make(map[string]time.Time)
	for _, a := range w.tries(w.path("sent"), time.Time{}) {
		if begun[a.ID].IsZero() {
			begun[a.ID] = a.At
		}
	}
	w.t.Logf("%d delays were told; of %d that has to be so", len(v.Delayed), len(w.due))
	for what, at := range v.Delayed {
		id, _, _ := strings.Cut(what, " ")
		if len(at) > 1 || at[0].Before(begun[id].Add(delayNotice)) {
			w.t.Errorf("a delay of %s, which was sent at %s, was told at %s", what, begun[id], at)
		}
	}
	untold := slices.DeleteFunc(slices.Clone(w.due), func(what string) bool { return len(v.Delayed[what]) > 0 })
	if len(untold) > 0 {
		w.t.Errorf("%d delays were not told: %q", len(untold), untold[:min(len(untold), 20)])
	}
}
