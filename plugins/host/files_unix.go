//go:build linux || darwin

package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/backends/descriptors"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// fileSocket is the gateway's end of the socket over which a plugin hands open files over. It has
// no goroutine: a plugin sends a record before it tells of it on the maildrop's stream, so that
// the record is there when it is looked for, or never comes.
type fileSocket struct {
	mu      sync.Mutex
	fd      int
	closed  bool
	refused bool   // no more files are taken
	number  uint64 // given out last
	room    int    // files that may still be asked for
	waiting map[uint64]*handover
	places  places
}

// handover is what one fetch may get and has got.
type handover struct {
	left    int     // files that may still come
	records [][]int // that have come, and are not taken yet
}

// newFileSocket makes both ends. The plugin's is to be closed when the plugin has it.
func newFileSocket() (*fileSocket, *os.File, error) {
	fds, err := socketPair()
	if err != nil {
		return nil, nil, fmt.Errorf("no socket for files: %w", err)
	}
	s := &fileSocket{fd: fds[0], room: min(filesMost, mostDescriptors()/4), waiting: make(map[uint64]*handover)}
	return s, os.NewFile(uintptr(fds[1]), "files"), nil
}

// mostDescriptors is how many descriptors this process may have.
func mostDescriptors() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<20))
}

// expect makes a number under which a fetch may get so many files; 0: it gets none.
func (s *fileSocket) expect(n int) uint64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.refused || s.room < n {
		return 0
	}
	s.room -= n
	s.number++
	s.waiting[s.number] = &handover{left: n}
	return s.number
}

// take gives the files of the next record of a number.
func (s *fileSocket) take(number uint64, n int) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.waiting[number]
	if h == nil {
		return nil, errors.New("open files for a fetch that has ended")
	}
	s.receive()
	if len(h.records) == 0 || len(h.records[0]) != n {
		return nil, fmt.Errorf("a frame of %d open files, whose record on the socket is missing or another", n)
	}
	fds := h.records[0]
	h.records = h.records[1:]
	return fds, nil
}

// receive takes what is on the socket. s.mu is held.
func (s *fileSocket) receive() {
	var record [wire.FilesRecord + 1]byte // one octet more shows a record that is too long
	rights := make([]byte, unix.CmsgSpace(4*wire.FilesMost))
	for !s.closed {
		n, m, flags, err := receiveRecord(s.fd, record[:], rights)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 && m == 0 {
			return // nothing more; or the plugin has ended
		}
		fds := rightsIn(rights[:m])
		h := s.waiting[binary.BigEndian.Uint64(record[:wire.FilesRecord])]
		if n != wire.FilesRecord || flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 || h == nil || len(fds) > h.left {
			descriptors.Close(fds) // nobody waits for it, or it breaks the rules, which its frame will show
			continue
		}
		h.left -= len(fds)
		h.records = append(h.records, fds)
	}
}

// rightsIn are the descriptors in a control message.
func rightsIn(control []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for i := range messages {
		if rights, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, rights...)
		}
	}
	return fds
}

// forget ends a number: what comes under it is closed.
func (s *fileSocket) forget(number uint64) {
	if s == nil || number == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.waiting[number]
	if h == nil {
		return
	}
	if h.left > 0 {
		s.receive() // records whose frame does not come any more
	}
	delete(s.waiting, number)
	s.room += h.left
	for _, fds := range h.records {
		s.room += len(fds)
		descriptors.Close(fds)
	}
}

// drop closes files that were taken.
func (s *fileSocket) drop(fds ...int) {
	descriptors.Close(fds)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room += len(fds)
}

// refuse ends the asking for files.
func (s *fileSocket) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = true
}

// fit says why a file is not one that the gateway reads itself: only regular files are, on file
// systems of this machine. A read that hangs would hang the gateway (I10). stored is how many octets the file has.
func (s *fileSocket) fit(fd int) (stored int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places.fit(fd)
}

// close closes the gateway's end, when the process has ended.
func (s *fileSocket) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = unix.Close(s.fd)
	}
	for _, h := range s.waiting {
		for _, fds := range h.records {
			descriptors.Close(fds)
		}
	}
	clear(s.waiting)
}

// readAt reads from an offset; 0 octets: there is nothing.
func readAt(fd int, p []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(fd, p, offset)
		if !errors.Is(err, unix.EINTR) {
			return max(0, n), err
		}
	}
}
