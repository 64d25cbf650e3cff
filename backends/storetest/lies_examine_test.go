package storetest_test

import (
	"context"

	"github.com/dipylon/dipylon/backends"
)

// stepping replaces the steps of an examination.
func stepping(f func(r backends.ExamineRequest, s backends.Step) backends.Step) func(*liar) {
	return func(l *liar) {
		l.examine = func(ctx context.Context, r backends.ExamineRequest, tell func(backends.Step)) error {
			return l.Store.Examine(ctx, r, func(s backends.Step) { tell(f(r, s)) })
		}
	}
}

var examineLies = []lie{
	{
		name: "an examination sees what is not wrong",
		tell: stepping(func(_ backends.ExamineRequest, s backends.Step) backends.Step {
			if s.Outcome == backends.StepGood {
				s.Cause = "odd"
			}
			return s
		}),
		fails: []string{"examine/healthy"},
	},
	{
		name: "an examination sees no wrong password",
		tell: stepping(func(_ backends.ExamineRequest, s backends.Step) backends.Step {
			s.Outcome, s.Cause = backends.StepGood, ""
			return s
		}),
		fails: []string{"examine/wrong-password"},
	},
	{
		name: "an examination tells the password",
		tell: stepping(func(r backends.ExamineRequest, s backends.Step) backends.Step {
			s.Detail += string(r.Credential.Secret)
			return s
		}),
		fails: []string{"examine/wrong-password"},
	},
	{
		name: "an examination fails for nobody",
		tell: stepping(func(r backends.ExamineRequest, s backends.Step) backends.Step {
			if r.Credential.Kind == 0 {
				s.Outcome = backends.StepFailed
			}
			return s
		}),
		fails: []string{"examine/nobody"},
	},
	{
		name: "an examination removes mail",
		tell: func(l *liar) {
			l.examine = func(ctx context.Context, r backends.ExamineRequest, tell func(backends.Step)) error {
				if d, err := l.Store.Open(ctx, backends.OpenRequest{Credential: r.Credential}); err == nil {
					for e := range d.List(ctx) {
						_, _ = d.Remove(ctx, []backends.MessageID{e.ID}, backends.DisposalRemove)
					}
					_ = d.Close()
				}
				return l.Store.Examine(ctx, r, tell)
			}
		},
		fails: []string{"examine/changes-nothing"},
	},
	{
		name: "an examination goes on when nobody wants it",
		tell: func(l *liar) {
			l.examine = func(ctx context.Context, r backends.ExamineRequest, tell func(backends.Step)) error {
				if ctx.Err() != nil {
					return deafTo(ctx)
				}
				return l.Store.Examine(ctx, r, tell)
			}
		},
		fails: []string{"examine/cancelled"},
	},
}
