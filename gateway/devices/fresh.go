package devices

import (
	"context"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends/pause"
)

// freshFor is how long a process goes by what it knows of devices before it asks the database whether that is still so: one
// question in that time, however many devices there are and whatever they say. A change counts everywhere after that time.
const freshFor = 250 * time.Millisecond

// askMost bounds a question to the database, for which all devices wait.
const askMost = 2 * time.Second

// known is what the database has said of all devices, or why it has not.
type known struct {
	table *table // the last one that was read; nil: none was
	err   error
	asked time.Time // when the question began: what was changed before that is in it
}

// fresh says whether it may be used for something that begins at a time.
func (k *known) fresh(at time.Time) bool { return k != nil && at.Sub(k.asked) < freshFor }

// now is the table as it was at most freshFor ago. The one who finds it older asks the database, and the others wait for that.
func (r *Registry) now(ctx context.Context) (*table, error) {
	for began := time.Now(); ; {
		if k := r.known.Load(); k.fresh(began) {
			return k.table, k.err
		}
		// The answer is for all who wait: whoever asks for it may leave before it is there.
		answered := r.asking.DoChan("", func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askMost)
			defer cancel()
			return nil, r.ask(ctx)
		})
		select {
		case <-answered: // where the question began long before this call, it is asked once more
		case <-ctx.Done():
			return nil, fmt.Errorf("devices: %w", context.Cause(ctx))
		}
	}
}

// ask asks the database whether there are changes, and reads all devices where there are.
func (r *Registry) ask(ctx context.Context) error {
	next := &known{asked: time.Now()}
	last := r.last()
	next.table, next.err = r.look(ctx, last)
	if next.err != nil {
		next.table = last
	}
	r.known.Store(next)
	return next.err
}

// read gives the last table where it is still right, or else another one.
func (r *Registry) read(ctx context.Context, last *table) (*table, error) {
	version, err := r.version(ctx)
	if err != nil {
		return nil, err
	}
	if last != nil && last.version == version {
		return last, nil
	}
	all, err := r.List(ctx)
	if err != nil {
		return nil, err
	}
	ids := make(map[string]bool, len(all))
	for _, d := range all {
		ids[d.Password] = true
	}
	r.paces.keep(ids)
	return newTable(version, all), nil // what has changed meanwhile has another version: it is read again
}

// outdate has the database asked the next time: this process has changed something.
func (r *Registry) outdate() { r.known.Store(&known{table: r.last()}) }

// last is the last table that was read, however old; nil: none was.
func (r *Registry) last() *table {
	if k := r.known.Load(); k != nil {
		return k.table
	}
	return nil
}

// version is the number that every change makes another one.
func (r *Registry) version(ctx context.Context) (version int64, err error) {
	err = r.o.DB.QueryRow(ctx, "SELECT COALESCE(MAX(version), 0) FROM device_changes").Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("devices: %w", err)
	}
	return version, nil
}

// Settle waits until all gateways go by what was changed before, which they do without being told. Whoever changes a device
// at a command line calls it, so that what the command says is so when it has ended.
func (r *Registry) Settle(ctx context.Context) { pause.For(ctx, freshFor) }
