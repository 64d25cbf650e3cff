// Package crew runs what servers do for each connection on goroutines that are kept for the next one. A new goroutine
// begins with a small stack, which grows some four times until it is large enough for a session, and is copied each time:
// where sessions are short that is a good part of what they cost.
//
//	var sessions crew.Crew
//	for {
//		conn, err := listener.Accept()
//		…
//		sessions.Go(func() { serve(conn) })
//	}
//	sessions.Wait()
package crew

import "sync"

// spare is how many goroutines wait for work at the most.
const spare = 32

// Crew runs functions at once, each on a goroutine of its own, as a [sync.WaitGroup] does. The zero value is ready.
type Crew struct {
	all sync.WaitGroup

	mu   sync.Mutex
	free []chan func() // of the goroutines without work, the latest last: its stack is the least likely to have shrunk
	over bool
}

// Go runs a function, which must not panic. It is not called once Wait has been.
func (c *Crew) Go(f func()) {
	c.mu.Lock()
	if last := len(c.free) - 1; last >= 0 {
		next := c.free[last]
		c.free = c.free[:last]
		c.mu.Unlock()
		next <- f // has room for it
		return
	}
	c.mu.Unlock()
	c.all.Add(1)
	go c.work(f) // and not by all.Go, whose frame would be part of each stack
}

// Wait returns when all functions have, and leaves no goroutine behind.
func (c *Crew) Wait() {
	c.mu.Lock()
	c.over = true
	for _, next := range c.free {
		close(next)
	}
	c.free = nil
	c.mu.Unlock()
	c.all.Wait()
}

// work runs one function after the other, until there are enough goroutines that wait for the next.
func (c *Crew) work(f func()) {
	defer c.all.Done()
	next := make(chan func(), 1)
	for f != nil {
		f()
		if f = nil; !c.spares(next) { // what it held is not held while there is nothing to do
			return
		}
		f = <-next
	}
}

// spares takes a goroutine in among those that are free, unless there are enough.
func (c *Crew) spares(next chan func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || len(c.free) >= spare {
		return false
	}
	c.free = append(c.free, next)
	return true
}
