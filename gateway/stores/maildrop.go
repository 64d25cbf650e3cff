package stores

import (
	"context"
	"iter"

	"github.com/dipylon/dipylon/backends"
)

// observedMaildrop has the calls inside an opened maildrop pass, each by itself. What is read of a
// message afterwards is no call.
type observedMaildrop struct {
	backends.Maildrop
	observed
	session string
}

// maildrop gives a maildrop the middleware. It has what the maildrop has beyond the least, and no more.
func (o observed) maildrop(inner backends.Maildrop, session string) backends.Maildrop {
	drop := observedMaildrop{inner, o, session}
	many, fetches := inner.(backends.ManyFetcher)
	measurer, measures := inner.(backends.Measurer)
	marker, marks := inner.(backends.Marker)
	f, s, m := observedMany{drop, many}, observedMeasurer{drop, measurer}, observedMarker{drop, marker}
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

func (o observedMaildrop) call(name string) Call { return Call{Name: name, Session: o.session} }

// List implements [backends.Maildrop].
func (o observedMaildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return each(ctx, o, "List", o.Maildrop.List)
}

// each has a sequence pass as one call, which ends with it.
func each[T any](ctx context.Context, o observedMaildrop, name string, begin func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		_ = o.run(ctx, o.call(name), func(ctx context.Context) (failed error) {
			for item, err := range begin(ctx) {
				if err != nil {
					failed = err
				}
				if !yield(item, err) {
					return failed
				}
			}
			return failed
		})
	}
}

// Fetch implements [backends.Maildrop].
func (o observedMaildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	return through(ctx, o.observed, o.call("Fetch"), func(ctx context.Context) (backends.Content, error) {
		return o.Maildrop.Fetch(ctx, request)
	})
}

// Remove implements [backends.Maildrop].
func (o observedMaildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	return through(ctx, o.observed, o.call("Remove"), func(ctx context.Context) ([]backends.Removal, error) {
		return o.Maildrop.Remove(ctx, ids, disposal)
	})
}

type observedMany struct {
	drop  observedMaildrop
	inner backends.ManyFetcher
}

// FetchMany implements [backends.ManyFetcher].
func (o observedMany) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	return through(ctx, o.drop.observed, o.drop.call("FetchMany"), func(ctx context.Context) (backends.Contents, error) {
		return o.inner.FetchMany(ctx, request)
	})
}

type observedMeasurer struct {
	drop  observedMaildrop
	inner backends.Measurer
}

// Measure implements [backends.Measurer].
func (o observedMeasurer) Measure(ctx context.Context, request backends.MeasureRequest) iter.Seq2[backends.Measured, error] {
	return each(ctx, o.drop, "Measure", func(ctx context.Context) iter.Seq2[backends.Measured, error] {
		return o.inner.Measure(ctx, request)
	})
}

type observedMarker struct {
	drop  observedMaildrop
	inner backends.Marker
}

// MarkSeen implements [backends.Marker].
func (o observedMarker) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	return o.drop.run(ctx, o.drop.call("MarkSeen"), func(ctx context.Context) error { return o.inner.MarkSeen(ctx, ids) })
}
