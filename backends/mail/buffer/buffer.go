// Package buffer holds a whole message on its way: it is written once, and then read by any number
// of readers at once. A small message stays in memory, a larger one is in a file (I11).
//
//	b := buffer.Create(buffer.InFolder(dir))
//	defer b.Discard()
//	_, err := io.Copy(b, body)
//	err = b.Commit()
//	message := b.Reader()
//
// [Fill] does the first steps in one. What goes in front of the message, such as its trace field
// (RFC 5321 §4.4), is not written into the buffer: it differs from one next hop to the other, and
// is passed beside it.
//
// Where files are made is the [Storage]'s affair. [Temporary] ones are gone with the process. A
// spool has its own: its files have names from the start, and Commit makes them durable, so that
// a message that was taken in is not written a second time.
package buffer

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
)

// MemoryMost is how many octets of a message are kept in memory before a file is made for it, where
// [Options] do not say it.
const MemoryMost = 256 << 10

// Storage makes files for messages that do not fit in memory.
type Storage interface {
	Create() (File, error)
}

// File is the file of one message: the whole of it.
type File interface {
	io.Writer
	io.ReaderAt
	// Commit is called when all is written, before anything is read.
	Commit() error
	// Discard forgets the message.
	Discard() error
}

// Headed is a [File] that can be given another beginning when all is written.
type Headed interface {
	File
	// WithHead is a file that has head in the place of the first octets, up to from; nil: there is no room for that.
	// What was in front of from may not be read any more, and both files go with Discard of the first one.
	WithHead(head []byte, from int64) (File, error)
}

// Options are what a buffer is made of.
type Options struct {
	// Storage makes the file [Temporary, in the system's folder].
	Storage Storage
	// MemoryMost is how many octets are kept in memory [MemoryMost].
	MemoryMost int
}

// Buffer is a message. It is written by one goroutine, and read, after Commit, by any.
type Buffer struct {
	o      Options
	memory []byte // the whole message, as long as there is no file
	file   File
	size   int64
	failed error // by the storage: nothing more is written
}

// StorageError says that the storage failed, as opposed to who sends the message.
type StorageError struct{ Err error }

func (e *StorageError) Error() string { return "cannot keep the message: " + e.Err.Error() }
func (e *StorageError) Unwrap() error { return e.Err }

// Create makes an empty buffer. A file is made when there is need of one.
func Create(o Options) *Buffer {
	if o.Storage == nil {
		o.Storage = Temporary{}
	}
	if o.MemoryMost == 0 {
		o.MemoryMost = MemoryMost
	}
	return &Buffer{o: o}
}

// Fill makes a buffer of a message, reads it to its end, and commits it. The error is the
// message's own or a [*StorageError]; nothing is left of the buffer then.
func Fill(o Options, message io.Reader) (*Buffer, error) {
	b := Create(o)
	_, err := b.ReadFrom(message)
	if err == nil {
		err = b.Commit()
	}
	if err != nil {
		_ = b.Discard() // the first error is the one that is told
		return nil, err
	}
	return b, nil
}

