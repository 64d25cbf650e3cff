package storetest

import (
	"context"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/lazyregexp"
)

var causeForm = lazyregexp.New(`^[a-z0-9-]{0,64}$`)

var examineCases = []testcase{
	{"healthy", []need{examiner, reader, password, feed}, func(t *trial) {
		d, _ := t.filled(t.first(), t.mails(1)...)
		d.close()
		steps := t.examine(t.credential(t.first()))
		if len(steps) == 0 {
			t.Errorf("an examination has no steps")
		}
		for _, s := range steps {
			if s.Outcome == backends.StepFailed || s.Cause != "" && s.Outcome != backends.StepWarning {
				t.Errorf("nothing is wrong, and the step %q says so: %+v", s.Name, s)
			}
		}
	}},
	{"wrong-password", []need{examiner, password}, func(t *trial) {
		const secret = "storetest-wrong-secret"
		steps := t.examine(t.with(t.User, secret))
		if len(steps) == 0 || steps[len(steps)-1].Outcome != backends.StepFailed {
			t.Fatalf("the last step with a wrong password has not failed: %+v", steps)
		}
		if last := steps[len(steps)-1]; last.Cause == "" || last.Advice == "" {
			t.Errorf("a wrong password has no cause, or nobody says what to do about it: %+v", last)
		}
		for _, s := range steps {
			if strings.Contains(s.Name+s.Detail+s.Advice, secret) {
				t.Errorf("the step %q tells the password", s.Name)
			}
		}
	}},
	{"nobody", []need{examiner}, func(t *trial) {
		for _, s := range t.examine(backends.Credential{}) {
			if s.Outcome == backends.StepFailed {
				t.Errorf("nobody logs in, and the step %q has failed: %s", s.Name, s.Detail)
			}
		}
	}},
	{"changes-nothing", []need{examiner, reader, password, feed}, func(t *trial) {
		d, before := t.filled(t.first(), t.mails(2)...)
		d.close()
		t.examine(t.credential(t.first()))
		after := t.open(t.first()).list()
		same := func(a, b backends.Entry) bool { return a.Seen == b.Seen }
		if !slices.EqualFunc(before, after, same) {
			t.Errorf("the inbox had %+v before an examination, and has %+v", before, after)
		}
	}},
	{"cancelled", []need{examiner, password}, func(t *trial) {
		ctx, cancel := context.WithCancel(t.ctx)
		cancel()
		t.promptly("Examine with a context that has ended", func() {
			_ = t.store.(backends.Examiner).Examine(ctx, backends.ExamineRequest{Credential: t.credential(t.first())}, func(backends.Step) {})
		})
	}},
}

// examine examines the way to an inbox, and looks at the form of the steps.
func (t *trial) examine(c backends.Credential) (steps []backends.Step) {
	err := t.store.(backends.Examiner).Examine(t.ctx, backends.ExamineRequest{Credential: c}, func(s backends.Step) { steps = append(steps, s) })
	if err != nil {
		t.Fatalf("examining: %w", err)
	}
	if len(steps) > backends.StepsMost {
		t.Errorf("an examination has %d steps, and %d are the most", len(steps), backends.StepsMost)
	}
	for _, s := range steps {
		if s.Name == "" || s.Outcome < backends.StepGood || s.Outcome > backends.StepSkipped || !causeForm.MatchString(s.Cause) || s.Took < 0 {
			t.Errorf("a step that is none: %+v", s)
		}
	}
	return steps
}
