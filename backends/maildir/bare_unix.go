//go:build unix

package maildir

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/backends/descriptors"
	"github.com/dipylon/dipylon/backends/pickup"
)

// bareFile is a regular file, open for reading or for writing. An [os.File] would ask the poller to watch it, one
// system call for each message and in vain: the poller takes no regular files.
type bareFile struct {
	mu sync.Mutex // no descriptor is closed, and given to another file, while it is used
	fd int        // -1: closed
}

// openForReading follows no link at the end of the path and waits for no other end of a pipe.
func openForReading(path string) (readable, error) {
	f, err := openBare(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK)
	if err != nil {
		return nil, err // and not a file that is a nil *bareFile
	}
	return f, nil
}

// createForWriting makes a new file of mode 0600.
func createForWriting(path string) (file, error) {
	f, err := openBare(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func openBare(path string, flags int) (*bareFile, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
		switch {
		case err == nil:
			return &bareFile{fd: fd}, nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// use calls f with the descriptor, and again while a signal interrupts it.
func (b *bareFile) use(f func(fd int) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fd < 0 {
		return fs.ErrClosed
	}
	for {
		if err := f(b.fd); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Read implements [io.Reader].
func (b *bareFile) Read(p []byte) (int, error) {
	return b.read(len(p), func(fd int) (int, error) { return unix.Read(fd, p) })
}

// ReadAt implements [io.ReaderAt].
func (b *bareFile) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = b.read(len(p)-n, func(fd int) (int, error) { return unix.Pread(fd, p[n:], offset+int64(n)) })
		n += m
	}
	return n, err
}

// Write implements [io.Writer].
func (b *bareFile) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		err = b.use(func(fd int) error {
			m, err := unix.Write(fd, p[n:])
			if n += max(0, m); err == nil && m == 0 {
				err = io.ErrShortWrite
			}
			return err
		})
	}
	return n, err
}

// Sync has what was written on the disk.
func (b *bareFile) Sync() error { return b.use(unix.Fsync) }

// read reads up to so many octets; io.EOF: there are no more.
func (b *bareFile) read(most int, from func(fd int) (int, error)) (n int, err error) {
	err = b.use(func(fd int) (err error) {
		n, err = from(fd)
		return err
	})
	if err == nil && n == 0 && most > 0 {
		err = io.EOF
	}
	return max(0, n), err
}

func (b *bareFile) stat() (now pickup.Sight, regular bool, err error) {
	var st unix.Stat_t
	err = b.use(func(fd int) error { return unix.Fstat(fd, &st) })
	return pickup.Sight{Size: st.Size, Changed: time.Unix(st.Mtim.Unix())}, st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// Close implements [io.Closer].
func (b *bareFile) Close() error {
	fd := b.detach()
	if fd < 0 {
		return fs.ErrClosed
	}
	return unix.Close(fd)
}

// detach takes the descriptor off the file, which is as good as closed then; -1: it is closed.
func (b *bareFile) detach() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	fd := b.fd
	b.fd = -1
	return fd
}

// closing closes files of messages that were asked for together, some at a time: their descriptors
// are mostly in a row, and one system call closes these.
type closing struct {
	mu    sync.Mutex
	fds   []int
	ended bool
}

// closedTogether is how many files wait for being closed at the most.
const closedTogether = 16

// add takes a file over, to be closed now or by end. It does not take what is no bare file, nor one
// that is closed.
func (c *closing) add(f readable) bool {
	bare, is := f.(*bareFile)
	if !is {
		return false
	}
	fd := bare.detach()
	if fd < 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fds = append(c.fds, fd); c.ended || len(c.fds) == closedTogether {
		c.closeAll()
	}
	return true
}

// end closes what is left. A file that is added later is closed at once.
func (c *closing) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.closeAll()
}

// closeAll closes the files that were added. c.mu is held.
func (c *closing) closeAll() {
	descriptors.Close(c.fds)
	c.fds = c.fds[:0]
}

// SyscallConn implements [syscall.Conn].
func (b *bareFile) SyscallConn() (syscall.RawConn, error) { return bareConn{b}, nil }

type bareConn struct{ file *bareFile }

// Control implements [syscall.RawConn].
func (c bareConn) Control(f func(fd uintptr)) error {
	return c.file.use(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

// Read implements [syscall.RawConn]. Nothing waits for a regular file.
func (bareConn) Read(func(fd uintptr) bool) error { return errors.ErrUnsupported }

// Write implements [syscall.RawConn].
func (bareConn) Write(func(fd uintptr) bool) error { return errors.ErrUnsupported }
