package content

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mail/header"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// Reader gives a message with its TNEF opened. A message whose header lets it have any is read to its end before the
// first octet is given, and passes as it came if it is larger than Most. Told, if not nil, is called for each message that has TNEF.
func (w *Winmail) Reader(ctx context.Context, message io.ReadCloser, told func(Opened)) io.ReadCloser {
	return &winmailReader{ctx: ctx, winmail: w, message: message, told: told}
}

// OpenFrom is Open for a message that is read once.
func (w *Winmail) OpenFrom(ctx context.Context, message io.Reader) (Opened, error) {
	head, opens, err := PeekWinmail(message)
	if err != nil || opens == OpensNothing {
		return Opened{}, err
	}
	kept, err := buffer.Fill(w.buffers, io.MultiReader(bytes.NewReader(head), message))
	if err != nil {
		return Opened{}, err
	}
	defer kept.Discard() //nolint:errcheck // it is not needed any more
	return w.Open(ctx, kept, kept.Size())
}

// MakeFrom is Make for a message that is read once.
func (w *Winmail) MakeFrom(ctx context.Context, message io.Reader) (Opened, error) {
	kept, err := buffer.Fill(w.buffers, message)
	if err != nil {
		return Opened{}, err
	}
	defer kept.Discard() //nolint:errcheck // it is not needed any more
	return w.Make(ctx, kept, kept.Size())
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
	head, opening, err := PeekWinmail(r.message)
	if err != nil {
		return nil, err
	}
	whole := io.MultiReader(bytes.NewReader(head), r.message)
	if opening == OpensNothing {
		return whole, nil
	}
	most := cmp.Or(r.winmail.Most, winmailWhole)
	kept, err := buffer.Fill(r.winmail.buffers, io.LimitReader(whole, most+1))
	if err != nil {
		return nil, err
	}
	if kept.Size() > most {
		r.opened = kept // to be discarded
		return io.MultiReader(kept.Reader(), whole), nil
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
	if r.told != nil && opened.found() {
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

// WinmailOpens is what [Winmail] may change of a message, by its header.
type WinmailOpens uint8

// What may be changed.
const (
	OpensNothing WinmailOpens = iota // as with most messages
	OpensBody
	OpensWhole // with the header
)

// PeekWinmail reads the beginning of a message, or of the top of one, and says what may be changed.
func PeekWinmail(message io.Reader) (head []byte, opens WinmailOpens, err error) {
	head, err = io.ReadAll(io.LimitReader(message, winmailHead))
	if err != nil {
		return nil, OpensNothing, err
	}
	_, size, err := header.Read(bytes.NewReader(head), winmailHead)
	if err != nil || size == winmailHead {
		return head, OpensWhole, nil // it may be longer, and what is odd is looked at
	}
	e, err := entity.Read(bytes.NewReader(head), size)
	switch {
	case err != nil, mime.IsTNEF(e):
		return head, OpensWhole, nil
	case e.Is("multipart/"), e.Is("message/"):
		return head, OpensBody, nil
	}
	return head, OpensNothing, nil
}

// winmailHead is how much of a message is read to know its header.
const winmailHead = 32 << 10
