package content

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
)

// Reader gives a message with its TNEF opened. A message whose header lets it have any is read to its end before the
// first octet is given. Told, if not nil, is called for each message that has TNEF.
func (w *Winmail) Reader(ctx context.Context, message io.ReadCloser, told func(Opened)) io.ReadCloser {
	return &winmailReader{ctx: ctx, winmail: w, message: message, told: told}
}

// winmailReader is a message whose TNEF is opened when it is read.
type winmailReader struct {
	ctx     context.Context //nolint:containedctx // of the reading, which is its life
	winmail *Winmail
	message io.ReadCloser
	told    func(Opened)
	out     io.Reader // nil: nothing has been read yet
	opened  *buffer.Buffer
	failed  error
}

// Read implements [io.Reader].
func (r *winmailReader) Read(p []byte) (int, error) {
	if r.out == nil && r.failed == nil {
		r.out, r.failed = r.begin()
	}
	if r.failed != nil {
		return 0, r.failed
	}
	return r.out.Read(p)
}

// begin finds out what the message is read from.
func (r *winmailReader) begin() (io.Reader, error) {
	head, may, err := PeekWinmail(r.message)
	if err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r.message)
	if !may {
		return whole, nil
	}
	kept, err := buffer.Fill(r.winmail.buffers, whole)
	if err != nil {
		return nil, err
	}
	opened, err := r.winmail.Open(r.ctx, kept, kept.Size())
	if err != nil {
		_ = kept.Discard() // the first error is the one that is told
		return nil, err
	}
	if r.opened = opened.Message; r.opened == nil {
		r.opened = kept
	} else if err := kept.Discard(); err != nil {
		return nil, &buffer.StorageError{Err: err}
	}
	if r.told != nil && (opened.Parts > 0 || opened.Kept != nil) {
		r.told(opened)
	}
	return r.opened.Reader(), nil
}

// Close implements [io.Closer].
func (r *winmailReader) Close() error {
	err := r.message.Close()
	if r.opened == nil {
		return err
	}
	return errors.Join(err, r.opened.Discard())
}

// PeekWinmail reads the beginning of a message, and says whether its header lets it have TNEF: for most messages it does
// not.
func PeekWinmail(message io.Reader) (head []byte, may bool, err error) {
	head, err = io.ReadAll(io.LimitReader(message, winmailHead))
	if err != nil {
		return nil, false, err
	}
	_, size, err := header.Read(bytes.NewReader(head), winmailHead)
	if err != nil || size == winmailHead {
		return head, true, nil // it may be longer, and what is odd is looked at
	}
	e, err := entity.Read(bytes.NewReader(head), size)
	return head, err != nil || e.Is("multipart/") || e.Is("message/") || isWinmail(e), nil
}

// winmailHead is how much of a message is read to know its header.
const winmailHead = 32 << 10
