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

// ofTraffic are the events that come with each session and each message of a busy gateway, and that tell of nothing that
// anybody has to do.
var ofTraffic = map[string]bool{
	events.SessionEnd: true, events.MessageIn: true, events.Queued: true, events.Delivery: true, events.Relay: true, events.MessageOut: true,
}

var (
	informs  = []byte(`{"level":"info",`)         // what a line of that level begins with
	eventKey = []byte(`"` + events.Event + `":"`) // in front of an event's name; within a value it would be quoted
)

// waits says whether a line is of those that are gathered.
func waits(line []byte) bool {
	if !bytes.HasPrefix(line, informs) {
		return false
	}
	_, line, _ = bytes.Cut(line, eventKey)
	name, _, _ := bytes.Cut(line, []byte(`"`))
	return ofTraffic[string(name)]
}

// gatherer writes the lines of a log. Those that tell of sessions that have ended and of messages that went well are by far
// the most when there is much to do, and nobody waits for them: they are written many at a time, [gatherTime] late at the
// most. Any other line is written at once, behind those before it, so the order stays. A process that is killed
// takes what it has gathered with it: lines, and none of the mail that they tell of.
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
	if waits(line) && len(g.lines)+len(line) <= gatherMost {
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
