package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// liar is a plugin that somebody else has written: with gRPC's own codec and options, nothing
// of package serve, and, where a user or a message says so, against the rules.
type liar struct {
	nonsense bool // it asks the vault for what there is not
	pb.UnimplementedStoreServer
	measures   bool
	deliveries bool
	toTheEnd   bool   // it has no sending sessions, and reads a Send until the gateway closes its side
	parks      bool   // it says so, and does as the folder's name says
	streams    uint32 // how many it takes at a time; 0: any number
}

// stderr is the process's own; go-plugin puts another one in its place.
var stderr = os.Stderr

func serveLiar(l liar) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         plugin.PluginSet{"store": &liarPlugin{liar: l}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			if l.streams > 0 {
				options = append(options, grpc.MaxConcurrentStreams(l.streams))
			}
			return plugin.DefaultGRPCServer(options)
		},
	})
}

type liarPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	liar liar
}

func (p *liarPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pb.RegisterStoreServer(s, p.liar)
	return nil
}

func (*liarPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (l liar) Describe(context.Context, *pb.DescribeRequest) (*pb.Description, error) {
	return &pb.Description{Name: "liar", Capabilities: &pb.Capabilities{
		Reader: true, Receiver: true, Sender: true, Outbox: true, Authenticator: true, SendSessions: !l.toTheEnd, Deliveries: l.deliveries,
	}, Mechanisms: []string{"X-LONG"}, Reading: &pb.Reading{Measures: l.measures, Parks: l.parks}}, nil
}

func (liar) Configure(_ context.Context, m *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	if strings.Contains(string(m.GetRaw()), "nothing") {
		return nil, status.Error(codes.Internal, "no\x1b[31m")
	}
	return &pb.ConfigureResponse{}, nil
}

func (liar) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	return nil, status.Error(codes.Internal, "broken, and it answers")
}

func (liar) Login(_ context.Context, m *pb.LoginRequest) (*pb.Account, error) {
	if m.GetCredential().GetUser() == "plain" {
		return nil, status.Error(codes.Unauthenticated, "said without a failure")
	}
	if m.GetCredential().GetUser() == "crash" {
		_, _ = fmt.Fprintln(stderr, "TypeError: the database is undefined")
		os.Exit(3)
	}
	return &pb.Account{Id: "id"}, nil
}

func (liar) Authenticate(stream grpc.BidiStreamingServer[pb.AuthenticateRequest, pb.AuthenticateResponse]) error {
	return stream.Send(&pb.AuthenticateResponse{Challenge: make([]byte, challengeMost+1)})
}

func (liar) Deliver(stream grpc.ClientStreamingServer[pb.DeliverRequest, pb.Verdicts]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	octets := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		octets += len(m.GetChunk())
		if m.GetEnd() == nil {
			continue
		}
		verdicts := &pb.Verdicts{}
		for _, r := range first.GetDelivery().GetRecipients() {
			verdicts.Verdicts = append(verdicts.Verdicts, &pb.Verdict{Recipient: r.GetAddress()})
		}
		if int64(octets) != first.GetDelivery().GetSize() {
			return status.Error(codes.DataLoss, "octets are missing")
		}
		return stream.SendAndClose(verdicts)
	}
}

