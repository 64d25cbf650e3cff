package spool

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Incoming makes files for messages that are written as they come, before it is known whether the spool will get them,
// and with which header. With SQLite, Accept makes such a file the message's own once it has its head
// ([buffer.Buffer.WithHead]), and it is synced then and no sooner.
//
// A file has room in front for the head. In a message's file the prologue says where the content begins:
//
//	magic, 8 octets | start, 8 octets | unused | head | rest of the message
func (s *Spool) Incoming() buffer.Storage {
	if s.db.Shared() {
		return s.Storage()
	}
	return incoming{s.files}
}

const (
	headRoom      = 4 << 10 // in front of what comes: a trace field, and what a header grows by
	prologueMagic = "dipylon\x01"
	prologueSize  = int64(len(prologueMagic)) + 8
)

type incoming struct{ in *files }

// Create implements [buffer.Storage].
func (i incoming) Create() (buffer.File, error) {
	made, err := i.in.create()
	if err != nil {
		return nil, err
	}
	if _, err := made.Seek(headRoom, io.SeekStart); err != nil {
		return nil, errors.Join(err, made.Discard())
	}
	return &incomingFile{made}, nil
}

// incomingFile is a message as it came.
type incomingFile struct{ *file }

// ReadAt implements [buffer.File].
func (f *incomingFile) ReadAt(p []byte, offset int64) (int, error) {
	return readFrom(f.file, headRoom, p, offset)
}

// Commit implements [buffer.File]. Most messages go to a store at once, and their files with them.
func (f *incomingFile) Commit() error { return nil }

// WithHead implements [buffer.Headed].
func (f *incomingFile) WithHead(head []byte, from int64) (buffer.File, error) {
	start := headRoom + from - int64(len(head))
	if start < prologueSize {
		return nil, nil
	}
	if _, err := f.WriteAt(head, start); err != nil {
		return nil, err
	}
	return &headedFile{file: f.file, start: start}, nil
}

// headedFile is a message that has its head.
type headedFile struct {
	*file
	start int64 // of the content
}

// ReadAt implements [buffer.File].
func (f *headedFile) ReadAt(p []byte, offset int64) (int, error) {
	return readFrom(f.file, f.start, p, offset)
}

// Commit implements [buffer.File]: all of it is on the disk.
func (f *headedFile) Commit() error {
	if _, err := f.WriteAt(binary.BigEndian.AppendUint64([]byte(prologueMagic), uint64(f.start)), 0); err != nil {
		return err
	}
	return f.file.Commit()
}

// Discard implements [buffer.File]: who has the message as it came discards that.
func (f *headedFile) Discard() error { return nil }

func readFrom(f io.ReaderAt, start int64, p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, errors.New("a negative offset")
	}
	return f.ReadAt(p, start+offset)
}

// startOf is where a content of a size begins in a message's file; false: the file has no such content.
func startOf(f interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}, size int64,
) (start int64, whole bool, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return 0, err == nil, err
	}
	prologue := make([]byte, prologueSize)
	if _, err := f.ReadAt(prologue, 0); errors.Is(err, io.EOF) || err == nil && string(prologue[:len(prologueMagic)]) != prologueMagic {
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	start = int64(binary.BigEndian.Uint64(prologue[len(prologueMagic):]))
	return start, start >= prologueSize && start+size == info.Size(), nil
}

// part is a content within its file.
type part struct {
	*io.SectionReader
	io.Closer
}
