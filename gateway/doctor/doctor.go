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
// Nothing is changed by it. What somebody has to ask for: a mailbox that must not be opened ("must refuse"), and a test mail from the
// mailbox to itself ("send", "arrival"), of which a copy stays. What a failure means is in package probe.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/probe"
)

// Options say where the way leads.
type Options struct {
	// Can is what the store has said that it can do.
	Can backends.Capabilities
	// Login is as whom; its zero value is nobody: what can be found out without a login is.
	Login backends.ExamineRequest
	// Address is of the mailbox, for the question whether mail would be taken; empty: it is not asked.
	Address string
	// MustRefuse is somebody whose mailbox must not be opened; its zero value: it is not tried.
	MustRefuse backends.Credential
	// SendToSelf has a mail sent from Address to itself, and waited for.
	SendToSelf bool
	// Patience is for how long that is waited for [2 min].
	Patience time.Duration
}

// Run examines a store that has started, and tells each step. The error is of an examination that could not be carried out.
func Run(ctx context.Context, store backends.Store, o Options, tell func(backends.Step)) error {
	failed := false
	e := &examination{Way: probe.New(ctx, func(s backends.Step) {
		failed = failed || s.Outcome == backends.StepFailed
		tell(s)
	}), store: store, options: o}
	if examiner, ok := store.(backends.Examiner); ok && o.Can.Examiner {
		err := examiner.Examine(ctx, o.Login, func(s backends.Step) {
			failed = failed || s.Outcome == backends.StepFailed
			tell(s)
		})
		if err != nil {
			return err
		}
	} else if e.Step("health", e.health) && e.recipient() && e.login() {
		e.read()
	}
	if o.MustRefuse.Kind != 0 {
		e.Step("must refuse "+o.MustRefuse.User, e.mustRefuse)
	}
	if o.SendToSelf && failed {
		e.Skip("send", "a step before it has failed")
	} else if o.SendToSelf {
		e.sendToSelf()
	}
	return ctx.Err()
}

// examination is one run.
type examination struct {
	*probe.Way
	store   backends.Store
	options Options
}

func (e *examination) health(ctx context.Context) (probe.Found, error) {
	return probe.Found{Detail: "the store says that it can be used"}, e.store.Health(ctx)
}

// recipient asks whether mail for the mailbox would be taken. That it would not is a warning: the mailbox may be there to be read alone.
func (e *examination) recipient() bool {
	receiver, ok := e.store.(backends.Receiver)
	switch {
	case !ok || !e.options.Can.Receiver:
		e.Skip("recipient", "the store takes no mail in")
		return true
	case e.options.Address == "":
		e.Skip("recipient", "no address was named")
		return true
	}
	e.Step("recipient", func(ctx context.Context) (probe.Found, error) {
		verdicts, err := receiver.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(e.options.Address)})
		if err == nil && len(verdicts) == 1 && verdicts[0].Failure != nil {
			err = verdicts[0].Failure
		}
		if err != nil {
			return probe.Found{Detail: err.Error(), Warning: probe.CauseOf(err)}, nil
		}
		return probe.Found{Detail: "mail for " + e.options.Address + " is taken"}, nil
	})
	return true
}

// login goes on if somebody logs in.
func (e *examination) login() bool {
	if e.options.Login.Credential.Kind == 0 {
		e.Skip("login", "nobody logs in: name a mailbox")
		return false
	}
	return e.Step("login", func(ctx context.Context) (probe.Found, error) {
		account, err := e.store.Login(ctx, e.options.Login.Credential)
		return probe.Found{Detail: fmt.Sprintf("account %q, %d addresses to send as", account.ID, len(account.Addresses))}, probe.Said(err)
	})
}

// read opens the folder and reads its first message.
func (e *examination) read() {
	reader, ok := e.store.(backends.Reader)
	if !ok || !e.options.Can.Reader {
		e.Skip("open", "the store's mailboxes cannot be read")
		return
	}
	e.Read(reader, backends.OpenRequest{Credential: e.options.Login.Credential, Folder: e.options.Login.Folder})
}

// mustRefuse tries to open somebody's mailbox. It is good that it is refused, whatever the reason is but an outage.
func (e *examination) mustRefuse(ctx context.Context) (probe.Found, error) {
	who := e.options.MustRefuse.User
	_, err := e.store.Login(ctx, e.options.MustRefuse)
	if err == nil {
		return probe.Found{}, probe.Because(probe.ReachesAll, backends.Fail(backends.Permanent, "%s is let in", who))
	}
	// A mailbox that is not let in may be told as an outage of the store's, where no other one is known to be; a cause that says so
	// is a refusal.
	switch f := backends.AsFailure(err); f.Kind {
	case backends.BadCredentials, backends.Permanent, backends.NotFound, backends.AccountDisabled:
		return probe.Found{Detail: fmt.Sprintf("%s is refused, as it must be: %v", who, err)}, nil
	default:
		return probe.Found{Detail: fmt.Sprintf("it cannot be told whether %s would be let in: %v", who, err), Warning: probe.CauseOf(err)}, nil
	}
}