// Deliveries answers as the first recipient says.
func (liar) Deliveries(stream grpc.BidiStreamingServer[pb.DeliveriesRequest, pb.DeliveriesResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetDelivery() == nil { // nobody waits for an answer any more
			continue
		}
		to := m.GetDelivery().GetRecipients()[0].GetAddress()
		answer := &pb.DeliveriesResponse{Id: m.GetId(), Verdicts: &pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: to}}}}
		switch what, _, _ := strings.Cut(to, "@"); what {
		case "other-id":
			answer.Id += 1000
		case "twice":
			_ = stream.Send(answer)
		case "nobody":
			answer.Verdicts.Verdicts = nil
		case "nothing":
			answer.Verdicts = nil
		case "ends":
			return nil
		case "fails":
			return status.Error(codes.Internal, "no")
		case "fails-for-good":
			return convert.ErrorToStatus(backends.Fail(backends.Permanent, "all of it"))
		case "late":
			continue // never
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

// Send answers in a session as the first recipient says.
func (l liar) Send(stream grpc.BidiStreamingServer[pb.SendRequest, pb.Verdicts]) error {
	var delivery *pb.Delivery
	for {
		m, err := stream.Recv()
		if err != nil && delivery != nil && l.toTheEnd {
			return stream.Send(&pb.Verdicts{Verdicts: []*pb.Verdict{{Recipient: delivery.GetRecipients()[0].GetAddress()}}})
		}
		if err != nil {
			return nil
		}
		if d := cmp.Or(m.GetStart().GetDelivery(), m.GetDelivery()); d != nil {
			delivery = d
		}
		if m.GetEnd() == nil || l.toTheEnd {
			continue
		}
		answer := &pb.Verdicts{Key: delivery.GetKey()}
		for _, r := range delivery.GetRecipients() {
			answer.Verdicts = append(answer.Verdicts, &pb.Verdict{Recipient: r.GetAddress()})
		}
		switch what, _, _ := strings.Cut(answer.GetVerdicts()[0].GetRecipient(), "@"); what {
		case "other-key":
			answer.Key += "x"
		case "no-key":
			answer.Key = ""
		case "twice":
			_ = stream.Send(answer)
		case "then-fails":
			_ = stream.Send(answer)
			answer = &pb.Verdicts{Key: delivery.GetKey(), Failure: &pb.Failure{Kind: pb.Kind_KIND_PERMANENT, Detail: "of the first message"}}
		case "ends":
			return nil
		case "fails":
			return status.Error(codes.Internal, "no")
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (liar) Collect(stream grpc.BidiStreamingServer[pb.CollectRequest, pb.CollectResponse]) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	out := func(frames ...*pb.CollectResponse) error {
		for _, f := range frames {
			if err := stream.Send(f); err != nil {
				return err
			}
		}
		_, err := stream.Recv()
		return err
	}
	outgoing := &pb.CollectResponse{Frame: &pb.CollectResponse_Outgoing{
		Outgoing: &pb.Outgoing{Id: []byte("x"), Recipients: []*pb.Recipient{{Address: "a@b.example"}}, Size: 10},
	}}
	chunk := func(n int) *pb.CollectResponse {
		return &pb.CollectResponse{Frame: &pb.CollectResponse_Chunk{Chunk: make([]byte, n)}}
	}
	end := &pb.CollectResponse{Frame: &pb.CollectResponse_End{End: &pb.CollectEnd{}}}
	switch m.GetStart().GetMost() {
	case 1:
		return out(chunk(5))
	case 2:
		return out(outgoing, chunk(5), end)
	case 3:
		return out(outgoing, chunk(50), end)
	case 4:
		return out(outgoing, outgoing)
	case 5:
		return out(&pb.CollectResponse{Frame: &pb.CollectResponse_Outgoing{Outgoing: &pb.Outgoing{}}})
	case 6:
		return stream.Send(outgoing) // and the end of the stream
	}
	return out(outgoing, chunk(10), end)
}

func chunkOf(id uint64, n int) *pb.MaildropResponse {
	return &pb.MaildropResponse{Id: id, Response: &pb.MaildropResponse_Chunk{Chunk: wholePattern(n)}}
}

func headOf(id uint64, n int64) *pb.MaildropResponse {
	return &pb.MaildropResponse{Id: id, Response: &pb.MaildropResponse_Head{Head: &pb.FetchHead{Size: n}}}
}

// listOf is a whole list.
func listOf(id uint64, entries ...*pb.Entry) *pb.MaildropResponse {
	return &pb.MaildropResponse{Id: id, Done: true, Response: &pb.MaildropResponse_Entries{Entries: &pb.Entries{Entries: entries}}}
}

func endOf(id uint64) *pb.MaildropResponse { return &pb.MaildropResponse{Id: id, End: true} }

func doneOf(id uint64) *pb.MaildropResponse { return &pb.MaildropResponse{Id: id, Done: true} }

func (liar) Maildrop(stream grpc.BidiStreamingServer[pb.MaildropRequest, pb.MaildropResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetResume() != nil {
		return status.Error(codes.Internal, "what was parked is lost")
	}
	opened := &pb.MaildropResponse{Id: 1, Done: true, Response: &pb.MaildropResponse_Opened{Opened: &pb.Account{Id: "id"}}}
	switch first.GetOpen().GetFolder() {
	case "early":
		return nil
	case "other":
		opened.Id = 2
	case "chunk":
		opened = chunkOf(1, 5)
	case "failure":
		opened = &pb.MaildropResponse{Id: 1, Done: true, Failure: &pb.Failure{Kind: pb.Kind_KIND_IN_USE}}
	}
	if err := stream.Send(opened); err != nil {
		return err
	}
	if first.GetOpen().GetFolder() == "deaf" {
		<-stream.Context().Done()
		return nil
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if first.GetOpen().GetFolder() == "no end" {
				<-stream.Context().Done()
			}
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetPark() != nil {
			if goesOn, err := parkedWrongly(stream, first.GetOpen().GetFolder(), m.GetId()); !goesOn {
				return err
			}
			continue
		}
		if first.GetOpen().GetFolder() == "unique-id" {
			if err := stream.Send(listOf(m.GetId(), &pb.Entry{Id: []byte("x"), Uidl: "two words"})); err != nil {
				return err
			}
			continue
		}
		for _, answer := range lies(m) {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// lies are the answers to a request.
func lies(m *pb.MaildropRequest) []*pb.MaildropResponse {
	id := m.GetId()
	if m.GetList() != nil {
		entries := make([]*pb.Entry, convert.EntriesMost)
		for i := range entries {
			entries[i] = &pb.Entry{Id: []byte("x")}
		}
		frame := &pb.MaildropResponse{Id: id, Response: &pb.MaildropResponse_Entries{Entries: &pb.Entries{Entries: entries}}}
		var frames []*pb.MaildropResponse
		for range 100 { // whatever the window is
			frames = append(frames, frame)
		}
		return append(frames, doneOf(id))
	}
	if m.GetMeasure() != nil {
		return measuredLies(id, string(m.GetMeasure().GetIds()[0]))
	}
	if m.GetRemove() != nil { // with nothing, which answers the question whether it can be done
		return []*pb.MaildropResponse{doneOf(id)}
	}
	file := func(id uint64) *pb.MaildropResponse {
		return &pb.MaildropResponse{Id: id, Response: &pb.MaildropResponse_Files{Files: &pb.Files{Files: []*pb.File{{Size: 5, Length: 5}}}}}
	}
	if m.GetWindow().GetOctets() > 0 { // what "spent" waits for
		return []*pb.MaildropResponse{chunkOf(id, 5), doneOf(id)}
	}
	if m.GetFetch() == nil {
		return nil
	}
	switch string(m.GetFetch().GetIds()[0]) {
	case "spent": // is the window, by the first message
		last := chunkOf(id, int(m.GetFetch().GetWindow()))
		last.End = true
		return []*pb.MaildropResponse{headOf(id, m.GetFetch().GetWindow()), last, headOf(id, 5)}
	case "open files unasked":
		return []*pb.MaildropResponse{file(id), doneOf(id)}
	case "no record": // of an open file
		return []*pb.MaildropResponse{headOf(id, 0), endOf(id), file(id), doneOf(id)}
	case "part of a whole": // file
		part := file(id)
		part.GetFiles().Files[0].Whole, part.GetFiles().Files[0].Offset = true, 1
		return []*pb.MaildropResponse{part, headOf(id, 0), endOf(id), headOf(id, 0), doneOf(id)}
	case "too few": // messages
		return []*pb.MaildropResponse{headOf(id, 5), chunkOf(id, 5), endOf(id), headOf(id, 5), chunkOf(id, 5), doneOf(id)}
	case "too many":
		return []*pb.MaildropResponse{headOf(id, 0), endOf(id), headOf(id, 0), endOf(id), headOf(id, 0), endOf(id), headOf(id, 0), endOf(id)}
	case "no end":
		return []*pb.MaildropResponse{headOf(id, 5), chunkOf(id, 5), headOf(id, 5)}
	case "right":
		return []*pb.MaildropResponse{headOf(id, 100_000), chunkOf(id, 100_000), doneOf(id)}
	case "no head":
		return []*pb.MaildropResponse{chunkOf(id, 5), doneOf(id)}
	case "nothing":
		return []*pb.MaildropResponse{doneOf(id)}
	case "two heads":
		return []*pb.MaildropResponse{headOf(id, 5), headOf(id, 5)}
	case "overrun":
		frames := []*pb.MaildropResponse{headOf(id, -1)}
		for range 100 {
			frames = append(frames, chunkOf(id, convert.ChunkMost))
		}
		return append(frames, doneOf(id))
	case "large chunk":
		return []*pb.MaildropResponse{headOf(id, -1), chunkOf(id, convert.ChunkMost+1), doneOf(id)}
	case "empty chunk":
		return []*pb.MaildropResponse{headOf(id, -1), chunkOf(id, 0), doneOf(id)}
	case "too little":
		return []*pb.MaildropResponse{headOf(id, 50), chunkOf(id, 5), doneOf(id)}
	case "too much":
		return []*pb.MaildropResponse{headOf(id, 5), chunkOf(id, 50), doneOf(id)}
	case "another id":
		return []*pb.MaildropResponse{headOf(id+7, 5)}
	case "done twice":
		return []*pb.MaildropResponse{headOf(id, 5), chunkOf(id, 5), doneOf(id), doneOf(id)}
	case "entries":
		return []*pb.MaildropResponse{{Id: id, Response: &pb.MaildropResponse_Entries{Entries: &pb.Entries{}}}}
	case "failure in the middle":
		return []*pb.MaildropResponse{headOf(id, 5), {Id: id, Failure: &pb.Failure{}}}
	}
	return nil
}

// TestForeignPlugin: a plugin that uses nothing of ours works, with protobuf as it is.
func TestForeignPlugin(t *testing.T) {
	s, _ := start(t, specOf(t, "liar", fakeSettings{}))
	drop := openDrop(t, s)
	if removals, err := drop.Remove(t.Context(), nil, backends.DisposalRemove); err != nil || len(removals) > 0 {
		t.Error(removals, err)
	}
	if got, err := io.ReadAll(fetch(t, drop, "right")); err != nil || !bytes.Equal(got, wholePattern(100_000)) {
		t.Error(len(got), err)
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	d := delivery("b@x.example")
	d.Size = 1_000_000
	if v, err := s.Deliver(t.Context(), d, io.LimitReader(&endless{}, d.Size)); err != nil || len(v) != 1 || v[0].Failure != nil {
		t.Error(v, err)
	}
	_, err := s.Resolve(t.Context(), backends.ResolveQuery{})
	kindIs(t, err, backends.Unsupported)
	_, err = s.Login(t.Context(), userNamed("plain"))
	kindIs(t, err, backends.Temporary) // an outage, as far as can be told
	kindIs(t, s.Health(t.Context()), backends.Temporary)
}

// TestLies: a plugin that breaks the rules ends its session, and nothing else (I10).
func TestLies(t *testing.T) {
	s, log := start(t, specOf(t, "liar", fakeSettings{}))
	other := openDrop(t, s)
	for _, id := range []string{
		"no head", "nothing", "two heads", "overrun", "large chunk", "empty chunk", "too little", "too much",
		"another id", "entries", "failure in the middle", "open files unasked",
	} {
		t.Run("fetch/"+id, func(t *testing.T) {
			drop := openDrop(t, s)
			ended := make(chan struct{})
			drop.Opened().AfterLoss(func() { close(ended) })
			content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: backends.MessageID(id)})
			if err == nil {
				_, err = io.ReadAll(content)
				_ = content.Close()
			}
			kindIs(t, err, backends.Temporary)
			// Where the session is over that is told: each further request would fail, as long as
			// the client asks.
			if content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "right"}); err == nil {
				_ = content.Close()
				return
			}
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Error("nobody is told that the session is over")
			}
		})
	}
	t.Run("fetch/done twice", func(t *testing.T) {
		drop := openDrop(t, s)
		if got, err := io.ReadAll(fetch(t, drop, "done twice")); err != nil || len(got) != 5 {
			t.Error(got, err)
		}
		if err := drop.Close(); err == nil {
			t.Error("the session was ended in good order")
		}
	})
	t.Run("list", func(t *testing.T) {
		drop := openDrop(t, s)
		n := 0
		var last error
		for _, err := range drop.List(t.Context()) {
			if last = err; err == nil {
				n++
			}
			if n == 1 { // while the reader is here, more comes than the window allows
				_, err := drop.Remove(t.Context(), []backends.MessageID{"x"}, 0)
				kindIs(t, err, backends.Temporary)
			}
		}
		kindIs(t, last, backends.Temporary)
		if n > 2*listWindow {
			t.Errorf("%d entries", n)
		}
	})
	for folder, kind := range map[string]backends.Kind{
		"early": backends.Temporary, "other": backends.Temporary, "chunk": backends.Temporary, "failure": backends.InUse,
	} {
		t.Run("open/"+folder, func(t *testing.T) {
			_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: folder})
			kindIs(t, err, kind)
		})
	}
	for most := range 7 {
		t.Run("collect", func(t *testing.T) {
			err := s.Collect(t.Context(), backends.CollectRequest{Most: most + 1}, func(_ context.Context, _ backends.Outgoing, c backends.Content) error {
				_, err := io.Copy(io.Discard, c)
				return err
			})
			if most == 6 { // this one keeps the rules
				if err != nil {
					t.Error(err)
				}
				return
			}
			kindIs(t, err, backends.Temporary)
		})
	}
	t.Run("challenge", func(t *testing.T) {
		e, err := s.Authenticate(t.Context(), "X-LONG", backends.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Close() }()
		_, _, err = e.Next(t.Context(), nil)
		kindIs(t, err, backends.Temporary)
	})
	if got, err := io.ReadAll(fetch(t, other, "right")); err != nil || len(got) != 100_000 {
		t.Error("the other session:", len(got), err)
	}
	if s.Status().Generation != 1 || !strings.Contains(log.String(), "not valid") {
		t.Error(s.Status())
	}
	t.Run("settings", func(t *testing.T) {
		spec := specOf(t, "liar", fakeSettings{Name: "nothing"})
		if err := s.Swap(t.Context(), spec); err == nil || strings.ContainsRune(err.Error(), 0x1b) {
			t.Error(err)
		}
	})
}

// TestNoEnd: a plugin that leaves a session's stream open is told so by name, and holds the session's
// end up for no longer than its own bound.
func TestNoEnd(t *testing.T) {
	spec := specOf(t, "liar", fakeSettings{})
	spec.CallTimeout, spec.CloseTimeout = time.Hour, 300*time.Millisecond
	s, _ := start(t, spec)
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: "no end"})
	if err != nil {
		t.Fatal(err)
	}
	err = drop.Close()
	kindIs(t, err, backends.Temporary)
	if !errors.Is(err, errNoEnd) {
		t.Error(err)
	}
}

