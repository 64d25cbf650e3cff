package jmap

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/crlf"
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
	known, ok := m.listed[id]
	m.mu.Unlock()
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
		known = listed{e.BlobID, e.Size}
		there <- nil
	}
	response, err := m.download(ctx, known.blob)
	gone := <-there
	switch {
	case gone != nil && err == nil:
		_ = response.Body.Close()
		return nil, gone
	case errors.Is(err, errMissing) && gone == nil:
		err = again(ctx, func() (bool, error) {
			response, err = m.download(ctx, known.blob)
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
	return m.content(ctx, cancel, request, response, known.size), nil
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

func (m *maildrop) content(ctx context.Context, cancel context.CancelCauseFunc, request backends.FetchRequest, response *http.Response, size int64) *content {
	b := &blob{maildrop: m, ctx: ctx, end: cancel, body: response.Body, size: size}
	b.watch = newWatch(time.Duration(m.store.settings.Timeout), cancel)
	// HTTP/1.0 ends a content by closing the connection, as does one that breaks.
	b.framed = response.ContentLength >= 0 || response.ProtoMajor > 1 || len(response.TransferEncoding) > 0
	if request.Top {
		return &content{Reader: crlf.NewReader(crlf.Top(b, request.Lines)), blob: b, size: -1}
	}
	if m.store.liar.Load() {
		size = -1
	}
	return &content{Reader: crlf.NewReader(b), blob: b, size: max(-1, size)}
}

// content is a message in canonical form.
type content struct {
	*crlf.Reader
	blob *blob
	size int64 // as promised; -1: nothing is
	got  int64
}

func (c *content) Size() int64 { return c.size }

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.got += int64(n)
	return n, c.whole(err)
}

// WriteTo writes all that is left.
func (c *content) WriteTo(w io.Writer) (int64, error) {
	n, err := c.Reader.WriteTo(w)
	c.got += n
	if err == nil {
		if err = c.whole(io.EOF); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return n, err
}

// whole lets the end pass if as much has come as was promised: the blob may have had lone line
// ends, which the canonical form has not.
func (c *content) whole(err error) error {
	if errors.Is(err, io.EOF) && c.size >= 0 && c.got != c.size {
		return c.blob.lied(c.got)
	}
	return err
}

func (c *content) Close() error {
	c.Release()
	return c.blob.close()
}

// blob is a download.
type blob struct {
	maildrop *maildrop
	ctx      context.Context //nolint:containedctx // to tell why reading ended
	end      context.CancelCauseFunc
	body     io.ReadCloser
	watch    *watch
	size     int64 // as the server said
	got      int64
	framed   bool // HTTP itself tells a content that was cut from a whole one
}

// Read never takes a part for the whole (I3): one that is shorter than the server said, where
// nothing but the end of the connection ends it, may have been cut.
func (b *blob) Read(p []byte) (int, error) {
	if b.maildrop.ctx.Err() != nil { // what has arrived already is not given out either
		return 0, errClosed
	}
	b.watch.start()
	n, err := b.body.Read(p)
	b.watch.stop()
	b.got += int64(n)
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if b.got != b.size && !b.framed {
			err = backends.Fail(backends.Temporary, "download: %d octets came and the server said %d", b.got, b.size)
		}
	case context.Cause(b.ctx) != nil:
		err = backends.Fail(backends.Temporary, "download: %w", context.Cause(b.ctx))
	default:
		err = backends.Fail(backends.Temporary, "download: %w", err)
	}
	return n, err
}

// lied notes that the server's sizes are wrong.
func (b *blob) lied(got int64) error {
	b.maildrop.store.liar.Store(true)
	return backends.Fail(backends.Temporary, "a message has %d octets and the server said %d; its sizes count as estimates from now on", got, b.size)
}

func (b *blob) close() error {
	b.watch.stop()
	b.end(nil)
	return b.body.Close()
}
