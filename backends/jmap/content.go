package jmap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// Fetch downloads a message. A blob may outlive its message, so the message is asked for at the
// same time.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	ctx, cancel := m.bound(ctx)
	c, err := m.fetch(ctx, cancel, request)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return c, nil
}

func (m *maildrop) fetch(ctx context.Context, cancel context.CancelCauseFunc, request backends.FetchRequest) (*content, error) {
	id := string(request.ID)
	m.mu.Lock()
	known := m.listed[id]
	m.mu.Unlock()
	ok := known.blob != ""
	there := make(chan error, 1)
	if ok {
		go func() {
			_, err := m.describe(ctx, id)
			there <- err
		}()
	} else {
		e, err := m.describe(ctx, id)
		if err != nil {
			return nil, err
		}
		if known = (listed{e.BlobID, e.Size}); known.blob == "" {
			return nil, backends.Fail(backends.Poison, "the server does not say where the content of the message %q is", id)
		}
		there <- nil
	}
	b, err := m.start(ctx, cancel, id, known)
	gone := <-there
	switch {
	case gone != nil && err == nil:
		_ = b.close()
		return nil, gone
	case errors.Is(err, errMissing) && gone == nil:
		err = again(ctx, func() (bool, error) {
			b, err = m.start(ctx, cancel, id, known)
			return errors.Is(err, errMissing), err
		})
	case gone != nil:
		return nil, gone
	}
	if errors.Is(err, errMissing) {
		return nil, backends.Fail(backends.Poison, "the message is there, and its content is not: %w", err)
	} else if err != nil {
		return nil, err
	}
	if request.Top {
		return &content{Reader: crlf.NewReader(crlf.Top(b, request.Lines)), blob: b, size: -1}, nil
	}
	return m.whole(ctx, b)
}

// collectMost is how long a message may be to be received whole before Fetch returns: its length, and
// that it is complete, is known then before its first octet goes out.
const collectMost = 256 << 10

// whole receives a message that is not too long. A download that breaks, with the connection that it
// shared with others, or that ends too early, says nothing of the message until it has done so once
// more, by itself.
func (m *maildrop) whole(ctx context.Context, b *blob) (*content, error) {
	octets, err := b.collect()
	if err != nil && context.Cause(b.ctx) == nil {
		_ = b.body.Close()
		fresh, again := m.start(ctx, b.end, b.id, listed{b.name, b.size})
		if again != nil {
			return nil, again
		}
		b = fresh
		octets, err = b.collect()
	}
	if err != nil {
		_ = b.close()
		return nil, err
	}
	return &content{Reader: crlf.NewReader(b), blob: b, size: octets}, nil
}

// start begins a download.
func (m *maildrop) start(ctx context.Context, end context.CancelCauseFunc, id string, known listed) (*blob, error) {
	response, err := m.download(ctx, known.blob)
	if errors.Is(err, errNoAnswer) && ctx.Err() == nil { // the connection was lost: it is opened again once
		response, err = m.download(ctx, known.blob)
	}
	if err != nil {
		return nil, err
	}
	b := &blob{maildrop: m, ctx: ctx, end: end, id: id, name: known.blob, body: response.Body, size: known.size}
	b.watch = newWatch(time.Duration(m.store.settings.Timeout), end)
	// HTTP/1.0 ends a content by closing the connection, as does one that breaks.
	b.framed = response.ContentLength >= 0 || response.ProtoMajor > 1 || len(response.TransferEncoding) > 0
	return b, nil
}

// download asks for a blob (RFC 8620 §6.2).
func (m *maildrop) download(ctx context.Context, blob string) (*http.Response, error) {
	r, err := m.session.resource(ctx)
	if err != nil {
		return nil, err
	}
	target, err := r.expand(r.DownloadURL, map[string]string{
		"accountId": m.session.account, "blobId": blob, "name": "message.eml", "type": "message/rfc822",
	})
	if err != nil {
		return nil, err
	}
	return m.store.do(ctx, m.session.credential, exchange{what: "download", method: http.MethodGet, target: target})
}

// content is a message in canonical form.
type content struct {
	*crlf.Reader
	blob *blob
	size int64 // -1: not known
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	c.Release()
	return c.blob.close()
}

// blob is a download.
type blob struct {
	maildrop *maildrop
	ctx      context.Context //nolint:containedctx // to tell why reading ended
	end      context.CancelCauseFunc
	id, name string // of the message, and of the blob
	body     io.ReadCloser
	watch    *watch
	size     int64 // as the server said; -1: it has not
	framed   bool  // HTTP itself tells a content that was cut from a whole one

	canonical crlf.Counter // of what came
	collected []byte       // what came and has not been read
	ended     error        // why no more comes, once that is so
}

// collect receives the blob as far as it is not too long, and says how many octets it has in
// canonical form; -1: that is not known yet.
func (b *blob) collect() (octets int64, err error) {
	if b.size > collectMost {
		return -1, nil
	}
	var all bytes.Buffer
	all.Grow(int(max(b.size, 0)) + bytes.MinRead)
	_, err = io.Copy(&all, io.LimitReader(onlyReader{b}, collectMost))
	b.collected = all.Bytes()
	switch {
	case err != nil:
		return -1, err
	case b.ended == nil: // LimitReader has not asked for the end
		return -1, nil
	}
	return b.canonical.Octets(), nil
}

type onlyReader struct{ io.Reader }

// Read never takes a part for the whole (I3).
func (b *blob) Read(p []byte) (int, error) {
	if b.maildrop.ctx.Err() != nil { // what has arrived already is not given out either
		return 0, errClosed
	}
	if len(b.collected) > 0 {
		n := copy(p, b.collected)
		b.collected = b.collected[n:]
		return n, nil
	}
	if b.ended != nil {
		return 0, b.ended
	}
	b.watch.start()
	n, err := b.body.Read(p)
	b.watch.stop()
	_, _ = b.canonical.Write(p[:n])
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		err = b.complete()
	case context.Cause(b.ctx) != nil:
		err = backends.Fail(backends.Temporary, "download: %w", context.Cause(b.ctx))
	default:
		err = backends.Fail(backends.Temporary, "download: %w", err)
	}
	b.ended = err
	return n, err
}

const (
	shortMost     = 1 << 10 // octets that may lack of what the server said
	shortFraction = 100     // and the part of the message that they may be
)

// complete is io.EOF for a message that has come whole, as far as can be told. Where nothing but the
// end of the connection ends it, one that has not the length that the server said may have been cut.
// One that lacks much of it is one that the server cannot give, however often it is asked; what is
// known of it counts for no other. The length may be that with or without CR at the line ends.
func (b *blob) complete() error {
	got, octets := b.canonical.Raw(), b.canonical.Octets()
	lacking := b.size - max(got, octets)
	switch {
	case !b.framed && got != b.size:
		return backends.Fail(backends.Temporary, "download: %d octets came and the server said %d", got, b.size)
	case got == 0:
		return backends.Fail(backends.Poison, "the message is there, and the server gives nothing of it")
	case lacking > shortMost || lacking > 0 && lacking > b.size/shortFraction:
		b.maildrop.store.log.Error().Str("account", b.maildrop.account.ID).Str("id", b.id).Int64("told", b.size).Int64("came", got).
			Msg("the JMAP server gives a message that is shorter than it says")
		return backends.Fail(backends.Poison, "the message has %d octets, and the server gives %d", b.size, got)
	case b.size >= 0:
		b.maildrop.store.sizes.note(b, octets)
	}
	return io.EOF
}

func (b *blob) close() error {
	b.watch.stop()
	b.end(nil)
	return b.body.Close()
}
