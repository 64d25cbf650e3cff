package maildir

import (
	"errors"
	"testing"
)

func mkfifo(string, uint32) error { return errors.ErrUnsupported }

func ownerIDs(t *testing.T, _ string) (uid, gid uint32) {
	t.Fatal("files have no such owners here")
	return 0, 0
}