// Write implements [io.Writer]. An error is a [*StorageError], and stays: a write that has failed is
// not tried again (I1).
func (b *Buffer) Write(p []byte) (n int, err error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if b.file == nil && len(b.memory)+len(p) <= b.o.MemoryMost {
		b.memory = append(b.memory, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	if err = b.spill(); err == nil {
		n, err = b.file.Write(p)
		b.size += int64(n)
	}
	if err != nil {
		b.failed = &StorageError{err}
		return n, b.failed
	}
	return n, nil
}

// ReadFrom implements [io.ReaderFrom]: it writes all that a reader has, which is read where it is kept. The
// error is the reader's, or a [*StorageError].
func (b *Buffer) ReadFrom(from io.Reader) (n int64, err error) {
	for b.failed == nil && b.file == nil {
		if len(b.memory) == cap(b.memory) {
			b.memory = slices.Grow(b.memory, max(min(cap(b.memory), b.o.MemoryMost-cap(b.memory)), readFirst))
		}
		read, err := from.Read(b.memory[len(b.memory):cap(b.memory)])
		b.memory = b.memory[:len(b.memory)+read]
		b.size += int64(read)
		n += int64(read)
		if len(b.memory) > b.o.MemoryMost {
			if err := b.spill(); err != nil {
				b.failed = &StorageError{err}
				return n, b.failed
			}
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	if b.failed != nil {
		return n, b.failed
	}
	piece := pieces.Get().(*[]byte)
	defer pieces.Put(piece)
	rest, err := io.CopyBuffer(onlyWriter{b}, from, *piece)
	return n + rest, err
}

// readFirst is how much is read at once at first, and at the least.
const readFirst = 8 << 10

// pieces are what passes on its way into a file.
var pieces = sync.Pool{New: func() any { p := make([]byte, 64<<10); return &p }}

// onlyWriter hides ReadFrom.
type onlyWriter struct{ io.Writer }

// spill puts what is in memory into a file.
func (b *Buffer) spill() (err error) {
	if b.file != nil {
		return nil
	}
	if b.file, err = b.o.Storage.Create(); err != nil {
		b.file = nil
		return err
	}
	_, err = b.file.Write(b.memory)
	b.memory = nil
	return err
}

// Commit ends the writing. After an error the message is not whole, and may only be discarded.
func (b *Buffer) Commit() error {
	if b.failed == nil && b.file != nil {
		if err := b.file.Commit(); err != nil {
			b.failed = &StorageError{err}
		}
	}
	return b.failed
}

// WithHead is the message with another beginning in the place of its first octets, up to from, committed and not
// written anew; nil: that cannot be done here. Of the buffer itself only what is behind these octets may be read then,
// and nothing of the message with the other beginning once it is discarded.
func (b *Buffer) WithHead(head io.Reader, from int64) (*Buffer, error) {
	headed, can := b.file.(Headed)
	if !can || b.failed != nil || from > b.size {
		return nil, b.failed
	}
	octets, err := io.ReadAll(head)
	if err != nil {
		return nil, err
	}
	file, err := headed.WithHead(octets, from)
	if err != nil {
		return nil, &StorageError{err}
	}
	if file == nil {
		return nil, nil
	}
	made := &Buffer{o: b.o, file: file, size: int64(len(octets)) + b.size - from}
	if err := made.Commit(); err != nil {
		return nil, err
	}
	return made, nil
}

// Discard forgets the message, committed or not. What reads it from a file fails from then on; what
// reads it from memory comes to its end, and the memory goes with the last reader.
func (b *Buffer) Discard() error {
	if b.file == nil {
		return nil
	}
	return b.file.Discard()
}

// Memory is the message, if it is in memory and committed; nil: it is in a file. Nobody may change it.
func (b *Buffer) Memory() []byte {
	if b.file != nil || b.failed != nil {
		return nil
	}
	return b.memory
}

// Start is the message's beginning, of at most so many octets, which nobody may change. Of a message that cannot be
// read it is what can be.
func (b *Buffer) Start(most int) []byte {
	if whole := b.Memory(); whole != nil {
		return whole[:min(len(whole), most)]
	}
	start := make([]byte, min(b.size, int64(most)))
	n, _ := io.ReadFull(b.Reader(), start)
	return start[:n]
}

// Size is how many octets the message has.
func (b *Buffer) Size() int64 { return b.size }

// File is the storage's file, for who gave the storage; nil: the message is in memory.
func (b *Buffer) File() File { return b.file }

// ReadAt implements [io.ReaderAt]. Of a message that could not be written or committed nothing is
// read.
func (b *Buffer) ReadAt(p []byte, offset int64) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if b.file != nil {
		return b.file.ReadAt(p, offset)
	}
	if offset < 0 {
		return 0, errors.New("a negative offset")
	}
	return bytes.NewReader(b.memory).ReadAt(p, offset)
}

// Reader reads the message from its start. Each reader has a place of its own.
func (b *Buffer) Reader() *io.SectionReader { return b.From(0) }

// From reads the message from an offset to its end.
func (b *Buffer) From(offset int64) *io.SectionReader {
	most := b.size - offset
	if b.failed != nil {
		most++ // or an empty one would end well, unread
	}
	return io.NewSectionReader(b, offset, most)
}
