package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/dipylon/dipylon/config"
	"github.com/dipylon/dipylon/gateway/track"
)

// levelGate lets the log level change while loggers made before are in use: they all ask it
// (as their sampler) whether a line is wanted, before the line is made.
type levelGate struct {
	least atomic.Int32
	track *track.Recorder // sees what is info and more, whatever is logged; nil: there is none
	lines *gatherer       // in front of the log; nil: there is none
}

// Sample implements [zerolog.Sampler].
func (g *levelGate) Sample(level zerolog.Level) bool {
	return int32(level) >= g.least.Load() || level >= zerolog.InfoLevel && g.track != nil && g.track.On()
}

// gatedWriter writes lines that are wanted in the log, and shows all of them to the recorder.
type gatedWriter struct {
	io.Writer
	gate *levelGate
}

// WriteLevel implements [zerolog.LevelWriter].
func (w gatedWriter) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if w.gate.track != nil {
		_, _ = w.gate.track.Write(line) // it does not fail
	}
	if int32(level) < w.gate.least.Load() {
		return len(line), nil
	}
	return w.Write(line)
}

// set takes a level of the configuration.
func (g *levelGate) set(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil {
		level = zerolog.InfoLevel // the configuration has been checked: it does not come to this
	}
	g.least.Store(int32(level))
}

// flush writes what has been logged and not yet written.
func (g *levelGate) flush() {
	if g.lines != nil {
		g.lines.late()
	}
}

// newLog makes the gateway's logger, whose last lines are written by gate.flush. The format does not change while
// it runs.
func newLog(w io.Writer, cfg config.Log, gate *levelGate) zerolog.Logger {
	gate.set(cfg.Level)
	if cfg.Format == "console" || cfg.Format == "auto" && isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	} else {
		gate.lines = gather(w)
		w = gate.lines
	}
	return zerolog.New(zerolog.SyncWriter(gatedWriter{w, gate})).Sample(gate).With().Timestamp().Logger()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
