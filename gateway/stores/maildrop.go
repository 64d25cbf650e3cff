package stores

import (
	"bytes"
	"context"
	"iter"

	"github.com/dipylon/dipylon/backends"
)

// observedMaildrop has the calls inside an opened maildrop pass, each by itself. What is read of a
// message afterwards is no call. There is one for each open maildrop, most of which are idle, so what
// it has beyond the least are views of the one object.
type observedMaildrop struct {
	backends.Maildrop
	observed *observed
	session  string
	secret   []byte // of the credential that has opened it: its store may log in again meanwhile

	many     backends.ManyFetcher // nil: it does not fetch many
	measurer backends.Measurer    // nil: it does not measure
	marker   backends.Marker      // nil: it does not mark
}

// maildrop gives a maildrop the middleware. It has what the maildrop has beyond the least, and no more.
func (o *observed) maildrop(inner backends.Maildrop, session string, secret []byte) backends.Maildrop {
	drop := &observedMaildrop{Maildrop: inner, observed: o, session: session, secret: bytes.Clone(secret)}
	var fetches, measures, marks bool
	drop.many, fetches = inner.(backends.ManyFetcher)
	drop.measurer, measures = inner.(backends.Measurer)
	drop.marker, marks = inner.(backends.Marker)
	f, s, m := observedMany{drop}, observedMeasurer{drop}, observedMarker{drop}
	switch (has{fetches, measures, marks}) {
	case has{true, true, true}:
		return struct {
			backends.Maildrop
			backends.ManyFetcher
			backends.Measurer
			backends.Marker
		}{drop, f, s, m}
	case has{true, true, false}:
		return struct {
			backends.Maildrop
			backends.ManyFetcher
			backends.Measurer
		}{drop, f, s}
	case has{true, false, true}:
		return struct {
			backends.Maildrop
			backends.ManyFetcher
			backends.Marker
		}{drop, f, m}
	case has{true, false, false}:
		return struct {
			backends.Maildrop
			backends.ManyFetcher
		}{drop, f}
	case has{false, true, true}:
		return struct {
			backends.Maildrop
			backends.Measurer
			backends.Marker
		}{drop, s, m}
	case has{false, true, false}:
		return struct {
			backends.Maildrop
			backends.Measurer
		}{drop, s}
	case has{false, false, true}:
		return struct {
			backends.Maildrop
			backends.Marker
		}{drop, m}
	}
	return drop
}

// has says what a maildrop has beyond the least.
type has struct{ fetchesMany, measures, marks bool }

// call is a call inside the maildrop, with every secret that it may fail with.
func (o *observedMaildrop) call(name string) Call {
	return o.observed.of(Call{Name: name, Session: o.session, secret: o.secret})
}

// List implements [backends.Maildrop].
func (o *observedMaildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return each(ctx, o, "List", o.Maildrop.List)
}

// each has a sequence pass as one call, which ends with it.
func each[T any](ctx context.Context, o *observedMaildrop, name string, begin func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := false // by who ranges over it, which is then told nothing more
		err := o.observed.run(ctx, o.call(name), func(ctx context.Context) error {
			for item, err := range begin(ctx) {
				if err != nil {
					return err
				}
				if stopped = !yield(item, nil); stopped {
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(*new(T), err)
		}
	}
}

// Fetch implements [backends.Maildrop].
func (o *observedMaildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	return through(ctx, *o.observed, o.call("Fetch"), func(ctx context.Context) (backends.Content, error) {
		content, err := o.Maildrop.Fetch(ctx, request)
		return o.call("Fetch").content(content), err
	})
}

// Remove implements [backends.Maildrop].
func (o *observedMaildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	what := o.call("Remove")
	return through(ctx, *o.observed, what, func(ctx context.Context) ([]backends.Removal, error) {
		removals, err := o.Maildrop.Remove(ctx, ids, disposal)
		for i, r := range removals {
			removals[i].Failure = what.hideFailure(r.Failure)
		}
		return removals, err
	})
}

// Close implements [backends.Maildrop].
func (o *observedMaildrop) Close() error {
	return o.call("Close").hide(o.Maildrop.Close())
}

type observedMany struct{ drop *observedMaildrop }

// FetchMany implements [backends.ManyFetcher].
func (o observedMany) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	what := o.drop.call("FetchMany")
	return through(ctx, *o.drop.observed, what, func(ctx context.Context) (backends.Contents, error) {
		contents, err := o.drop.many.FetchMany(ctx, request)
		if err != nil {
			return nil, err
		}
		return hidingContents{contents, what}, nil
	})
}

type observedMeasurer struct{ drop *observedMaildrop }

// Measure implements [backends.Measurer].
func (o observedMeasurer) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return each(ctx, o.drop, "Measure", func(ctx context.Context) iter.Seq2[backends.Measured, error] {
		return func(yield func(backends.Measured, error) bool) {
			for measured, err := range o.drop.measurer.Measure(ctx, request) {
				measured.Failure = o.drop.call("Measure").hideFailure(measured.Failure)
				if !yield(measured, err) {
					return
				}
			}
		}
	})
}

type observedMarker struct{ drop *observedMaildrop }

// MarkSeen implements [backends.Marker].
func (o observedMarker) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	return o.drop.observed.run(ctx, o.drop.call("MarkSeen"), func(ctx context.Context) error { return o.drop.marker.MarkSeen(ctx, ids) })
}
