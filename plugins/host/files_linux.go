package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/dipylon/dipylon/plugins/proto/wire"
)

func socketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, wire.FilesSocket|unix.SOCK_CLOEXEC, 0)
}

func receiveRecord(fd int, record, rights []byte) (n, m, flags int, err error) {
	n, m, flags, _, err = unix.Recvmsg(fd, record, rights, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	return n, m, flags, err
}

// local are the types of file systems whose reads wait for a disk of this machine and for nothing
// else. Any other, NFS and FUSE among them, may keep a read waiting for ever. What an overlay lies
// on is the administrator's choice, as with every program that reads there.
var local = []string{"ext2", "ext3", "ext4", "xfs", "btrfs", "bcachefs", "f2fs", "jfs", "zfs", "tmpfs", "overlay"}

// places remembers which mounts have such a file system.
type places struct{ known map[uint64]error }

// fit asks the file system for nothing: the kernel answers of what it has in memory
// (AT_STATX_DONT_SYNC), and the mount's type stands in /proc. statfs would ask, and could hang
// itself.
func (p *places) fit(fd int) (stored int64, err error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_SIZE|unix.STATX_MNT_ID, &st); err != nil {
		return 0, fmt.Errorf("statx: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, errNotRegular
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return 0, errors.New("the kernel does not say on which mount it is (Linux 5.8 does)")
	}
	err, known := p.known[st.Mnt_id]
	if !known {
		err = localMount(st.Mnt_id)
		if p.known == nil {
			p.known = make(map[uint64]error)
		}
		p.known[st.Mnt_id] = err
	}
	return int64(st.Size), err
}

// localMount looks for a mount in /proc/self/mountinfo: its id is the first field, and the type
// the first one after " - " (proc_pid_mountinfo(5)).
func localMount(id uint64) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		number, rest, _ := bytes.Cut(line, []byte(" "))
		if string(number) != strconv.FormatUint(id, 10) {
			continue
		}
		_, kind, _ := bytes.Cut(rest, []byte(" - "))
		kind, _, _ = bytes.Cut(kind, []byte(" "))
		if !slices.Contains(local, string(kind)) {
			return fmt.Errorf("it is on a file system of type %q, where a read may hang", kind)
		}
		return nil
	}
	return errors.New("it is on a mount that the gateway does not see")
}
