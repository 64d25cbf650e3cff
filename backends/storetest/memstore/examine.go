package memstore

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Examine implements [backends.Examiner]: a login, the list of a folder, and its first message.
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	if err := s.enter(ctx, "examine"); err != nil {
		return err
	}
	if request.Credential.Kind == 0 {
		tell(backends.Step{Name: "login", Outcome: backends.StepSkipped, Detail: "nobody logs in"})
		return nil
	}
	began := time.Now()
	step := func(name, detail, cause string, err error) bool {
		told := backends.Step{Name: name, Outcome: backends.StepGood, Took: time.Since(began), Detail: detail}
		if began = time.Now(); err != nil {
			told.Outcome, told.Detail, told.Cause, told.Advice = backends.StepFailed, err.Error(), cause, "look at the store's settings"
		}
		tell(told)
		return err == nil
	}
	drop, err := s.Open(ctx, backends.OpenRequest{Credential: request.Credential, Folder: request.Folder})
	if !step("login", "", "login", err) {
		return nil
	}
	defer drop.Close() //nolint:errcheck // nothing was changed
	var first backends.MessageID
	n := 0
	for e, failed := range drop.List(ctx) {
		if err = failed; n == 0 {
			first = e.ID
		}
		n++
	}
	if !step("list", fmt.Sprintf("%d messages", n), "list", err) || n == 0 {
		return nil
	}
	c, err := drop.Fetch(ctx, backends.FetchRequest{ID: first})
	if err == nil {
		_, err = io.Copy(io.Discard, c)
		_ = c.Close()
	}
	step("first message", "", "message", err)
	return nil
}
