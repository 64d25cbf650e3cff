package backends

import (
	"context"
	"time"
)

// Examiner is a store that can say step by step what works between it and a mailbox, and what does not:
// it is what "dipylon doctor" asks. Of a store that is none the gateway tries its other calls.
type Examiner interface {
	// Examine goes the way of a session, from the name of the server to the first message of a folder, and
	// tells each step when it has ended, one at a time. The step without which nothing follows is the last one. A step
	// that has failed is no error: an error is that of an examination that could not be carried out. Nothing is
	// changed by it, neither in a mailbox nor in what the store remembers; until it was taken, a password is presented no more often
	// than a session does, and once more at the most to find out why it was refused.
	Examine(ctx context.Context, request ExamineRequest, tell func(Step)) error
}

// ExamineRequest says as whom the way is gone, and where to.
type ExamineRequest struct {
	// Credential is who logs in. Its zero value is nobody: what can be found out without a login is.
	Credential Credential
	// Folder is the folder's path, as in [OpenRequest].
	Folder string
	// FreshToken has a token of the store's own asked for anew, although there is one that is good still. What others use is not to
	// suffer by it.
	FreshToken bool
}

// StepsMost bounds the steps of one examination.
const StepsMost = 200

// Step is one step of an examination, and what came of it. Its texts are for the administrator; no secret
// stands in them.
type Step struct {
	Name    string // what was tried, in some words: "TLS with mail.sakes.example:443"
	Outcome StepOutcome
	Took    time.Duration
	Detail  string // what was found, or how it has failed
	// Cause names what is wrong for programs, in lower case letters, digits and hyphens, at most 64 of them:
	// "certificate-expired". Empty: nothing is.
	Cause string
	// Advice is what to do about it: a sentence or a few. Empty: nothing needs to be done.
	Advice string
}

// StepOutcome is what came of a step.
type StepOutcome uint8

// The outcomes. The numbers are on the wire; one that is not known counts as StepFailed.
const (
	StepGood    StepOutcome = 1
	StepWarning StepOutcome = 2 // it works, and something should be done
	StepFailed  StepOutcome = 3
	StepSkipped StepOutcome = 4 // it was not tried
)

// String is the outcome in a word.
func (o StepOutcome) String() string {
	switch o {
	case StepGood:
		return "good"
	case StepWarning:
		return "warning"
	case StepSkipped:
		return "skipped"
	}
	return "failed"
}
