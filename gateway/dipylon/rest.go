package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process that has been busy and now waits keeps what it was busy with: garbage, since a
// collection only comes with further allocations, and the stacks that its goroutines needed when
// they worked. Most of a mail server's sessions wait, and most of their memory would be that.
// So a process that has come to rest is collected a few times, and its free memory given back.
// One that is busy is left alone, and so is its collector, whose usual pace (GOGC=100) is the
// right one then.
const (
	restEvery = time.Second
	// restOctets is what a process at rest may allocate within restEvery.
	restOctets = 1 << 20
	// restWorth is what must have been allocated for another collection to be worth it; of a
	// large heap, half of it.
	restWorth = 4 << 20
	// restTrims is how often the process is collected: a collection halves a stack of which less
	// than a quarter is in use, a session's needs 4 KiB when it waits, and up to 64 KiB before.
	restTrims = 4
)

// resting decides when a process is at rest.
type resting struct {
	allocated func() (octets, live uint64)
	trim      func()

	last  uint64 // octets allocated, at the last look
	since uint64 // octets allocated after the last trimming had become due
	due   int    // trims that are still to be made
}

// rest gives memory back whenever the process comes to rest, until the context ends.
func rest(ctx context.Context) {
	r := resting{allocated: allocated, trim: debug.FreeOSMemory}
	tick := time.NewTicker(restEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.look()
		case <-ctx.Done():
			return
		}
	}
}

// look compares what has been allocated with the last look.
func (r *resting) look() {
	octets, live := r.allocated()
	step := octets - r.last
	r.last = octets
	if r.since += step; r.since >= max(restWorth, live/2) {
		r.since, r.due = 0, restTrims
	}
	if r.due > 0 && step < restOctets {
		r.due--
		r.trim()
	}
}

// allocated is what the process has allocated since its start, and what of it was in use at the
// end of the last collection.
func allocated() (octets, live uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
