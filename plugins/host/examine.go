package host

import (
	"context"
	"fmt"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

// Examine implements [backends.Examiner]. It takes as long as its context allows: a step may wait for a server that
// does not answer.
func (s *Store) Examine(ctx context.Context, request backends.ExamineRequest, tell func(backends.Step)) error {
	m, err := convert.ExamineToProto(request)
	if err != nil {
		return refused(err)
	}
	g, err := s.use(ctx)
	if err != nil {
		return err
	}
	defer g.release()
	if !isExaminer(g.desc.Capabilities) {
		return g.lacks()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(g.life, func() { cancel(ErrPluginDied) })()
	defer g.pulse.await()()
	stream, err := g.stub.Examine(ctx, m)
	if err != nil {
		return g.failure(ctx, err)
	}
	for told := 0; ; told++ {
		step, err := stream.Recv()
		switch {
		case isEOF(err):
			return nil
		case err != nil:
			return g.failure(ctx, err)
		case told == backends.StepsMost:
			return g.invalid(fmt.Errorf("an examination of more than %d steps", backends.StepsMost))
		}
		g.pulse.beat()
		tell(convert.StepFromProto(step))
	}
}
