//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// all lets each client have its sessions, and adds up what they did.
func (w work) all(do func(*client, *Result) error) (Result, error) {
	results, errs := make([]Result, w.clients), make([]error, w.clients)
	times := make([][]took, w.clients)
	var clients sync.WaitGroup
	for i := range w.clients {
		clients.Go(func() { times[i], errs[i] = w.sessions(i, &results[i], do) })
	}
	clients.Wait()
	var sum Result
	for _, r := range results {
		sum.Sessions += r.Sessions
		sum.Messages += r.Messages
		sum.Octets += r.Octets
		sum.Sum += r.Sum
	}
	each := slices.Concat(times...)
	sum.Login = median(each, func(t took) time.Duration { return t.login })
	sum.Work = median(each, func(t took) time.Duration { return t.work })
	return sum, errors.Join(errs...)
}

// took is how long the parts of a session took.
type took struct{ login, work time.Duration }

func median(all []took, part func(took) time.Duration) float64 {
	if len(all) == 0 {
		return 0
	}
	values := make([]time.Duration, len(all))
	for i, t := range all {
		values[i] = part(t)
	}
	slices.Sort(values)
	return values[len(values)/2].Seconds()
}

func (w work) sessions(number int, r *Result, do func(*client, *Result) error) ([]took, error) {
	times := make([]took, 0, w.rounds)
	for range w.rounds {
		t, err := w.session(number, r, do)
		if err != nil {
			return nil, fmt.Errorf("client %d: %w", number, err)
		}
		times = append(times, t)
	}
	return times, nil
}

func (w work) session(number int, r *Result, do func(*client, *Result) error) (t took, err error) {
	begin := time.Now()
	c, err := w.login(number)
	if err != nil {
		return t, err
	}
	defer c.close()
	t.login = time.Since(begin)
	begin = time.Now()
	if err := do(c, r); err != nil {
		return t, err
	}
	t.work = time.Since(begin)
	r.Sessions++
	return t, c.quit()
}

func (w work) login(number int) (*client, error) {
	c, err := dial(w.address, w.secure)
	if err != nil {
		return nil, err
	}
	user := w.user
	if slices.Contains([]byte(user), '%') {
		user = fmt.Sprintf(user, number)
	}
	if err = c.login(user, w.password); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// stat is the shortest session that looks at the maildrop.
func stat(c *client, _ *Result) error {
	_, err := c.ask("STAT")
	return err
}

// list is what a client does first in a maildrop from which it has taken nothing yet.
func list(c *client, r *Result) error {
	if err := stat(c, r); err != nil {
		return err
	}
	ids, err := c.listing("UIDL")
	if err != nil {
		return err
	}
	sizes, err := c.listing("LIST")
	if err == nil && sizes != ids {
		err = fmt.Errorf("UIDL has %d messages, and LIST %d", ids, sizes)
	}
	r.Messages += sizes
	return err
}

// first reads the first message, and nothing before it.
func first(c *client, r *Result) error {
	return c.retrieve(1, 1, 1, r)
}

// drain lists, and reads every message.
func (w work) drain(c *client, r *Result) error {
	var listed Result
	if err := list(c, &listed); err != nil {
		return err
	}
	return c.retrieve(1, listed.Messages, w.pipeline, r)
}

// atOnce is how many clients log in together before they are idle.
const atOnce = 8

// idle logs all clients in, says so, and keeps the sessions until its input ends.
func (w work) idle(out io.Writer, in io.Reader) error {
	clients, errs := make([]*client, w.clients), make([]error, w.clients)
	var logins sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range w.clients {
		turns <- struct{}{}
		logins.Go(func() {
			defer func() { <-turns }()
			if clients[i], errs[i] = w.login(i); errs[i] == nil {
				errs[i] = stat(clients[i], nil)
			}
		})
	}
	logins.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(out, "{}")
	_, _ = io.Copy(io.Discard, in)
	var left []error
	for _, c := range clients {
		left = append(left, c.quit())
	}
	return errors.Join(left...)
}
