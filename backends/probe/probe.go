// Package probe has the steps of an examination (dipylon doctor) that are the same for many servers: the name, the connection,
// TLS, a token, a login at a submission server, a mailbox from its folder to its first message; and what their failures are
// called, and what to do about them.
//
//	way := probe.New(ctx, tell)
//	ok := way.Step("name "+host, func(ctx context.Context) (probe.Found, error) { return probe.LookUp(ctx, host) }) &&
//		way.Step("connection to "+address, func(ctx context.Context) (probe.Found, error) { return probe.Connect(ctx, address) })
//
// A failure whose cause is known is wrapped by [Because]; of others their kind says something ([CauseOf]). Nothing is changed by
// a step, and no secret stands in what is told.
package probe

import (
	"context"
	"errors"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Cause is what is wrong, in a word for programs, and what to do about it.
type Cause struct{ Name, Advice string }

// Found is what a step has come to, besides its failure.
type Found struct {
	Detail string
	// Warning is of something that works and should be seen to. Its zero value: nothing should.
	Warning Cause
}

// known is an error whose cause is known.
type known struct {
	cause Cause
	err   error
}

func (k *known) Error() string { return k.err.Error() }
func (k *known) Unwrap() error { return k.err }

// Because gives an error its cause; nil stays nil.
func Because(cause Cause, err error) error {
	if err == nil {
		return nil
	}
	return &known{cause, err}
}

// Way is one examination.
type Way struct {
	ctx  context.Context //nolint:containedctx // it is the examination's
	tell func(backends.Step)
}

// New begins an examination, whose steps are told.
func New(ctx context.Context, tell func(backends.Step)) *Way { return &Way{ctx, tell} }

// Step does one step and tells it, and says whether it has worked. When the examination's context has ended, none is begun.
func (w *Way) Step(name string, something func(context.Context) (Found, error)) bool {
	if w.ctx.Err() != nil {
		return false
	}
	began := time.Now()
	found, err := something(w.ctx)
	step := backends.Step{Name: name, Outcome: backends.StepGood, Took: time.Since(began), Detail: found.Detail}
	switch {
	case err != nil:
		cause := CauseOf(err)
		step.Outcome, step.Detail, step.Cause, step.Advice = backends.StepFailed, err.Error(), cause.Name, cause.Advice
	case found.Warning != Cause{}:
		step.Outcome, step.Cause, step.Advice = backends.StepWarning, found.Warning.Name, found.Warning.Advice
	}
	w.tell(step)
	return err == nil
}

// Skip tells of a step that is not tried.
func (w *Way) Skip(name, why string) {
	w.tell(backends.Step{Name: name, Outcome: backends.StepSkipped, Detail: why})
}

// Err is the failure of an examination that was cut off; nil: it was not.
func (w *Way) Err() error {
	if err := context.Cause(w.ctx); err != nil {
		return backends.Fail(backends.Temporary, "examine: %w", err)
	}
	return nil
}

// Known is the cause that a failure was given ([Because]); not known: it was given none.
func Known(err error) (Cause, bool) {
	if k, is := errors.AsType[*known](err); is {
		return k.cause, true
	}
	return Cause{}, false
}

// CauseOf is what a failure is called, and what to do about it.
func CauseOf(err error) Cause {
	if cause, is := Known(err); is {
		return cause
	}
	f := backends.AsFailure(err)
	switch cause, ok := codes[f.Code]; {
	case ok:
		return cause
	case errors.Is(err, context.DeadlineExceeded):
		return NoAnswer
	}
	return meanings[f.Kind]
}