// TestCloseOfOneThatReadsNothing: what is still being sent to a plugin that reads nothing holds the
// session's end up for no longer than its bound, and fails with it.
func TestCloseOfOneThatReadsNothing(t *testing.T) {
	spec := specOf(t, "liar", fakeSettings{})
	spec.CallTimeout, spec.StallTimeout, spec.CloseTimeout = time.Hour, time.Hour, 300*time.Millisecond
	s, _ := start(t, spec)
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: "deaf"})
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]backends.MessageID, removeMost)
	for i := range ids {
		ids[i] = backends.MessageID(fmt.Sprintf("%01000d", i))
	}
	given, cancel := context.WithCancel(t.Context())
	removing := make(chan error)
	for range 4 { // more than the stream's window has room for
		go func() {
			_, err := drop.Remove(given, ids, backends.DisposalRemove)
			removing <- err
		}()
	}
	m := drop.(*maildrop)
	for {
		if !m.sending.TryLock() {
			break // one of them is being sent
		}
		m.sending.Unlock()
	}
	cancel()
	_ = drop.Close()
	for range 4 {
		if err := <-removing; err == nil {
			t.Error("a removal that nobody has read succeeds")
		}
	}
}

// TestTested: what is mended in silence for the gateway is told to the plugin's author, and what
// the process said before it died.
func TestTested(t *testing.T) {
	for _, tested := range []bool{false, true} {
		t.Run(fmt.Sprint(tested), func(t *testing.T) {
			spec := specOf(t, "liar", fakeSettings{})
			spec.Tested = tested
			s, log := start(t, spec)
			drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: "unique-id"})
			if err != nil {
				t.Fatal(err)
			}
			for _, err = range drop.List(t.Context()) {
			}
			if told := err != nil && strings.Contains(err.Error(), "unique-id"); told != tested {
				t.Errorf("a list with a unique-id that is none: %v", err)
			}
			_ = drop.Close()
			const words = "TypeError: the database is undefined"
			if _, err = s.Login(t.Context(), userNamed("crash")); !errors.Is(err, ErrPluginDied) || strings.Contains(err.Error(), words) != tested {
				t.Error(err)
			}
			within(t, "the end is logged", func() bool { return strings.Contains(log.String(), "has ended") })
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "has ended") && strings.Count(line, words) != 1 {
					t.Error(line)
				}
			}
		})
	}
}

// TestTestedDescription: the same of what it says of itself.
func TestTestedDescription(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{Extra: map[string]string{"maildrops": "-1"}})
	start(t, spec)
	spec.Tested = true
	if err := CheckSettings(t.Context(), zerolog.Nop(), spec); err == nil || !strings.Contains(err.Error(), "the limit -1") {
		t.Error(err)
	}
}
