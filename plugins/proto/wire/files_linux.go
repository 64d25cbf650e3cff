package wire

import "golang.org/x/sys/unix"

// FilesSocket is the type of the socket for files: records stay apart, and arrive in their order.
const FilesSocket = unix.SOCK_SEQPACKET
