package exchange

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
)

// Bounds of what is kept of messages that were counted.
const (
	countedOctets   = 32 << 20  // of one maildrop
	countedTogether = 256 << 20 // of all that a store has open
	countedMessages = 10_000    // of one maildrop
)

// counted has the messages that were rendered only to be counted, for as long as their maildrop is open: what a POP3 client has
// listed it reads next, and the server would give it a second time. They are in one temporary file; what exceeds the bounds, or cannot be
// written, is rendered again. Only together has to be given.
type counted struct {
	together *atomic.Int64 // octets of all maildrops of the store

	mu     sync.Mutex
	file   buffer.File
	octets int64 // of the file
	full   bool  // nothing more is kept
	at     map[countedKey]span
}

// countedKey says what was rendered, and how.
type countedKey struct {
	id        backends.MessageID
	rendering backends.Rendering
}

// span is where in the file a message stands, and how many octets it has in canonical form.
type span struct{ offset, octets, size int64 }

// keep keeps a message, if there is room.
func (k *counted) keep(key countedKey, b *buffer.Buffer, size int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.at[key]; there || k.full || len(k.at) >= countedMessages || k.octets+b.Size() > countedOctets {
		return
	}
	if k.together.Add(b.Size()) > countedTogether {
		k.together.Add(-b.Size())
		return
	}
	if err := k.write(b); err != nil { // a full disk, as a rule: what was written is not read, and counts
		k.full = true
		return
	}
	if k.at == nil {
		k.at = make(map[countedKey]span)
	}
	k.at[key] = span{k.octets - b.Size(), b.Size(), size}
}

// write puts a message at the end of the file, and counts it.
func (k *counted) write(b *buffer.Buffer) (err error) {
	k.octets += b.Size()
	if k.file == nil {
		if k.file, err = (buffer.Temporary{}).Create(); err != nil {
			k.file = nil
			return err
		}
	}
	_, err = io.Copy(k.file, b.Reader())
	return err
}

// find gives a message that is kept.
func (k *counted) find(key countedKey) (text *io.SectionReader, size int64, there bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	at, there := k.at[key]
	if !there {
		return nil, 0, false
	}
	return io.NewSectionReader(openFile{k.file}, at.offset, at.octets), at.size, true
}

// close forgets all of them. Who reads one fails from then on.
func (k *counted) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.file != nil {
		_ = k.file.Discard()
	}
	k.together.Add(-k.octets)
	k.file, k.octets, k.full, k.at = nil, 0, true, nil
}

// openFile is the file of a maildrop that may be closed by now.
type openFile struct{ io.ReaderAt }

func (f openFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, offset)
	if errors.Is(err, os.ErrClosed) {
		err = errClosed
	}
	return n, err
}

// content gives a message that is kept, in a maildrop whose context is open, as much of it as was asked for; nil: it is not kept.
func (k *counted) content(open, ctx context.Context, id backends.MessageID, request backends.FetchManyRequest) backends.Content {
	text, size, there := k.find(countedKey{id, request.Rendering})
	if !there {
		return nil
	}
	return newContent(open, ctx, text, nil, size, request)
}

// notKept is how many messages at the beginning are not kept; at least 1: the first is known not to be.
func (k *counted) notKept(ids []backends.MessageID, rendering backends.Rendering) int {
	for n := 1; n < len(ids); n++ {
		if _, _, there := k.find(countedKey{ids[n], rendering}); there {
			return n
		}
	}
	return len(ids)
}
