package collect

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// startMost is how much of a message's beginning is in memory, in octets.
const startMost = 1 << 20

// digest is of a message's content in canonical form, and of its header.
type digest struct {
	whole hash.Hash
	start []byte
	size  int64
	eight bool // it has an octet above 127
}

func newDigest() *digest { return &digest{whole: sha256.New()} }

// Write implements [io.Writer].
func (d *digest) Write(p []byte) (int, error) {
	if left := startMost - len(d.start); left > 0 {
		d.start = append(d.start, p[:min(left, len(p))]...)
	}
	for i := 0; i < len(p) && !d.eight; i++ {
		d.eight = p[i] > 127
	}
	d.size += int64(len(p))
	return d.whole.Write(p)
}

func (d *digest) sums() (whole, header []byte) {
	sum := sha256.Sum256(headerOf(d.start))
	return d.whole.Sum(nil), sum[:]
}

// canonical gives what fetch writes to w in canonical form. An error of fetch is told before one of w.
func canonical(w io.Writer, fetch func(io.Writer) error) error {
	from, to := io.Pipe()
	fetched := make(chan error, 1)
	go func() {
		err := fetch(to)
		_ = to.CloseWithError(err) // it never fails
		fetched <- err
	}()
	in := crlf.NewReader(from)
	defer in.Release()
	_, err := io.Copy(w, in)
	if err != nil {
		_ = from.CloseWithError(err) // the same
	}
	if failed := <-fetched; failed != nil && (err == nil || !keeping(err)) {
		return failed
	}
	return err
}

// keeping says that it was the gateway that could not keep a message.
func keeping(err error) bool {
	_, is := errors.AsType[*buffer.StorageError](err)
	return is
}

// fetchWhole reads a message into a buffer, which the caller discards.
func (r *run) fetchWhole(ctx context.Context, i item) (*buffer.Buffer, *digest, error) {
	body, sum := buffer.Create(r.Buffers()), newDigest()
	err := canonical(io.MultiWriter(body, sum), func(w io.Writer) error { return r.src.fetch(ctx, i, r.account.MessageMost, w) })
	if err == nil {
		err = body.Commit()
	}
	if err != nil {
		_ = body.Discard() // the first error is the one that is told
		return nil, nil, err
	}
	return body, sum, nil
}
