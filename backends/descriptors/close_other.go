//go:build unix && !linux

package descriptors

func closeRow(fds []int) { closeEach(fds) }
