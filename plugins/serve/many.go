package serve

import (
	"context"
	"io"

	"github.com/dipylon/dipylon/backends"
)

// fetchesAtOnce is how many messages are opened together where the store does not say how many
// are worth it.
const fetchesAtOnce = 4

// openMany asks the backend for messages: together where it can, or else one by one.
func (m *maildrop) openMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	if many, ok := m.drop.(backends.ManyFetcher); ok && len(request.IDs) > 1 {
		return many.FetchMany(ctx, request)
	}
	o := &opener{drop: m.drop, guard: m.service.guard, request: request, slots: m.opening}
	o.ctx, o.cancel = context.WithCancel(ctx)
	return o, nil
}

// opener makes FetchMany of a backend's Fetch. It opens messages ahead of the one that is sent,
// as many at once as the store says: that hides the round trip to a store far away.
type opener struct {
	drop    backends.Maildrop
	guard   func(what string, f func() error) error
	request backends.FetchManyRequest
	slots   chan struct{} // one for each message that is being opened, of all requests of the maildrop
	ctx     context.Context
	cancel  context.CancelFunc
	asked   int
	ahead   []*opening // asked for and not yet given, in their order
	given   int
}

// opening is a message that is being opened. Its goroutine puts the outcome in, and ends.
type opening struct {
	done    chan struct{}
	content backends.Content
	err     error
}

// Next implements [backends.Contents].
func (o *opener) Next(ctx context.Context) (backends.Content, error) {
	if o.given == len(o.request.IDs) {
		return nil, io.EOF
	}
	o.given++
	if len(o.request.IDs) == 1 { // nothing is gained by a goroutine
		return o.drop.Fetch(o.ctx, o.request.One(0))
	}
	for o.asked < len(o.request.IDs) && len(o.ahead) < cap(o.slots) {
		o.ahead = append(o.ahead, o.open(o.asked))
		o.asked++
	}
	first := o.ahead[0]
	select {
	case <-first.done:
		o.ahead = o.ahead[1:]
		return first.content, first.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// open opens message i in a goroutine that ends with the Fetch.
func (o *opener) open(i int) *opening {
	m := &opening{done: make(chan struct{})}
	go func() {
		defer close(m.done)
		select {
		case o.slots <- struct{}{}:
			defer func() { <-o.slots }()
		case <-o.ctx.Done():
			m.err = o.ctx.Err()
			return
		}
		m.err = o.guard("Fetch", func() (err error) {
			m.content, err = o.drop.Fetch(o.ctx, o.request.One(i))
			return err
		})
	}()
	return m
}

// Close implements [backends.Contents]. It waits for the Fetches that it has ended.
func (o *opener) Close() error {
	o.cancel()
	for _, m := range o.ahead {
		<-m.done
		if m.err == nil {
			_ = m.content.Close()
		}
	}
	o.ahead = nil
	return nil
}
