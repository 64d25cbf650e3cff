package maildir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/probe"
)

var _ backends.Examiner = (*Store)(nil)

const (
	// outboxesExamined and filesExamined bound the accounts whose outboxes an examination looks into, and the files that it opens.
	outboxesExamined = 1000
	filesExamined    = 200
)

// Examine implements [backends.Examiner].
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	use, err := s.inUse()
	if err != nil {
		return err
	}
	w := probe.New(ctx, tell)
	c := request.Credential
	switch {
	case !w.Step("health", func(ctx context.Context) (probe.Found, error) {
		return probe.Found{Detail: "the root folder and the accounts file can be used"}, s.Health(ctx)
	}):
		return w.Err()
	case use.Outbox:
		s.examineOutboxes(w, use)
	}
	if c.Kind == 0 {
		w.Skip("login", "nobody logs in: name a mailbox")
		return w.Err()
	}
	s.examineRecipient(w, c)
	if w.Step("login", func(ctx context.Context) (probe.Found, error) {
		account, err := s.Login(ctx, c)
		return probe.Found{Detail: fmt.Sprintf("account %q, %d addresses to send as", account.ID, len(account.Addresses))}, probe.Said(err)
	}) {
		w.Read(s, backends.OpenRequest{Credential: request.Credential, Folder: request.Folder})
	}
	return w.Err()
}

// examineRecipient asks whether mail for the mailbox would be taken. That it would not is a warning: it may be there to be read alone.
func (s *Store) examineRecipient(w *probe.Way, c backends.Credential) {
	w.Step("recipient", func(ctx context.Context) (probe.Found, error) {
		verdicts, err := s.Resolve(ctx, backends.ResolveQuery{Recipients: backends.To(c.User)})
		if err == nil && verdicts[0].Failure != nil {
			err = verdicts[0].Failure
		}
		if err != nil {
			return probe.Found{Detail: err.Error(), Warning: probe.CauseOf(err)}, nil
		}
		return probe.Found{Detail: "mail for " + c.User + " is taken"}, nil
	})
}

// examineOutboxes looks into the accounts' outboxes: the first one that cannot be worked in ends the step.
func (s *Store) examineOutboxes(w *probe.Way, use *inUse) {
	var p probe.Picked
	there := 0
	if !w.Step("outboxes", func(ctx context.Context) (found probe.Found, err error) {
		accounts := use.accounts.directory().accounts
		for _, a := range accounts[:min(len(accounts), outboxesExamined)] {
			dir := filepath.Join(boxDir(use.Root, a.address), outboxFolder)
			if _, err := os.Lstat(dir); isGone(err) || a.disabled || ctx.Err() != nil {
				continue // it is made where there is a mailbox
			}
			one, err := probe.Folder(dir, "new", "cur")
			if err != nil {
				return found, err
			}
			if there++; found.Warning == (probe.Cause{}) {
				found.Warning, found.Detail = one.Warning, one.Detail
			}
			examineOutbox(&p, dir, time.Now())
		}
		if found.Warning == (probe.Cause{}) {
			found.Detail = fmt.Sprintf("%d accounts have one, which can be worked in", there)
		}
		return found, nil
	}) {
		return
	}
	w.Step("files in the outboxes", func(context.Context) (probe.Found, error) { return p.Found(), nil })
}

// examineOutbox counts what lies in an outbox.
func examineOutbox(p *probe.Picked, dir string, now time.Time) {
	for _, part := range []string{"new", "cur"} {
		all, err := os.ReadDir(filepath.Join(dir, part))
		if err != nil {
			p.Bad(probe.FilesUnreadable, filepath.Join(dir, part), err)
			continue
		}
		for _, e := range all {
			name, path := e.Name(), filepath.Join(dir, part, e.Name())
			info, err := e.Info()
			if err != nil || name[0] == '.' {
				continue
			}
			if _, until, ok := claimOf(name); ok && part == "cur" {
				p.Claimed(path, until, now, leaseMost)
			} else {
				p.Fresh(path, info.ModTime(), now)
			}
			if p.Waiting+p.Taken <= filesExamined {
				p.Readable(func() error { return canOpen(path) }, path)
			}
		}
	}
}

// canOpen opens a file that is one.
func canOpen(path string) error {
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoRegular
	}
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}
