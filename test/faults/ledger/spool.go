//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/spool"
	"github.com/dipylon/dipylon/gateway/state"
)

// page is how many messages of a spool are read at a time.
const page = 500

// readSpool reads what waits in a state: a folder, or postgres://…. A message that the spool has, but not as a whole,
// does not count.
func (b book) readSpool(ctx context.Context, at string) (err error) {
	if at == "" {
		return nil
	}
	o, folder := state.Options{Log: zerolog.Nop(), Folder: at}, at
	if strings.Contains(at, "://") {
		o.Folder, o.URL = "", at
		if folder, err = os.MkdirTemp("", "ledger"); err != nil {
			return err
		}
		defer os.RemoveAll(folder) //nolint:errcheck // it is in the folder for such things
	}
	db, err := state.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	s, err := spool.Open(ctx, spool.Options{Log: zerolog.Nop(), DB: db, Folder: filepath.Join(folder, "spool")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for after := spool.ID(0); ; {
		messages, err := s.List(ctx, spool.Filter{}, after, page)
		if err != nil || len(messages) == 0 {
			return err
		}
		for _, m := range messages {
			b.addStored(ctx, m)
			after = m.ID
		}
	}
}

// addStored notes a message of the spool.
func (b book) addStored(ctx context.Context, m *spool.Stored) {
	content, err := readStored(ctx, m)
	if err != nil {
		fmt.Fprintf(os.Stderr, "message %s of the spool cannot be read: %v\n", m.ID, err)
		return
	}
	var open []string
	for _, r := range m.Recipients {
		if !r.State.Final() {
			open = append(open, r.Address)
		}
	}
	b.addWaiting(content, open)
}

// addWaiting notes a message that a queue has for recipients of whom nothing final became. A report that waits has told
// its reader nothing yet, but it will.
func (b book) addWaiting(content []byte, recipients []string) {
	if id, failures, _ := reported(content); len(failures) > 0 {
		for _, to := range failures {
			b.at(id, to).report = true
		}
		return
	}
	id, whole := inspect(content)
	for _, to := range recipients {
		if f := b.at(id, to); whole {
			f.waits = true
		} else {
			f.damaged++
		}
	}
}

func readStored(ctx context.Context, m *spool.Stored) ([]byte, error) {
	if m.Odd != "" {
		return nil, errors.New(m.Odd)
	}
	in, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(in)
	return content, errors.Join(err, in.Close())
}
