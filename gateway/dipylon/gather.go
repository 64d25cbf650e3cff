package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/dipylon/dipylon/gateway/events"
)

const (
	gatherMost = 32 << 10 // octets of lines that are written at once
	gatherTime = 50 * time.Millisecond
)

// messageOut is what stands in a line that tells of a message that a client has read. Within a value it would be quoted.
var messageOut = []byte(`"` + events.Event + `":"` + events.MessageOut + `"`)

// gatherer writes the lines of a log. Those that tell of messages sent to a client, one for each, are by far the most
// when mailboxes are read, and nobody waits for them: they are written many at a time, [gatherTime] late at the
// most. Any other line is written at once, behind those before it, so the order stays. A process that is killed
// takes what it has gathered with it, which is nothing of what was accepted, sent, or removed.
type gatherer struct {
	mu    sync.Mutex
	w     io.Writer
	lines []byte
	timer *time.Timer
	err   error // of a write that nobody was there to hear of
}

func gather(w io.Writer) *gatherer {
	g := &gatherer{w: w}
	g.timer = time.AfterFunc(time.Hour, g.late)
	g.timer.Stop()
	return g
}

// Write implements [io.Writer] for whole lines. The error may be that of lines before.
func (g *gatherer) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if bytes.Contains(line, messageOut) && len(g.lines)+len(line) <= gatherMost {
		if len(g.lines) == 0 {
			g.timer.Reset(gatherTime)
		}
		g.lines = append(g.lines, line...)
		return len(line), g.failed()
	}
	if len(g.lines) == 0 {
		return g.w.Write(line)
	}
	g.lines = append(g.lines, line...)
	g.write()
	return len(line), g.failed()
}

func (g *gatherer) late() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.write()
}

// write writes what there is, and keeps no large buffer for a log that has become quiet.
func (g *gatherer) write() {
	g.timer.Stop()
	if len(g.lines) == 0 {
		return
	}
	if _, err := g.w.Write(g.lines); err != nil {
		g.err = err
	}
	g.lines = g.lines[:0]
}

// failed gives an error once.
func (g *gatherer) failed() error {
	err := g.err
	g.err = nil
	return err
}
