package host

import (
	"context"
	"errors"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// removeMost bounds one Remove on the wire: ids of 1 KiB at the worst.
const removeMost = 1000

// Remove removes messages, in as many requests as the wire and the store want it in. With none of
// them, too, the plugin is asked.
func (m *maildrop) Remove(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	most := removeMost
	if limit := m.g.desc.Limits.RemovalsAtATime; limit > 0 {
		most = min(most, limit)
	}
	removals := make([]backends.Removal, 0, len(ids))
	for asked := false; !asked || len(ids) > 0; asked = true {
		batch := ids[:min(most, len(ids))]
		var done []backends.Removal
		err := m.patiently(ctx, sessionKey, func() (err error) {
			done, err = m.removeBatch(ctx, batch, disposal)
			return err
		})
		if err != nil && len(removals) == 0 {
			return nil, err
		}
		if err != nil { // of the earlier ones it is known: say so
			for _, id := range ids {
				removals = append(removals, backends.Removal{ID: id, Failure: backends.AsFailure(err)})
			}
			return removals, nil
		}
		removals = append(removals, done...)
		ids = ids[len(batch):]
	}
	return removals, nil
}

func (m *maildrop) removeBatch(ctx context.Context, ids []backends.MessageID, disposal backends.Disposal) ([]backends.Removal, error) {
	remove, err := convert.RemoveToProto(ids, disposal)
	if err != nil {
		return nil, refused(err)
	}
	r := &removal{asked: ids, done: make(chan struct{}, 1)}
	id, err := m.begin(ctx, r, func(id uint64) *pb.MaildropRequest {
		return &pb.MaildropRequest{Id: id, Request: &pb.MaildropRequest_Remove{Remove: remove}}
	})
	if err != nil {
		return nil, err
	}
	if err := m.wait(ctx, r.done); err != nil {
		m.giveUp(id)
		return nil, err
	}
	return r.removals, r.err
}

// removal is a Remove under way.
type removal struct {
	asked    []backends.MessageID
	done     chan struct{} // gets a token once the rest is set
	removals []backends.Removal
	answered bool
	err      error
}

func (r *removal) answer(a answer) (err error) {
	answer, ok := a.message.GetResponse().(*pb.MaildropResponse_Removals)
	if !ok || r.answered {
		return errors.New("an answer to a removal that is none")
	}
	r.answered = true
	r.removals, err = convert.RemovalsFromProto(answer.Removals, r.asked)
	return err
}

func (r *removal) finish(err error) {
	if r.err = err; err == nil && !r.answered && len(r.asked) > 0 { // protobuf may leave an empty answer out
		r.err = backends.Fail(backends.Temporary, "the plugin answered a removal with nothing")
	}
	r.done <- struct{}{}
}
