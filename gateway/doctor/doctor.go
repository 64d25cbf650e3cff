// Package doctor goes the way of a session, from a store to the first message of a mailbox, and tells step by step
// what works, what does not, and what to do about it. A store that knows its way itself ([backends.Examiner]) is asked; of others
// the calls of the contract are tried, one after the other:
//
//	health       can the store be used?
//	recipient    would it take mail for the mailbox?
//	login        is the credential good?
//	open         can the mailbox be opened?
//	list         what is in it?
//	message      does the first message come to its end?
//
// Nothing is changed by it. What a failure means is in causes.go.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// Options say where the way leads.
type Options struct {
	// Can is what the store has said that it can do.
	Can backends.Capabilities
	// Login is as whom; its zero value is nobody: what can be found out without a login is.
	Login backends.ExamineRequest
	// Address is of the mailbox, for the question whether mail would be taken; empty: it is not asked.
	Address string
}

// Run examines a store that has started, and tells each step. The error is of an examination that could not be carried out.
func Run(ctx context.Context, store backends.Store, o Options, tell func(backends.Step)) error {
	if examiner, ok := store.(backends.Examiner); ok && o.Can.Examiner {
		return examiner.Examine(ctx, o.Login, tell)
	}
	e := &examination{store: store, options: o, tell: tell}
	if e.try(ctx, "health", e.health) && e.recipient(ctx) && e.login(ctx) {
		e.read(ctx)
	}
	return ctx.Err()
}

// examination is one run.
type examination struct {
	store   backends.Store
	options Options
	tell    func(backends.Step)
	drop    backends.Maildrop
	first   *backends.Entry
}

// Try makes a step of something, with the time that it takes, and says whether it has worked.
func Try(ctx context.Context, name string, tell func(backends.Step), something func(context.Context) (detail string, err error)) bool {
	began := time.Now()
	detail, err := something(ctx)
	step := backends.Step{Name: name, Outcome: backends.StepGood, Took: time.Since(began), Detail: detail}
	if err != nil {
		step.Outcome, step.Detail = backends.StepFailed, err.Error()
		step.Cause, step.Advice = Cause(err)
	}
	tell(step)
	return err == nil
}

func (e *examination) try(ctx context.Context, name string, something func(context.Context) (string, error)) bool {
	return Try(ctx, name, e.tell, something)
}

func (e *examination) skip(name, why string) {
	e.tell(backends.Step{Name: name, Outcome: backends.StepSkipped, Detail: why})
}

func (e *examination) health(ctx context.Context) (string, error) {
	return "the store says that it can be used", e.store.Health(ctx)
}

// recipient asks whether mail for the mailbox would be taken. That it would not is a warning: the mailbox may be there to be read alone.
func (e *examination) recipient(ctx context.Context) bool {
	receiver, ok := e.store.(backends.Receiver)
	switch {
	case !ok || !e.options.Can.Receiver:
		e.skip("recipient", "the store takes no mail in")
		return true
	case e.options.Address == "":
		e.skip("recipient", "no address was named")
		return true
	}
	began := time.Now()
	verdicts, err := receiver.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(e.options.Address)})
	if err == nil && len(verdicts) == 1 && verdicts[0].Failure != nil {
		err = verdicts[0].Failure
	}
	step := backends.Step{Name: "recipient", Outcome: backends.StepGood, Took: time.Since(began), Detail: "mail for " + e.options.Address + " is taken"}
	if err != nil {
		step.Outcome, step.Detail = backends.StepWarning, err.Error()
		step.Cause, step.Advice = Cause(err)
	}
	e.tell(step)
	return true
}

// login goes on if somebody logs in.
func (e *examination) login(ctx context.Context) bool {
	if e.options.Login.Credential.Kind == 0 {
		e.skip("login", "nobody logs in: name a mailbox")
		return false
	}
	return e.try(ctx, "login", func(ctx context.Context) (string, error) {
		account, err := e.store.Login(ctx, e.options.Login.Credential)
		return fmt.Sprintf("account %q, %d addresses to send as", account.ID, len(account.Addresses)), err
	})
}

// read opens the folder and reads its first message.
func (e *examination) read(ctx context.Context) {
	if !e.options.Can.Reader {
		e.skip("open", "the store's mailboxes cannot be read")
		return
	}
	if !e.try(ctx, "open", e.open) {
		return
	}
	defer e.drop.Close() //nolint:errcheck // it was only read
	if !e.try(ctx, "list", e.list) {
		return
	}
	if e.first == nil {
		e.skip("message", "the mailbox is empty")
		return
	}
	e.try(ctx, "message", e.message)
}

func (e *examination) open(ctx context.Context) (detail string, err error) {
	e.drop, err = e.store.(backends.Reader).Open(ctx, backends.OpenRequest{Credential: e.options.Login.Credential, Folder: e.options.Login.Folder})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("the folder has the id %.100q", e.drop.Opened().FolderID), nil
}

func (e *examination) list(ctx context.Context) (string, error) {
	n, octets, estimated := 0, int64(0), false
	for entry, err := range e.drop.List(ctx) {
		if err != nil {
			return "", err
		}
		if n == 0 {
			e.first = &entry
		}
		n++
		octets += max(0, entry.Size)
		estimated = estimated || !entry.Exact
	}
	detail := fmt.Sprintf("%d messages, %d octets", n, octets)
	if estimated {
		detail += " by the store's estimate"
	}
	return detail, nil
}

// What backends must not do.
var (
	errCut  = errors.New("the last line of the message has no end")
	errSize = errors.New("the message has another size than the list says")
)

func (e *examination) message(ctx context.Context) (string, error) {
	c, err := e.drop.Fetch(ctx, backends.FetchRequest{ID: e.first.ID})
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // it was read to its end, or is of no use
	var counter crlf.Counter
	n, err := io.Copy(&counter, c)
	switch {
	case err != nil:
		return "", fmt.Errorf("after %d octets: %w", n, err)
	case n != counter.Octets():
		return "", errCut
	case e.first.Exact && n != e.first.Size:
		return "", fmt.Errorf("%w: %d octets have come, and the list says %d", errSize, n, e.first.Size)
	}
	return fmt.Sprintf("%d octets", n), nil
}
