package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

func (s *store) Resolve(_ context.Context, q backends.ResolveQuery) ([]backends.Verdict, error) {
	all, err := s.accounts()
	if err != nil {
		return nil, err
	}
	verdicts := make([]backends.Verdict, len(q.Recipients))
	for i, r := range backends.Addresses(q.Recipients) {
		verdicts[i].Recipient = r
		if _, known := all[strings.ToLower(r)]; known {
			verdicts[i].Account = strings.ToLower(r)
		} else {
			verdicts[i].Failure = backends.Fail(backends.NotFound, "recipient %q", r)
		}
	}
	return verdicts, nil
}

func (s *store) Deliver(ctx context.Context, d backends.Delivery, content io.Reader) ([]backends.Verdict, error) {
	verdicts, err := s.Resolve(ctx, backends.ResolveQuery{Recipients: d.Recipients})
	if err != nil {
		return nil, err
	}
	spool := "spool-" + rand.Text()
	defer s.root.Remove(spool) //nolint:errcheck // what stays behind is never a message
	if err := s.write(spool, content); err != nil {
		return nil, backends.Fail(backends.Temporary, "taking the message in: %w", err)
	}
	for i := range verdicts {
		if verdicts[i].Failure != nil {
			continue
		}
		if err := s.file(spool, d, strings.ToLower(verdicts[i].Recipient)); err != nil {
			verdicts[i].Failure = backends.Fail(backends.Temporary, "filing the message: %w", err)
		}
	}
	return verdicts, nil
}

// write writes content to a new file, to its end and to the disk, or fails.
func (s *store) write(name string, content io.Reader) error {
	file, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content) // any end of content but io.EOF is an error
	return errors.Join(err, file.Sync(), file.Close())
}

// file gives a recipient its copy, complete and under its name in one step. The name is made of
// the delivery's key: what has been delivered is found again.
func (s *store) file(spool string, d backends.Delivery, address string) error {
	dir, err := s.inbox(address)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // nothing is written through it
	name := fmt.Sprintf("%x.eml", sha256.Sum256([]byte(d.Key)))
	s.files.Lock()
	defer s.files.Unlock()
	for _, taken := range []string{name, gone(name)} {
		if _, err := dir.Lstat(taken); !errors.Is(err, fs.ErrNotExist) {
			return err // nil: it is there already, or has been
		}
	}
	copied := spool + "-" + name
	defer s.root.Remove(copied) //nolint:errcheck // it has moved, as a rule
	if err := s.copy(spool, copied); err != nil {
		return err
	}
	if err := s.root.Rename(copied, address+"/"+name); err != nil {
		return err
	}
	return errors.Join(s.sync(address), s.sync("."))
}

// gone is what stays of a message that was removed: its name.
func gone(name string) string { return strings.TrimSuffix(name, ".eml") + ".gone" }

// copy makes a file of its own for a recipient, received now.
func (s *store) copy(from, to string) error {
	source, err := s.root.Open(from)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // it was only read
	if err := s.write(to, source); err != nil {
		return err
	}
	now := time.Now()
	return s.root.Chtimes(to, now, now)
}

// sync brings the entries of a folder to the disk. Windows does so unasked.
func (s *store) sync(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
