package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// maildrop is an account's folder, open.
type maildrop struct {
	store   *store
	account backends.Account
	dir     *os.Root
	alive   context.Context // ends with Close, and with the store's
	end     context.CancelFunc
}

func (s *store) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	account, err := s.Login(ctx, r.Credential)
	if err != nil {
		return nil, err
	}
	if r.Folder != "" {
		return nil, backends.Fail(backends.NotFound, "the folder %q: there is an inbox and no more", r.Folder)
	}
	dir, err := s.inbox(account.ID)
	if err != nil {
		return nil, err
	}
	alive, end := context.WithCancel(s.alive) // not ctx, which bounds the opening alone
	return &maildrop{store: s, account: account, dir: dir, alive: alive, end: end}, nil
}

// inbox opens the folder of an account, which is made when it is first asked for.
func (s *store) inbox(address string) (*os.Root, error) {
	if err := s.root.Mkdir(address, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, backends.Fail(backends.Temporary, "the inbox: %w", err)
	}
	dir, err := s.root.OpenRoot(address)
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "the inbox: %w", err)
	}
	return dir, nil
}

// Opened says whose folder is open, and which, whatever name it was asked for by: there is one.
func (d *maildrop) Opened() backends.Opened {
	return backends.Opened{Account: d.account, FolderID: "INBOX"}
}

func (d *maildrop) Close() error {
	d.end()
	return d.dir.Close()
}

// over says that a call, or what it belongs to, has ended.
func over(call, alive context.Context) error {
	if err := cmp.Or(call.Err(), alive.Err()); err != nil {
		return backends.Fail(backends.Temporary, "the call, or the maildrop, has ended: %w", err)
	}
	return nil
}

func (d *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		entries, err := d.entries(ctx)
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(backends.Entry{}, err) // what came before is not the whole list
		}
	}
}

// entries is the list, oldest first.
func (d *maildrop) entries(ctx context.Context) ([]backends.Entry, error) {
	files, err := fs.ReadDir(d.dir.FS(), ".")
	if err != nil {
		return nil, backends.Fail(backends.Temporary, "listing: %w", err)
	}
	var all []backends.Entry
	for _, f := range files {
		if err := over(ctx, d.alive); err != nil {
			return nil, err
		}
		e, err := d.entry(f.Name())
		switch {
		case errors.Is(err, fs.ErrNotExist): // it is gone since, or no message
		case err != nil:
			return nil, backends.Fail(backends.Temporary, "listing: %w", err)
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b backends.Entry) int {
		return cmp.Or(a.Received.Compare(b.Received), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// entry is one message. Other programs may have written it with LF: its size is that of the
// canonical form, and only reading the file tells it.
func (d *maildrop) entry(name string) (backends.Entry, error) {
	file, info, err := d.open(name)
	if err != nil {
		return backends.Entry{}, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	size, err := crlf.Length(file)
	return backends.Entry{ID: backends.MessageID(name), Size: size, Exact: true, Received: info.ModTime().UTC()}, err
}

// open opens a message. What is no message, whatever else it is, does not exist: an id comes
// from a client. That it leads nowhere else, os.Root sees to.
func (d *maildrop) open(name string) (*os.File, fs.FileInfo, error) {
	if !strings.HasSuffix(name, ".eml") || strings.ContainsAny(name, "/\\\x00") {
		return nil, nil, fs.ErrNotExist
	}
	info, err := d.dir.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fs.ErrNotExist
	}
	file, err := d.dir.Open(name)
	return file, info, err
}

func (d *maildrop) Fetch(ctx context.Context, r backends.FetchRequest) (backends.Content, error) {
	if err := over(ctx, d.alive); err != nil {
		return nil, err
	}
	file, _, err := d.open(string(r.ID))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, backends.Fail(backends.NotFound, "message %q", r.ID)
	case err != nil:
		return nil, backends.Fail(backends.Temporary, "fetching: %w", err)
	}
	c := &content{Reader: crlf.NewReader(file), file: file, ctx: ctx, alive: d.alive}
	if r.Top {
		c.Reader = crlf.Top(c.Reader, r.Lines)
	}
	return c, nil
}

// content is a message on its way out.
type content struct {
	io.Reader
	file       *os.File
	ctx, alive context.Context
}

func (c *content) Size() int64 { return -1 } // List has told it

func (c *content) Close() error { return c.file.Close() }

func (c *content) Read(p []byte) (int, error) {
	if err := over(c.ctx, c.alive); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

func (d *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	if err := over(ctx, d.alive); err != nil {
		return nil, err
	}
	if disposal != backends.DisposalRemove {
		return nil, backends.Fail(backends.Unsupported, "disposal %d", disposal)
	}
	d.store.files.Lock()
	defer d.store.files.Unlock()
	removals := make([]backends.Removal, len(ids))
	for i, id := range ids {
		removals[i] = backends.Removal{ID: id, Failure: d.remove(string(id))}
	}
	return removals, nil
}

func (d *maildrop) remove(name string) *backends.Failure {
	file, _, err := d.open(name)
	if err == nil {
		_ = file.Close()
		err = errors.Join(d.leaveTombstone(name), d.dir.Remove(name))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return backends.Fail(backends.Temporary, "removing: %w", err)
	}
	return nil // gone, now or before
}

// leaveTombstone leaves an empty file in a message's place: the gateway may try its delivery again days
// later, and the client must not get it twice.
func (d *maildrop) leaveTombstone(name string) error {
	file, err := d.dir.OpenFile(gone(name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
