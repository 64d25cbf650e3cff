package storetest_test

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/dipylon/dipylon/backends"
)

type (
	measureSeq  = iter.Seq2[backends.Measured, error]
	measureFunc = func(context.Context, backends.MeasureRequest) measureSeq
)

// measureDrop is a liarDrop that measures messages.
type measureDrop struct{ *liarDrop }

// Measure implements [backends.Measurer].
func (d measureDrop) Measure(ctx context.Context, r backends.MeasureRequest) measureSeq {
	return d.measure(d.Maildrop.(backends.Measurer).Measure)(ctx, r)
}

// measuring changes what Measure does.
func measuring(change func(measureFunc) measureFunc) func(*liar) {
	return dropping(func(d *liarDrop) { d.measure = change })
}

// measured changes what Measure says of each message.
func measured(change func(backends.MeasureRequest, *backends.Measured)) func(*liar) {
	return measuring(func(truth measureFunc) measureFunc {
		return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
			return func(yield func(backends.Measured, error) bool) {
				for m, err := range truth(ctx, r) {
					change(r, &m)
					if !yield(m, err) {
						return
					}
				}
			}
		}
	})
}

var measureLies = []lie{
	{
		name:  "measuring is not described",
		tell:  describing(func(d *backends.Description) { d.Reading.Measures = false }),
		fails: []string{"maildrop/measure-described"},
	},
	{
		name: "messages are measured without their line ends",
		tell: measured(func(r backends.MeasureRequest, m *backends.Measured) {
			if r.Sizes {
				m.Size -= 3
			}
		}),
		fails: []string{"maildrop/measure-in-order", "maildrop/measure-tops", "maildrop/measure-beside-one-that-fails", "maildrop/measure-bounds"},
	},
	{
		name: "messages are measured in an order of their own",
		tell: measuring(func(truth measureFunc) measureFunc {
			return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
				r.IDs = slices.Clone(r.IDs)
				slices.Sort(r.IDs)
				return truth(ctx, r)
			}
		}),
		fails: []string{"maildrop/measure-in-order", "maildrop/measure-beside-one-that-fails"},
		may:   []string{"maildrop/measure-tops"},
	},
	{
		name:  "a measured top has one line more",
		tell:  measuring(func(truth measureFunc) measureFunc { return oneLineMore(truth) }),
		fails: []string{"maildrop/measure-tops"},
	},
	{
		name: "a measured top is longer than it may be",
		tell: measured(func(r backends.MeasureRequest, m *backends.Measured) {
			if r.Top && m.Top == nil {
				m.Top = make([]byte, backends.MeasureTopMost+1)
			}
		}),
		fails: []string{"maildrop/measure-bounds"},
	},
	{
		name: "one message that cannot be measured ends it for all",
		tell: measuring(func(truth measureFunc) measureFunc {
			return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
				return func(yield func(backends.Measured, error) bool) {
					for m, err := range truth(ctx, r) {
						if m.Failure != nil {
							err = m.Failure
						}
						if !yield(m, err) || err != nil {
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/measure-beside-one-that-fails"},
	},
	{
		name: "no more than a hundred messages are measured",
		tell: measuring(func(truth measureFunc) measureFunc {
			return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
				r.IDs = r.IDs[:min(100, len(r.IDs))]
				return truth(ctx, r)
			}
		}),
		fails: []string{"maildrop/measure-bounds"},
	},
	{
		name: "measuring that is given up hangs",
		tell: measuring(func(truth measureFunc) measureFunc {
			return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
				return func(yield func(backends.Measured, error) bool) {
					for m, err := range truth(ctx, r) {
						if !yield(m, err) {
							time.Sleep(30 * time.Second) // the bubble's clock
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/measure-given-up"},
		may:   []string{"maildrop/measure-cancelled"},
	},
	{
		name: "measuring that is cancelled ends as if it were complete",
		tell: measuring(func(truth measureFunc) measureFunc {
			return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
				return func(yield func(backends.Measured, error) bool) {
					for m, err := range truth(ctx, r) {
						if err != nil || !yield(m, nil) {
							return
						}
					}
				}
			}
		}),
		fails: []string{"maildrop/measure-cancelled"},
	},
}

func oneLineMore(truth measureFunc) measureFunc {
	return func(ctx context.Context, r backends.MeasureRequest) measureSeq {
		r.Lines++
		return truth(ctx, r)
	}
}
