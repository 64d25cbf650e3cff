package content

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/entity"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// Form is how messages are written for readers who are old or odd. Empty: as they came.
type Form struct {
	Encoding string // mime, uuencode
	Body     string // text, html, both, enriched
	Charset  string // IANA name
	Wrap     int    // columns of a line of plain text at the most; 0: as many as it has
}

// bodies are the bodies of a form.
var bodies = map[string]mime.Body{"text": mime.BodyText, "html": mime.BodyHTML, "both": mime.BodyBoth, "enriched": mime.BodyEnriched}

// ReformFrom returns what gives messages another form, for readers who are old or odd: files that stand in a text in UUENCODE or BinHex
// become parts, and then all is written as the form says. The header stays as it came, and so do messages in it. Reports, what is signed or encrypted, and what
// cannot be converted pass as they came; [Opened.Kept] says why.
//
// One message gives the same octets each time. Errors are as those of [Winmail.Open].
func (w *Winmail) ReformFrom(form Form) func(ctx context.Context, message io.Reader) (Opened, error) {
	return func(ctx context.Context, message io.Reader) (Opened, error) {
		kept, err := buffer.Fill(w.buffers, message)
		if err != nil {
			return Opened{}, err
		}
		defer kept.Discard() //nolint:errcheck // it is not needed any more
		return w.convert(ctx, kept, kept.Size(), func(o *opening) (Opened, error) { return o.reform(form) })
	}
}

// OpenAndReformFrom is ReformFrom for messages whose TNEF is opened before.
func (w *Winmail) OpenAndReformFrom(form Form) func(ctx context.Context, message io.Reader) (Opened, error) {
	reform := w.ReformFrom(form)
	return func(ctx context.Context, message io.Reader) (Opened, error) {
		kept, err := buffer.Fill(w.buffers, message)
		if err != nil {
			return Opened{}, err
		}
		defer kept.Discard() //nolint:errcheck // it is not needed any more
		opened, err := w.Open(ctx, kept, kept.Size())
		if err != nil {
			return Opened{}, err
		}
		source := kept
		if opened.Message != nil {
			source = opened.Message
		}
		other, err := reform(ctx, source.Reader())
		switch {
		case err == nil && other.Message == nil: // what was opened stays as it is
			opened.Kept = other.Kept
			return opened, nil
		case opened.Message != nil:
			_ = opened.Message.Discard() // the other one is in its place
		}
		return other, err
	}
}

// reform writes the message in a form.
func (o *opening) reform(form Form) (result Opened, err error) {
	root, err := entity.Read(o.source, o.size)
	if err != nil || hasSealed(root) {
		return Opened{}, err
	}
	m, err := mime.Reader{UUEncode: true, Skeleton: true}.Read(o.source, o.size) // for the messages in it
	if err != nil || !isOrdinary(m) {
		return Opened{}, err
	}
	written := mime.Form{Body: bodies[form.Body], UUEncode: form.Encoding == "uuencode", Charset: form.Charset, Wrap: form.Wrap}
	body, attached, err := mime.Writer{Form: written, Kept: true}.Parts(m)
	if err != nil || body == nil && len(attached) == 0 {
		return Opened{}, err
	}
	defer func() {
		if err != nil && o.out != nil {
			_ = o.out.Discard() // the first error is the one that is told
		}
	}()
	o.eightBit = true // UUENCODE has no other encoding around it
	if err := o.rewrite(enclosed{message: root}, "", mime.Multipart("mixed", together(body, attached)...)); err != nil {
		return Opened{}, err
	}
	if err := o.out.Commit(); err != nil {
		return Opened{}, err
	}
	result = Opened{Message: o.out, Parts: 1}
	result.EightBit, err = hasEightBit(o.out.Reader())
	return result, err
}
