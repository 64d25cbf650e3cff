package imap

import (
	"context"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// collectMost is how long a message may be to be received whole before Fetch returns: two parts,
// which are asked for together, so that it takes one round trip. The length of such a message is
// known before its first octet goes out.
const collectMost = firstPart + partSize

// Fetch asks for the first parts and waits for them, so that a message that is gone, or that the
// server cannot give, is told here.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	uid, ok := m.uid(request.ID)
	if !ok {
		return nil, backends.Fail(backends.NotFound, "no message %q in this mailbox", request.ID)
	}
	if err := m.replaced(); err != nil {
		return nil, err
	}
	if err := m.failedBefore(uid); err != nil {
		return nil, err
	}
	r := m.read(ctx, uid)
	if request.Top {
		if err := r.next(); err != nil && err != io.EOF {
			return nil, err
		}
		return &content{Reader: crlf.NewReader(crlf.Top(r, request.Lines)), parts: r, size: -1}, nil
	}
	size, err := r.collect()
	if err != nil {
		return nil, err
	}
	return &content{Reader: crlf.NewReader(r), parts: r, size: size}, nil
}

// read begins to read a message.
func (m *maildrop) read(ctx context.Context, uid imap.UID) *parts {
	m.mu.Lock()
	size, listed := m.sizes[uid]
	m.mu.Unlock()
	if !listed || size < 0 {
		size = -1
	}
	r := &parts{ctx: ctx, maildrop: m, uid: uid, size: size}
	r.ask()
	return r
}

// content is a message in canonical form. What a server gives is canonical already, but for
// messages that were stored without a last CRLF or with a bare LF.
type content struct {
	*crlf.Reader
	parts *parts
	size  int64
}

func (c *content) Size() int64 { return c.size }

func (c *content) Close() error {
	c.Release()
	c.parts.close()
	return nil
}
