package main

import (
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"

	"github.com/dipylon/dipylon/config"
)

// levelGate lets the log level change while loggers made before are in use: they all ask it
// (as their sampler) whether a line is wanted, before the line is made.
type levelGate struct{ least atomic.Int32 }

// Sample implements [zerolog.Sampler].
func (g *levelGate) Sample(level zerolog.Level) bool { return int32(level) >= g.least.Load() }

// set takes a level of the configuration.
func (g *levelGate) set(name string) {
	level, err := zerolog.ParseLevel(name)
	if err != nil {
		level = zerolog.InfoLevel // the configuration has been checked: it does not come to this
	}
	g.least.Store(int32(level))
}

// newLog makes the gateway's logger. The format does not change while it runs.
func newLog(w io.Writer, cfg config.Log, gate *levelGate) zerolog.Logger {
	gate.set(cfg.Level)
	if cfg.Format == "console" || cfg.Format == "auto" && isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	}
	return zerolog.New(zerolog.SyncWriter(w)).Sample(gate).With().Timestamp().Logger()
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
