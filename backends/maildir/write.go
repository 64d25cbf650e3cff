package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// written is a message in the tmp of one target, complete and synced.
type written struct {
	owner *target
	path  string
	name  string // what it will be called in new
}

// create makes the file in the tmp of the first target where that can be done. The others
// before it have failed. nil: all have.
func (d *delivering) create(unique string) (*written, file) {
	for _, t := range d.pending() {
		f, err := t.box.create(unique)
		if err == nil {
			t.box.sweep()
			return &written{owner: t, path: filepath.Join(t.box.dir, "tmp", unique)}, f
		}
		t.failure = storageFailure("making a file for a message", err)
	}
	return nil, nil
}

// create makes a file in tmp, and the folders if need be.
func (b *box) create(name string) (file, error) {
	if err := b.make(); err != nil {
		return nil, err
	}
	path := filepath.Join(b.dir, "tmp", name)
	f, err := b.disk.Create(path)
	if isGone(err) { // somebody has removed the mailbox's folders since they were made
		b.forget()
		if err = b.make(); err == nil {
			f, err = b.disk.Create(path)
		}
	}
	return f, err
}

// write takes the content to disk. A written that is nil with no error means that no target
// can have it, and that each knows why; an error, that the content could not be read.
func (d *delivering) write(in *source) (*written, error) {
	unique := d.use.names.unique(d.Key)
	m, f := d.create(unique)
	if m == nil {
		return nil, nil
	}
	stored, canonical, err := d.fill(f, in)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		m.name = sized(unique, stored, canonical)
		if d.fit(stored); len(d.pending()) > 0 {
			return m, nil
		}
	}
	d.discard(m.path)
	switch {
	case in.err != nil:
		return nil, contentFailure(in.err)
	case in.tooLong:
		d.failAll(tooLarge(in.got, in.most))
	case err != nil:
		d.failAll(storageFailure("writing a message", err))
	}
	return nil, nil
}

// fill writes the Return-Path and the message, and says how long both are on the disk and in
// canonical form.
//
// RFC 5321 §4.4: the final delivery puts the reverse-path in front.
func (d *delivering) fill(f file, content io.Reader) (stored, canonical int64, err error) {
	head := "Return-Path: <" + d.From + ">\r\n"
	in := crlf.NewReader(io.MultiReader(strings.NewReader(head), content))
	defer in.Release()
	to := &tally{dst: f}
	if !d.use.LF {
		canonical, err = in.WriteTo(to)
		return to.n, canonical, err
	}
	out := crlf.NewWriter(to)
	canonical, err = in.WriteTo(out)
	if flushing := out.Flush(); err == nil {
		err = flushing
	}
	return to.n, canonical, err
}

// tally counts what goes to the disk.
type tally struct {
	dst io.Writer
	n   int64
}

func (t *tally) Write(p []byte) (int, error) {
	n, err := t.dst.Write(p)
	t.n += int64(n)
	return n, err
}

// fit checks the quotas again, now that the size is known and not only announced.
func (d *delivering) fit(stored int64) {
	if stored <= d.Size {
		return
	}
	for _, t := range d.pending() {
		if t.release != nil {
			t.release(false)
		}
		t.release, t.failure = t.box.reserve(t.quota, stored)
	}
}

// source is the content of a delivery. It remembers that reading failed, which is another
// thing than that writing did, and ends when the call does.
type source struct {
	ctx     context.Context
	closed  func() bool
	src     io.Reader
	most    int64 // octets that are allowed; 0: any number
	got     int64
	tooLong bool
	whole   bool // the end has come
	err     error
}

var errTooLong = errors.New("the message is longer than the store takes")

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err == nil && s.closed() {
		s.err = errClosed
	}
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.src.Read(p)
	s.got += int64(n)
	switch {
	case s.most > 0 && s.got > s.most:
		s.tooLong = true
		return 0, errTooLong
	case err == io.EOF:
		s.whole = true
	case err != nil:
		s.err = err
		return n, fmt.Errorf("reading the content: %w", err)
	}
	return n, err
}

// drain reads what is left: even a message that nobody needs again is delivered only if its
// content comes to its end.
func (s *source) drain() error {
	if s.whole {
		return nil
	}
	s.most = 0
	if _, err := io.Copy(io.Discard, s); err != nil {
		return contentFailure(s.err)
	}
	return nil
}

// contentFailure is that of a call whose content could not be read to its end.
func contentFailure(err error) error {
	if f, ok := errors.AsType[*backends.Failure](err); ok {
		return f
	}
	return backends.Fail(backends.Temporary, "reading the content: %w", err)
}
