package exchange

import (
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
	"github.com/dipylon/dipylon/backends/mapi"
	"github.com/dipylon/dipylon/backends/mapi/fasttransfer"
	"github.com/dipylon/dipylon/backends/mapi/mime"
)

// object is a message object, whose large values are kept beside it.
type object struct {
	message *mapi.Message
	kept    []*buffer.Buffer
}

// discard forgets an object.
func (o *object) discard() {
	for _, b := range o.kept {
		_ = b.Discard()
	}
}

// keep implements [mapi.Keep].
func (o *object) keep(r io.Reader) (mapi.Content, error) {
	b, err := buffer.Fill(buffer.Options{}, r)
	if err != nil {
		return mapi.Content{}, err
	}
	o.kept = append(o.kept, b)
	return mapi.Section(b, 0, b.Size()), nil
}

// source remembers how many octets were read, and what reading has failed with.
type source struct {
	io.Reader
	octets int64
	err    error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.octets += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// messageMost is how many octets a message may have, as the server gives it: Exchange takes none above 2 GB, and what is larger is a reply that
// never ends.
const messageMost = 4 << 30

// errEndless says that a message is larger than any that there is.
var errEndless = backends.Fail(backends.Poison, "the server gives a message that does not end")

// bounded is what a server gives of a message. It fails where that is more than a message can have.
type bounded struct {
	io.Reader
	left int64
}

func newBounded(r io.Reader, most int64) *bounded { return &bounded{r, most} }

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errEndless
	}
	return n, err
}

// readObject reads a stream of one message. A stream that has come whole, and is none, is a message that cannot be rendered.
func readObject(stream io.Reader) (*object, error) {
	o, from := &object{}, &source{Reader: newBounded(stream, messageMost)}
	var err error
	o.message, err = fasttransfer.NewReader(from, fasttransfer.Options{Keep: o.keep}).Message()
	if err == nil {
		return o, nil
	}
	o.discard()
	if from.err != nil {
		return nil, from.err
	}
	return nil, poison("the server's stream of a message", err)
}

// poison is the failure of a message that cannot be made mail, unless it was this machine that failed.
func poison(what string, err error) error {
	var storage *buffer.StorageError
	if errors.As(err, &storage) {
		return backends.Fail(backends.Temporary, "%s: %w", what, err)
	}
	return backends.Fail(backends.Poison, "%s: %w", what, err)
}

// bodies are the bodies that there are.
var bodies = map[backends.BodyForm]mime.Body{
	backends.BodyBest: mime.BodyAsItIs, backends.BodyText: mime.BodyText, backends.BodyHTML: mime.BodyHTML, backends.BodyTextAndHTML: mime.BodyBoth,
	backends.BodyTextEnriched: mime.BodyEnriched,
}

// calendars are the forms of meetings that there are.
var calendars = map[backends.CalendarForm]mime.Calendar{
	backends.CalendarICal: mime.CalendarICal, backends.CalendarText: mime.CalendarText, backends.CalendarLink: mime.CalendarLink,
}

// formOf is the form of a rendering.
func formOf(r backends.Rendering) (mime.Form, error) {
	body, ok := bodies[r.Body]
	if !ok {
		return mime.Form{}, backends.Fail(backends.Unsupported, "no message is given with the body %s", r.Body)
	}
	if r.Encoding != backends.EncodingMIME && r.Encoding != backends.EncodingUUENCODE {
		return mime.Form{}, backends.Fail(backends.Unsupported, "no message is given with %s", r.Encoding)
	}
	calendar, ok := calendars[r.Calendar]
	if !ok {
		return mime.Form{}, backends.Fail(backends.Unsupported, "no meeting is given as %s", r.Calendar)
	}
	return mime.Form{
		Body: body, UUEncode: r.Encoding == backends.EncodingUUENCODE, Charset: r.Charset, RichText: r.RichText, Wrap: r.Wrap,
		Calendar: calendar, Link: r.CalendarLink,
	}, nil
}

// content makes mail of an object. It is made whole before its first octet goes out: what cannot be rendered is told before that, and
// its size is known. It is the same whether the object came alone, or in a group, where it says its entry id.
func (m *maildrop) content(ctx context.Context, id backends.MessageID, o *object, form mime.Form, request backends.FetchManyRequest) (backends.Content, error) {
	o.message.Delete(mapi.PidTagEntryId)
	b, size, err := m.store.rendered(o.message, form)
	if err != nil {
		return nil, err
	}
	if request.Counted {
		m.counted.keep(countedKey{id, request.Rendering}, b, size)
	}
	return newContent(m.ctx, ctx, b.Reader(), b, size, request), nil
}

// rendered makes mail of a message, of so many octets in canonical form.
func (s *Store) rendered(o *mapi.Message, form mime.Form) (b *buffer.Buffer, size int64, err error) {
	w := mime.Writer{Kept: true, Form: form}
	if len(s.domains) > 0 {
		w.Domain = s.domains[0]
	}
	b = buffer.Create(buffer.Options{})
	counter := &crlf.Counter{}
	err = w.Write(io.MultiWriter(b, counter), o)
	if err == nil {
		err = b.Commit()
	}
	if err != nil {
		_ = b.Discard()
		return nil, 0, poison("make mail of a message", err)
	}
	return b, counter.Octets(), nil
}

// newContent gives out a text that has so many octets in canonical form, as much of it as was asked for. The buffer, which may be nil, is
// discarded with it.
func newContent(open, ctx context.Context, text io.Reader, b *buffer.Buffer, size int64, request backends.FetchManyRequest) *content {
	c := &content{open: open, ctx: ctx, buffer: b, reader: crlf.NewReader(text), size: size}
	if request.Top {
		c.reader, c.size = crlf.NewReader(crlf.Top(c.reader, request.Lines)), -1
	}
	return c
}

// content is a message in canonical form.
type content struct {
	open   context.Context //nolint:containedctx // the maildrop's
	ctx    context.Context //nolint:containedctx // the request's, which covers the reading
	buffer *buffer.Buffer  // nil: the text is in nobody's but the maildrop's
	reader *crlf.Reader
	size   int64
}

// Size implements [backends.Content].
func (c *content) Size() int64 { return c.size }

// Read implements [io.Reader]. Nothing is given out of a maildrop that is closed, or for a request that has ended.
func (c *content) Read(p []byte) (int, error) {
	if c.open.Err() != nil {
		return 0, errClosed
	}
	if err := context.Cause(c.ctx); err != nil {
		return 0, backends.Fail(backends.Temporary, "read a message: %w", err)
	}
	return c.reader.Read(p)
}

// Close implements [io.Closer].
func (c *content) Close() error {
	c.reader.Release()
	if c.buffer == nil {
		return nil
	}
	return c.buffer.Discard()
}
