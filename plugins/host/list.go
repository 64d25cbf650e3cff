package host

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// List yields the messages.
//
// A failure with a time to retry after is remembered for the login, too: without its list a
// maildrop is closed again.
func (m *maildrop) List(ctx context.Context) iter.Seq2[backends.Entry, error] {
	return func(yield func(backends.Entry, error) bool) {
		window := int64(m.g.spec.ListWindow)
		l := &listing{m: m, granted: window, more: make(chan struct{}, 1)}
		id, err := m.begin(ctx, l, func(id uint64) *pb.MaildropRequest {
			return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_List{List: &pb.List{Window: window}}}
		})
		if err != nil {
			yield(backends.Entry{}, err)
			return
		}
		for {
			entries, err := l.next(ctx, id)
			for _, entry := range entries {
				if !yield(entry, nil) {
					l.abandon(id)
					return
				}
			}
			if err == errListed {
				return
			}
			if err != nil {
				l.abandon(id)
				m.listFailed(err)
				yield(backends.Entry{}, err)
				return
			}
		}
	}
}

// errListed is the end of a list that is complete.
var errListed = errors.New("listed")

// listing is a List under way.
type listing struct {
	m    *maildrop
	more chan struct{} // holds a token when something has come

	mu      sync.Mutex
	entries []backends.Entry // come and not yet taken
	granted int64            // entries that may still come
	err     error            // no entry follows; errListed: that was all
}

func (l *listing) answer(a answer) error {
	batch, ok := a.message.GetResponse().(*pb.MaildropResponse_Entries)
	if !ok {
		return errors.New("an answer to a list that is none")
	}
	if len(batch.Entries.GetEntries()) > convert.EntriesMost {
		return fmt.Errorf("a frame of %d list entries", len(batch.Entries.GetEntries()))
	}
	entries := make([]backends.Entry, 0, len(batch.Entries.GetEntries()))
	for _, e := range batch.Entries.GetEntries() {
		entry, err := convert.EntryFromProto(e)
		if err == nil && l.m.g.spec.Tested {
			err = convert.EntryMended(e)
		}
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.granted -= int64(len(entries)); l.granted < 0 {
		return errors.New("more list entries than the window allows")
	}
	l.entries = append(l.entries, entries...)
	l.wake()
	return nil
}

func (l *listing) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if l.err = err; err == nil {
		l.err = errListed
	}
	l.wake()
}

// wake leaves a token.
func (l *listing) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// next waits for entries, and grants as many again as it takes.
func (l *listing) next(ctx context.Context, id uint64) ([]backends.Entry, error) {
	for {
		l.mu.Lock()
		entries, err := l.entries, l.err
		l.entries = nil
		l.granted += int64(len(entries))
		l.mu.Unlock()
		if len(entries) > 0 {
			if err == nil {
				l.m.tell(l.m.g.spec.CallTimeout, &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Window{
					Window: &pb.Window{Entries: int64(len(entries))},
				}})
			}
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if err := l.m.wait(ctx, l.more); err != nil {
			return nil, err
		}
	}
}

// abandon tells the plugin that the rest is not wanted, if there is one.
func (l *listing) abandon(id uint64) {
	l.mu.Lock()
	over := l.err != nil
	l.mu.Unlock()
	if !over {
		l.m.giveUp(id)
	}
}
