package serve

import (
	"context"
	"errors"
	"io"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// filesAtOnce is how many open files are handed over with one record.
const filesAtOnce = 16

// fetching is a Fetch under way: it answers for one message after the other.
type fetching struct {
	*maildrop
	*task
	contents backends.Contents
	left     int    // messages that have not been answered for or held
	files    uint64 // the number for open files; 0: they are not wanted
	whole    bool   // files may be whole
	held     []held // to be handed over together, before any other answer
}

// held is a message that stands in an open file.
type held struct {
	content backends.Content
	file    backends.OpenFile
	frame   *pb.File // where in its file it stands
}

// fetch sends messages. A failure of one is told with its end, and the others go on.
func (m *maildrop) fetch(ctx context.Context, r *task, frame *pb.Fetch) error {
	request, err := convert.FetchFromProto(frame)
	if err != nil {
		return err
	}
	contents, err := m.openMany(ctx, request)
	if err != nil {
		return err
	}
	defer func() { _ = contents.Close() }()
	f := &fetching{maildrop: m, task: r, contents: contents, left: len(request.IDs)}
	if m.service.files != nil {
		f.files, f.whole = frame.GetFiles(), frame.GetWholeFiles()
	}
	defer f.drop()
	for f.left > 0 {
		if err := f.next(ctx); err != nil {
			return err
		}
	}
	return f.handOver(ctx, true)
}

// next answers for the next message.
func (f *fetching) next(ctx context.Context) error {
	f.left--
	var content backends.Content
	err := f.service.guard("Contents.Next", func() (err error) {
		content, err = f.contents.Next(ctx)
		return err
	})
	if err != nil {
		return f.failed(ctx, err)
	}
	if f.hold(content) {
		if len(f.held) < filesAtOnce {
			return nil
		}
		return f.handOver(ctx, f.left == 0)
	}
	if err := f.handOver(ctx, false); err != nil {
		return errors.Join(err, content.Close())
	}
	return f.send(ctx, content, f.left == 0)
}

// failed ends a message with its failure. That of the last one ends the request.
func (f *fetching) failed(ctx context.Context, err error) error {
	if e := f.handOver(ctx, false); e != nil {
		return e
	}
	switch {
	case ctx.Err() != nil || f.left == 0:
		return err
	case err == io.EOF: // itself: a message's failure may wrap one
		return backends.Fail(backends.Temporary, "the backend gave fewer messages than were asked for")
	}
	return f.maildrop.send(&pb.MaildropResponse{Id: f.id, End: true, Failure: convert.FailureToProto(backends.AsFailure(err))})
}

// send sends a message: a head, and chunks as the window allows. The last chunk carries the
// end, where the content meets its end in the same read.
func (f *fetching) send(ctx context.Context, content backends.Content, last bool) error {
	err := f.service.guard("Content.Read", func() error {
		defer func() { _ = content.Close() }()
		size := max(-1, content.Size())
		if err := f.maildrop.send(&pb.MaildropResponse{
			Id: f.id, Response: &pb.MaildropResponse_Head{Head: &pb.FetchHead{Size: size}},
		}); err != nil {
			return err
		}
		return f.chunks(ctx, content, size, last)
	})
	if err == nil || errors.Is(err, errAnswered) || last || ctx.Err() != nil {
		return err
	}
	return f.maildrop.send(&pb.MaildropResponse{Id: f.id, End: true, Failure: convert.FailureToProto(backends.AsFailure(err))})
}

func (f *fetching) chunks(ctx context.Context, content backends.Content, size int64, last bool) error {
	count := counter{size: size}
	for room := wire.FirstChunk; ; room = convert.ChunkMost {
		window, err := f.credit.take(ctx, min(room, roomFor(size)))
		if err != nil {
			return err
		}
		buf := wire.Chunks.Get(window)
		n, err := readEnough(content, *buf)
		f.credit.grant(int64(window - n))
		err = count.add(n, err)
		switch {
		case err == io.EOF && last:
			f.forget(f.id)
			if err := f.chunk(buf, n, wire.LastOfRequest); err != nil {
				return err
			}
			return errAnswered
		case err == io.EOF:
			return f.chunk(buf, n, wire.LastOfMessage)
		case err != nil:
			return err
		}
		if err := f.chunk(buf, n, wire.LastOfNone); err != nil {
			return err
		}
	}
}

// chunk sends the first n octets of a buffer, and gives it away.
func (f *fetching) chunk(buf *[]byte, n int, last wire.Last) error {
	if n == 0 {
		wire.Chunks.Put(buf)
		if last == wire.LastOfNone {
			return nil
		}
		return f.maildrop.send(&pb.MaildropResponse{Id: f.id, End: last == wire.LastOfMessage, Done: last == wire.LastOfRequest})
	}
	f.sending.Lock()
	defer f.sending.Unlock()
	return f.stream.SendMsg(wire.MaildropChunk(f.id, last, wire.Filled(buf, n)))
}

// hold takes a content that can be handed over as an open file.
func (f *fetching) hold(content backends.Content) bool {
	if f.files == 0 {
		return false
	}
	if whole, ok := content.(backends.WholeFileContent); ok && f.whole {
		if file, size, length := whole.WholeFile(); file != nil {
			f.held = append(f.held, held{content, file, &pb.File{Size: max(-1, size), Length: max(-1, length), Whole: true}})
			return true
		}
	}
	if part, ok := content.(backends.FileContent); ok {
		if file, offset, length := part.File(); file != nil {
			f.held = append(f.held, held{content, file, &pb.File{Size: max(-1, content.Size()), Offset: offset, Length: length}})
			return true
		}
	}
	return false
}

// handOver hands the files over that are held, or else sends what stands in them: the system may
// have no room for more of them on their way. last: they are the last messages.
func (f *fetching) handOver(ctx context.Context, last bool) error {
	if len(f.held) == 0 {
		return nil
	}
	defer f.drop()
	if err := f.service.files.send(f.files, f.held); err != nil {
		f.files = 0
		return f.sendHeld(ctx, last)
	}
	if last {
		f.forget(f.id)
	}
	frames := make([]*pb.File, len(f.held))
	for i := range f.held {
		frames[i] = f.held[i].frame
	}
	if err := f.maildrop.send(&pb.MaildropResponse{
		Id: f.id, Done: last, Response: &pb.MaildropResponse_Files{Files: &pb.Files{Files: frames}},
	}); err != nil {
		return err
	}
	if last {
		return errAnswered
	}
	return nil
}

func (f *fetching) sendHeld(ctx context.Context, last bool) error {
	for len(f.held) > 0 {
		content := f.held[0].content
		f.held = f.held[1:]
		if err := f.send(ctx, content, last && len(f.held) == 0); err != nil {
			return err
		}
	}
	return nil
}

// drop closes what is held.
func (f *fetching) drop() {
	for _, h := range f.held {
		_ = h.content.Close()
	}
	f.held = f.held[:0]
}
