package buffer_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// fails is storage whose files can be given another beginning, and fail at that, or at the commit behind it.
type fails struct {
	buffer.Storage
	head, commit error
}

func (f fails) Create() (buffer.File, error) {
	made, err := f.Storage.Create()
	return &failsFile{made, f, nil}, err
}

type failsFile struct {
	buffer.File
	fails
	err error
}

func (f *failsFile) Commit() error { return f.err }

func (f *failsFile) WithHead([]byte, int64) (buffer.File, error) {
	if f.head != nil {
		return nil, f.head
	}
	return &failsFile{f.File, f.fails, f.commit}, nil
}

// TestWithHeadFails: what fails in the storage is told as that, and what fails in the head is not.
func TestWithHeadFails(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		storage fails
		storing bool
		head    error
	}{
		"the head":    {fails{head: broken}, true, nil},
		"the commit":  {fails{commit: broken}, true, nil},
		"the reading": {fails{}, false, broken},
	} {
		t.Run(name, func(t *testing.T) {
			c.storage.Storage = buffer.Temporary{Folder: t.TempDir()}
			b, err := buffer.Fill(buffer.Options{Storage: c.storage, MemoryMost: 10}, strings.NewReader(strings.Repeat("x", 100)))
			if err != nil {
				t.Fatal(err)
			}
			defer b.Discard() //nolint:errcheck // it is a test's
			var head io.Reader = strings.NewReader("y")
			if c.head != nil {
				head = iotest.ErrReader(c.head)
			}
			made, err := b.WithHead(head, 5)
			if _, storing := errors.AsType[*buffer.StorageError](err); made != nil || !errors.Is(err, broken) || storing != c.storing {
				t.Errorf("%v, %v", made, err)
			}
		})
	}
}
