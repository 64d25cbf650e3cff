package wire

import "golang.org/x/sys/unix"

// FilesSocket is the type of the socket for files: records stay apart, and between two sockets of
// one system they are neither lost nor reordered.
const FilesSocket = unix.SOCK_DGRAM
