package host

import (
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// filesMost is how many open files of one plugin the gateway has at once, and has asked for. More
// messages come in chunks.
const filesMost = 1024

// textOf is what the file holds, in canonical form.
func (c *content) textOf() *crlf.Reader {
	if c.text == nil {
		c.text = crlf.NewReader(&fileReader{c: c, offset: c.offset, left: c.length})
	}
	return c.text
}

func (c *content) readFile(p []byte) (int, error) {
	n, err := c.textOf().Read(p)
	if c.came += int64(n); err == io.EOF {
		err = c.fileEnded()
	}
	if c.declined(err) {
		return c.readInstead(p)
	}
	return n, err
}

func (c *content) writeFile(w io.Writer) (int64, error) {
	n, err := c.textOf().WriteTo(w)
	if c.came += n; c.declined(err) {
		return c.writeInstead(w)
	}
	if err != nil {
		return n, err
	}
	if err = c.fileEnded(); err == io.EOF {
		err = nil
	}
	return n, err
}

// errNotRegular is a file that is none: a pipe, a socket, a device or a folder.
var errNotRegular = errors.New("it is not a regular file")

// errUnreadable is a file that cannot be read, as one that was opened to be written alone.
var errUnreadable = errors.New("reading a message's file")

// declined says whether the message is to be asked for in chunks, as nothing of its file can be read.
func (c *content) declined(err error) bool {
	if c.came > 0 || !errors.Is(err, errUnreadable) {
		return false
	}
	c.f.m.g.noFiles(err)
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.again = true
	c.closeFile()
	return true
}

// fileEnded holds what came against the size that was told: another program has changed the file
// where they differ, and the message is not complete (I3). The store does not see what the gateway
// reads, and would tell the same size for ever; so it is made to read the message itself.
func (c *content) fileEnded() error {
	if c.size < 0 || c.came == c.size {
		return io.EOF
	}
	if again, err := c.f.m.fetch(c.ctx, c.f.request.One(c.index)); err == nil {
		_, _ = io.Copy(io.Discard, again)
		_ = again.Close()
	}
	return backends.Fail(backends.Temporary, "a message's file gave %d octets and not %d: another program has changed it", c.came, c.size)
}

// fileReader reads the part of a file that is a message. It never waits for anything but the disk.
type fileReader struct {
	c      *content
	offset int64
	left   int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if err := r.c.ctx.Err(); err != nil {
		return 0, backends.AsFailure(err)
	}
	if err := r.c.f.m.alive(); err != nil {
		return 0, err
	}
	if r.c.fd < 0 {
		return 0, errClosedContent
	}
	n, err := readAt(r.c.fd, p[:min(int64(len(p)), r.left)], r.offset)
	if err != nil {
		return 0, backends.Fail(backends.Temporary, "%w: %w", errUnreadable, err)
	}
	if n == 0 {
		return 0, backends.Fail(backends.Temporary, "a message's file was cut while it was read: %d octets are missing", r.left)
	}
	r.offset += int64(n)
	r.left -= int64(n)
	return n, nil
}

// closeFile closes the open file, at the latest with its fetch: files that came together have
// descriptors in a row, and one system call closes these. c.f.mu is held.
func (c *content) closeFile() {
	if c.fd >= 0 {
		c.f.done = append(c.f.done, c.fd)
		c.fd = -1
	}
	if c.f.closed {
		c.f.closeFiles()
	}
}

// closeFiles closes the files that nobody reads any more. f.mu is held.
func (f *flow) closeFiles() {
	if len(f.done) > 0 {
		f.m.g.files.drop(f.done...)
		f.done = nil
	}
}

// other is the message in chunks, where its file could not be taken.
func (c *content) other() (backends.Content, error) {
	c.f.mu.Lock()
	closed := c.closed
	c.f.mu.Unlock()
	if closed {
		return nil, errClosedContent
	}
	if c.instead == nil {
		instead, err := c.f.m.Fetch(c.ctx, c.f.request.One(c.index))
		if err != nil {
			return nil, err
		}
		c.instead = instead
	}
	return c.instead, nil
}

func (c *content) readInstead(p []byte) (int, error) {
	instead, err := c.other()
	if err != nil {
		return 0, err
	}
	return instead.Read(p)
}

func (c *content) writeInstead(w io.Writer) (int64, error) {
	instead, err := c.other()
	if err != nil {
		return 0, err
	}
	return instead.(io.WriterTo).WriteTo(w)
}

// noFiles notes why files are not taken over: no more of them are asked for.
func (g *generation) noFiles(why error) {
	g.files.refuse()
	g.noted.Do(func() {
		g.log.Info().Err(why).Msg("the store's files are not read by the gateway itself; its messages come through the plugin")
	})
}
