package devices

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/gateway/state"
)

// Use is that a device was there, or that something of it went wrong.
type Use struct {
	From   string // the address it came from; empty: it did not
	Failed string // what went wrong, for administrators; empty: nothing
}

// notes are what is to be written of devices.
type notes struct {
	mu      sync.Mutex
	pending map[string]note
}

type note struct {
	used, failed time.Time
	from, text   string
}

// errorMost bounds the text of a last error, in octets.
const errorMost = 400

// Note remembers the use of a device, until [Registry.Run] writes it down. It waits for nothing.
func (r *Registry) Note(name string, u Use) {
	now := r.o.Now()
	r.notes.mu.Lock()
	defer r.notes.mu.Unlock()
	if r.notes.pending == nil {
		r.notes.pending = make(map[string]note)
	}
	n, there := r.notes.pending[name]
	if !there && len(r.notes.pending) >= mostDevices {
		return
	}
	if u.Failed != "" {
		text := backends.SafeText(u.Failed)
		n.failed, n.text = now, strings.ToValidUTF8(text[:min(len(text), errorMost)], "")
	} else {
		n.used, n.from = now, u.From
	}
	r.notes.pending[name] = n
}

// writeEvery is how seldom it is written when devices were used.
const writeEvery = 10 * time.Second

// writeMost bounds the last writing.
const writeMost = 5 * time.Second

// Run writes the notes down until the context ends, and then once more.
func (r *Registry) Run(ctx context.Context) {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.Write(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeMost)
			defer cancel()
			r.Write(last)
			return
		}
	}
}

// Write writes down what was noted. What cannot be written is forgotten: it is of interest only.
func (r *Registry) Write(ctx context.Context) {
	r.notes.mu.Lock()
	pending := r.notes.pending
	r.notes.pending = nil
	r.notes.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(pending)) // in one order: nodes do not wait for one another in a circle
	err := r.o.DB.Write(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			if err := pending[name].write(tx, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.o.Log.Warn().Err(err).Int("devices", len(names)).Msg("the last use of devices cannot be written down")
	}
}

func (n note) write(tx *state.Tx, name string) error {
	if !n.used.IsZero() {
		if _, err := tx.Exec("UPDATE app_passwords SET last_used = $1, last_from = $2 WHERE device = $3", n.used.Unix(), n.from, name); err != nil {
			return err
		}
	}
	if n.failed.IsZero() {
		return nil
	}
	_, err := tx.Exec("UPDATE devices SET last_error = $1, last_error_at = $2 WHERE name = $3", n.text, n.failed.Unix(), name)
	return err
}
