package host

import (
	"context"
	"errors"
	"slices"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// MarkSeen implements [backends.Marker]. A plugin whose store has no such mark, or that was
// made before there was this request, answers [backends.Unsupported].
func (m *maildrop) MarkSeen(ctx context.Context, ids []backends.MessageID) error {
	for batch := range slices.Chunk(ids, removeMost) {
		if err := m.patiently(ctx, sessionKey, func() error { return m.markBatch(ctx, batch) }); err != nil {
			return err
		}
	}
	return nil
}

func (m *maildrop) markBatch(ctx context.Context, ids []backends.MessageID) error {
	mark, err := convert.MarkSeenToProto(ids)
	if err != nil {
		return refused(err)
	}
	r := &marking{done: make(chan struct{}, 1)}
	id, err := m.begin(ctx, r, func(id uint64) *pb.MaildropRequest {
		return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_MarkSeen{MarkSeen: mark}}
	})
	if err != nil {
		return err
	}
	if err := m.wait(ctx, r.done); err != nil {
		m.giveUp(id)
		return err
	}
	return r.err
}

// marking is a MarkSeen under way.
type marking struct {
	done chan struct{} // gets a token once err is set
	err  error
}

func (r *marking) answer(answer) error {
	return errors.New("an answer to a mark that has something in it")
}

func (r *marking) finish(err error) {
	r.err = err
	r.done <- struct{}{}
}
