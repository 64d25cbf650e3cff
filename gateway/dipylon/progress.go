package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress shows on a terminal what is being done, in a line that goes away again. Where there is
// no terminal it shows nothing.
type progress struct {
	w    io.Writer // nil: no terminal
	done chan struct{}
	work sync.WaitGroup

	mu    sync.Mutex
	name  string
	since time.Time
	shown bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{done: make(chan struct{})}
	if f, is := w.(*os.File); is && term.IsTerminal(int(f.Fd())) {
		p.w = w
		p.work.Go(p.tick)
	}
	return p
}

// tick shows what takes longer than a second.
func (p *progress) tick() {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-every.C:
		}
		p.mu.Lock()
		if p.name != "" && time.Since(p.since) >= time.Second {
			_, _ = fmt.Fprintf(p.w, "\r\x1b[K  …            %s %s", p.name, time.Since(p.since).Round(time.Second))
			p.shown = true
		}
		p.mu.Unlock()
	}
}

func (p *progress) begin(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.since = name, time.Now()
}

// now says what is being done, without beginning anew.
func (p *progress) now(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = name
}

// pause takes the line away while something else is printed, and goes on.
func (p *progress) pause(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.name
	p.clear()
	print()
	p.name = name
}

// instead takes the line away and has something else printed.
func (p *progress) instead(print func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	print()
}

// clear takes the line away. p.mu is held.
func (p *progress) clear() {
	p.name = ""
	if p.shown {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// end may be called more than once.
func (p *progress) end() {
	p.mu.Lock()
	p.clear()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	p.mu.Unlock()
	p.work.Wait()
}
