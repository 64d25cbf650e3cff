package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// A process with many sessions keeps for each what it got amid the garbage of its login, and what it gets between two
// collections decides how far apart that lies: with the usual pace of the collector (GOGC=100) a third of the heap of a
// thousand idle sessions was gaps. So the more goroutines there are, which is one for each session or two, the sooner the
// next collection comes. With few sessions the pace is the usual one, as it is for their messages and lists.
const (
	fewGoroutines  = 256
	manyGoroutines = 768
)

// paceFor is by how many hundredths the heap may grow until the next collection.
func paceFor(goroutines int) (percent int) {
	switch {
	case goroutines < fewGoroutines:
		return 100
	case goroutines < manyGoroutines:
		return 50
	}
	return 25
}

// pacing sets the collector's pace.
type pacing struct {
	goroutines func() int
	set        func(percent int) int
	last       int
}

// look is called after each collection.
func (p *pacing) look() {
	if percent := paceFor(p.goroutines()); percent != p.last {
		p.set(percent)
		p.last = percent
	}
}

// keepPace has the collector's pace follow the number of goroutines from now on, unless somebody has set it (GOGC).
func keepPace() {
	if os.Getenv("GOGC") != "" {
		return
	}
	afterCollections((&pacing{goroutines: runtime.NumGoroutine, set: debug.SetGCPercent, last: 100}).look)
}

// afterCollections calls a function after each collection, for ever: the collector finds an object that nobody has, and
// finds it again once its finalizer has run. The function holds up other finalizers, and no more.
func afterCollections(f func()) {
	type unowned struct{ _ *unowned } // with a pointer it is an object of its own
	var found func(*unowned)
	found = func(u *unowned) {
		f()
		runtime.SetFinalizer(u, found)
	}
	runtime.SetFinalizer(&unowned{}, found)
}
