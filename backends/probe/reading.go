package probe

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/crlf"
)

// What backends must not do.
var (
	errCut  = errors.New("the last line of the message has no end")
	errSize = errors.New("the message has another size than the list says")

	breaksContract = Cause{"message-broken", "The backend breaks the contract: dipylon plugin test tells how."}
)

// Read opens a folder, lists it, and reads its first message: the steps open, list and message.
func (w *Way) Read(reader backends.Reader, request backends.OpenRequest) {
	r := &reading{reader: reader, request: request}
	if !w.Step("open", r.open) {
		return
	}
	defer r.drop.Close() //nolint:errcheck // it was only read
	switch {
	case !w.Step("list", r.list):
	case r.first == nil:
		w.Skip("message", "the mailbox is empty")
	default:
		w.Step("message", r.message)
	}
}

type reading struct {
	reader  backends.Reader
	request backends.OpenRequest
	drop    backends.Maildrop
	first   *backends.Entry
}

func (r *reading) open(ctx context.Context) (found Found, err error) {
	if r.drop, err = r.reader.Open(ctx, r.request); err != nil {
		return found, Said(err)
	}
	return Found{Detail: fmt.Sprintf("the folder has the id %.100q", r.drop.Opened().FolderID)}, nil
}

func (r *reading) list(ctx context.Context) (Found, error) {
	n, octets, estimated := 0, int64(0), false
	for entry, err := range r.drop.List(ctx) {
		if err != nil {
			return Found{}, Said(err)
		}
		if n == 0 {
			r.first = &entry
		}
		n++
		octets += max(0, entry.Size)
		estimated = estimated || !entry.Exact
	}
	detail := fmt.Sprintf("%d messages, %d octets", n, octets)
	if estimated {
		detail += " by the store's estimate"
	}
	return Found{Detail: detail}, nil
}

func (r *reading) message(ctx context.Context) (Found, error) {
	c, err := r.drop.Fetch(ctx, backends.FetchRequest{ID: r.first.ID})
	if err != nil {
		return Found{}, err
	}
	defer c.Close() //nolint:errcheck // it was read to its end, or is of no use
	var counter crlf.Counter
	n, err := io.Copy(&counter, c)
	switch {
	case err != nil:
		return Found{}, fmt.Errorf("after %d octets: %w", n, err)
	case n != counter.Octets():
		return Found{}, Because(breaksContract, errCut)
	case r.first.Exact && n != r.first.Size:
		return Found{}, Because(breaksContract, fmt.Errorf("%w: %d octets have come, and the list says %d", errSize, n, r.first.Size))
	}
	return Found{Detail: fmt.Sprintf("%d octets", n)}, nil
}
