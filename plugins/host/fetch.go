package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// Fetch opens a message. It returns when the plugin has it; the chunks come meanwhile.
func (m *maildrop) Fetch(ctx context.Context, request backends.FetchRequest) (c backends.Content, err error) {
	err = m.patiently(ctx, messageKey(request.ID), func() error {
		c, err = m.fetch(ctx, request)
		return err
	})
	return c, err
}

func (m *maildrop) fetch(ctx context.Context, request backends.FetchRequest) (backends.Content, error) {
	f, err := m.ask(ctx, backends.FetchManyRequest{
		IDs: []backends.MessageID{request.ID}, Top: request.Top, Lines: request.Lines, Rendering: request.Rendering,
	}, 0)
	if err != nil {
		return nil, err
	}
	c, err := f.Next(ctx)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return single{c.(*content)}, nil
}

// single is the one message of its fetch, which ends with it.
type single struct{ *content }

func (s single) Close() error { return s.f.Close() }

// FetchMany implements [backends.ManyFetcher]. It waits for no message. What the store wants not
// to be asked for now fails here, or with its message: a client that waits asks for it by itself.
func (m *maildrop) FetchMany(ctx context.Context, request backends.FetchManyRequest) (backends.Contents, error) {
	if paused := m.paused.of(sessionKey); paused != nil {
		return nil, paused
	}
	number := m.g.files.expect(len(request.IDs))
	f, err := m.ask(ctx, request, number)
	if err != nil {
		m.g.files.forget(number)
		return nil, err
	}
	return f, nil
}

// ask sends a fetch. The number is that for open files; 0: none are taken.
func (m *maildrop) ask(ctx context.Context, request backends.FetchManyRequest, number uint64) (*flow, error) {
	window := int64(m.g.spec.FetchWindow)
	fetch, err := convert.FetchToProto(request, window)
	if err != nil {
		return nil, refused(err)
	}
	fetch.Files, fetch.WholeFiles = number, number != 0
	f := &flow{
		m: m, request: request, number: number, window: window, granted: window,
		messages: make([]content, len(request.IDs)), more: make(chan struct{}, 1),
	}
	for i := range f.messages {
		f.messages[i] = content{f: f, index: i, size: -1, fd: -1}
	}
	f.id, err = m.begin(ctx, f, func(id uint64) *pb.MaildropRequest {
		return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Fetch{Fetch: fetch}}
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// flow is a fetch under way. The receiving goroutine of the maildrop puts in what comes, one
// message after the other and as much as the window allows; its reader takes it out and grants
// more.
type flow struct {
	m       *maildrop
	request backends.FetchManyRequest
	id      uint64
	number  uint64 // for open files; 0: none are taken
	window  int64
	more    chan struct{} // holds a token when something has come

	mu       sync.Mutex
	messages []content
	current  int   // the message whose frames come now
	granted  int64 // octets that may still come
	unread   int64 // octets that have come and that nobody will read, not granted again yet
	over     bool  // nothing follows
	closed   bool
	done     []int // open files that have been read, to be closed

	// The reader's own.
	given int   // messages that Next has told of
	owed  int64 // octets read and not yet granted again
}

func (f *flow) answer(a answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	if f.current == len(f.messages) {
		if a.chunk != nil {
			a.chunk.Free()
		}
		return errors.New("an answer to a fetch all of whose messages have ended")
	}
	if err := f.put(a); err != nil {
		return err
	}
	if a.end {
		var failure error
		if a.failure != nil {
			failure = a.failure
		}
		f.messages[f.current].finish(failure)
		f.current++
	}
	return nil
}

// put takes what a frame holds besides the end of a message. f.mu is held.
func (f *flow) put(a answer) error {
	c := &f.messages[f.current]
	if a.chunk != nil {
		return c.put(a.chunk)
	}
	switch r := a.message.GetResponse().(type) {
	case *pb.MaildropResponse_Head:
		return c.begin(r.Head)
	case *pb.MaildropResponse_Files:
		if a.end {
			return errors.New("open files with the end of a message")
		}
		return f.takeFiles(r.Files.GetFiles())
	case nil:
		if a.end {
			return nil
		}
	}
	return errors.New("an answer to a fetch that is none")
}

// takeFiles takes the open files over that were sent for the next messages. f.mu is held.
func (f *flow) takeFiles(files []*pb.File) error {
	if f.number == 0 || len(files) == 0 || len(files) > len(f.messages)-f.current {
		return fmt.Errorf("%d open files, which were not asked for", len(files))
	}
	fds, err := f.m.g.files.take(f.number, len(files))
	if err != nil {
		return err
	}
	for i, file := range files {
		if err := f.messages[f.current].handOver(file, fds[i]); err != nil {
			f.m.g.files.drop(fds[i:]...)
			return err
		}
		f.current++
	}
	return nil
}

// finish is called when no frame follows. What has not ended by then has failed: but for the last
// message, which ends with the request.
func (f *flow) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	if f.over {
		return
	}
	f.over = true
	for i := f.current; i < len(f.messages); i++ {
		if end := err; end == nil && i < len(f.messages)-1 {
			f.messages[i].finish(errors.New("a fetch ended before all of its messages"))
		} else {
			f.messages[i].finish(end)
		}
	}
	f.current = len(f.messages)
	f.m.g.files.forget(f.number)
}

func (f *flow) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// Next implements [backends.Contents].
func (f *flow) Next(ctx context.Context) (backends.Content, error) {
	if f.given > 0 {
		_ = f.messages[f.given-1].Close()
	}
	if f.given == len(f.messages) {
		return nil, io.EOF
	}
	c := &f.messages[f.given]
	f.given++
	c.ctx = ctx
	if err := c.awaitHead(); err != nil {
		_ = c.Close()
		if len(f.messages) > 1 {
			f.m.pauses(messageKey(f.request.IDs[c.index]), err)
		}
		return nil, err
	}
	return c, nil
}

// read grants octets to the plugin again when half of the window has been read: messages that
// fit the window's half cost no frame for it.
func (f *flow) read(n int) {
	f.owed += int64(n)
	f.mu.Lock()
	if f.owed += f.unread; f.owed < f.window/2 || f.over {
		f.unread = 0
		f.mu.Unlock()
		return
	}
	f.unread = 0
	f.granted += f.owed
	f.mu.Unlock()
	f.m.tell(f.m.g.spec.CallTimeout, &pb.MaildropRequest{Id: f.id, Request: &pb.MaildropRequest_Window{Window: &pb.Window{Octets: f.owed}}})
	f.owed = 0
}

// Close implements [backends.Contents].
func (f *flow) Close() error {
	f.mu.Lock()
	cancel := !f.over && !f.closed
	for i := range f.messages {
		f.messages[i].drop()
	}
	f.closed = true
	f.closeFiles()
	f.mu.Unlock()
	if cancel {
		f.m.giveUp(f.id)
	}
	return nil
}
