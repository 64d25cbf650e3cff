package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// delivered hands a small message over, and returns how that failed: as a whole, or for its first recipient.
func delivered(ctx context.Context, s *Store, to string) error {
	verdicts, err := s.Deliver(ctx, delivery(to), strings.NewReader("Subject: x\r\n\r\n"))
	if err != nil {
		return err
	}
	if f := verdicts[0].Failure; f != nil {
		return f
	}
	return nil
}

// smallStream is the stream of deliveries of the process that is current; nil: there was none.
func smallStream(s *Store) *deliveryStream {
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	g.small.mu.Lock()
	defer g.small.mu.Unlock()
	return g.small.stream
}

// TestDeliveriesOneStream: small messages of many senders need one stream, and each has its own answer. A large one
// has a stream of its own.
func TestDeliveriesOneStream(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 20 {
				to, want := fmt.Sprintf("u%d@x.example", i), backends.Kind(0)
				if j%2 == 1 {
					to, want = "unknown-"+to, backends.NotFound
				}
				size := []int{0, 1, 4000, wire.InlineMost - 1, wire.InlineMost, wire.InlineMost + 1}[j%6]
				d := delivery(to)
				d.From = fmt.Sprintf("octets=%d", size)
				if j%3 == 0 {
					d.Size = int64(size) // the others do not say
				}
				verdicts, err := s.Deliver(t.Context(), d, strings.NewReader(string(wholePattern(size))))
				if err != nil || len(verdicts) != 1 || verdicts[0].Recipient != to || backends.KindOf(failureOf(verdicts[0])) != want {
					t.Error(size, verdicts, err)
				}
			}
		})
	}
	all.Wait()
	stream := smallStream(s)
	stream.mu.Lock()
	defer stream.mu.Unlock()
	// Of the six sizes four are small, in 14 of 20 messages.
	if stream.last != 32*14 || len(stream.waiting) != 0 || len(stream.room) != 0 || stream.octets != 0 {
		t.Errorf("%d messages came over it; %d wait, and %d, or %d octets, have no answer", stream.last, len(stream.waiting), len(stream.room), stream.octets)
	}
}

// TestDeliveriesAtOnce: a message is sent by its caller, and gets into the queue while another is sent or much has no answer.
func TestDeliveriesAtOnce(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	g := s.current
	life, cancel := context.WithCancel(t.Context())
	stream, err := g.stub.Deliveries(life)
	if err != nil {
		t.Fatal(err)
	}
	d := newDeliveryStream(g, stream, cancel) // whose queue nobody sends
	d.work.Go(d.receive)
	ask := func() <-chan *pb.Verdicts {
		d.room <- struct{}{}
		m, err := convert.DeliveryToProto(delivery("b@x.example"))
		if err != nil {
			t.Fatal(err)
		}
		_, answer := d.ask(&pb.DeliveriesRequest{Delivery: m, Content: []byte("Subject: x\r\n\r\n")})
		return answer
	}
	for range 3 {
		if m := <-ask(); m.GetFailure() != nil || len(m.GetVerdicts()) != 1 {
			t.Error(m)
		}
	}
	if d.octets != 0 {
		t.Errorf("%d octets have no answer", d.octets)
	}
	d.sending.Lock()
	ask()
	d.sending.Unlock()
	d.octets += atOnceMost
	ask()
	if len(d.queue) != 2 {
		t.Errorf("%d are in the queue", len(d.queue))
	}
	cancel()
	d.work.Wait()
}

func failureOf(v backends.Verdict) error {
	if v.Failure == nil {
		return nil
	}
	return v.Failure
}

// TestDeliveriesSlow: one that takes long holds no other up; whoever gives it up has its place again, and of more than
// have a place each has a stream of its own.
func TestDeliveriesSlow(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var slow sync.WaitGroup
	var ended atomic.Int32
	begin := func(n int) {
		for range n {
			slow.Go(func() {
				err := delivered(ctx, s, "slow@fake.example")
				if ended.Add(1); backends.KindOf(err) != backends.Temporary || !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
	}
	begin(1)
	within(t, "it is under way", func() bool { return smallStream(s) != nil })
	for range 50 {
		if err := delivered(t.Context(), s, "b@x.example"); err != nil {
			t.Fatal(err)
		}
	}
	begin(wire.DeliveriesMost + 20)
	stream := smallStream(s)
	within(t, "there is no room", func() bool { return len(stream.room) == wire.DeliveriesMost })
	if err := delivered(t.Context(), s, "b@x.example"); err != nil {
		t.Error("beside a full stream:", err)
	}
	if n := ended.Load(); n != 0 {
		t.Errorf("%d of the slow ones have ended", n)
	}
	cancel()
	slow.Wait()
	within(t, "there is room again", func() bool { return len(stream.room) == 0 })
	if err := delivered(t.Context(), s, "b@x.example"); err != nil || smallStream(s) != stream {
		t.Error("the stream goes on:", err)
	}
}

// TestDeliveriesManyRecipients: an envelope that is too large for gRPC costs itself alone.
func TestDeliveriesManyRecipients(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	if err := delivered(t.Context(), s, "b@x.example"); err != nil {
		t.Fatal(err)
	}
	stream := smallStream(s)
	to := make([]string, wire.MessageMost/200)
	for i := range to {
		to[i] = fmt.Sprintf("u%d@%s.example", i, strings.Repeat("x", 220))
	}
	_, err := s.Deliver(t.Context(), delivery(to...), strings.NewReader("Subject: x\r\n\r\n"))
	kindIs(t, err, backends.Temporary)
	if _, err := s.Deliver(t.Context(), delivery(to[:inlineRecipients]...), strings.NewReader("Subject: x\r\n\r\n")); err != nil {
		t.Error(err)
	}
	if smallStream(s) != stream || stream.ended() {
		t.Error("the stream of the others has ended")
	}
}

// TestDeliveriesLargeAnswer: verdicts that are too large for gRPC cost their own message, and not those beside it.
func TestDeliveriesLargeAnswer(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	ctx, cancel := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	slow.Go(func() {
		if err := delivered(ctx, s, "slow@fake.example"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	within(t, "it is under way", func() bool { return asked(t, s, "slow") == "1" })
	stream := smallStream(s)
	kindIs(t, delivered(t.Context(), s, "large-answer@fake.example"), backends.Temporary)
	if err := delivered(t.Context(), s, "b@x.example"); err != nil || smallStream(s) != stream || stream.ended() {
		t.Error("the stream of the others has ended:", err)
	}
	cancel()
	slow.Wait()
}

// TestDeliveriesStall: a message without an answer is given up in time, alone.
func TestDeliveriesStall(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.StallTimeout = 300 * time.Millisecond
	s, _ := start(t, spec)
	err := delivered(t.Context(), s, "deaf@fake.example")
	if kindIs(t, err, backends.Temporary); !errors.Is(err, errStalled) {
		t.Error(err)
	}
	if err := delivered(t.Context(), s, "b@x.example"); err != nil {
		t.Error(err)
	}
}

// TestDeliveriesOpening: while the stream cannot be opened, as the plugin takes no more of them, each message waits no longer than its
// caller, or than a plugin may stall; and those that still wait go out once it can be.
func TestDeliveriesOpening(t *testing.T) {
	spec := specOf(t, "few-streams", fakeSettings{})
	spec.StallTimeout = time.Minute
	s, _ := start(t, spec)
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	if err != nil {
		t.Fatal(err)
	}
	patient := make(chan error, 1)
	go func() { patient <- delivered(t.Context(), s, "b@x.example") }()
	g := s.current
	opens := func() bool {
		g.small.mu.Lock()
		defer g.small.mu.Unlock()
		return g.small.opening != nil
	}
	within(t, "the stream is being opened", opens)
	ctx, cancel := context.WithCancel(t.Context())
	var ended atomic.Int32
	for range 10 {
		go func() {
			if err := delivered(ctx, s, "b@x.example"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			ended.Add(1)
		}()
	}
	within(t, "all wait for the plugin", func() bool { return g.pulse.owed.Load() == 11 })
	cancel()
	within(t, "those whose callers have gone are given up", func() bool { return ended.Load() == 10 })
	if !opens() || len(patient) > 0 {
		t.Error("the stream was opened, or the opening has ended with a caller")
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	if err := <-patient; err != nil {
		t.Error(err)
	}
}

// TestDeliveriesOpeningStalls: an opening that comes to nothing is given up, and the next message has another one begun.
func TestDeliveriesOpeningStalls(t *testing.T) {
	spec := specOf(t, "few-streams", fakeSettings{})
	spec.StallTimeout = 300 * time.Millisecond
	s, _ := start(t, spec)
	drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	if err != nil {
		t.Fatal(err)
	}
	if err := delivered(t.Context(), s, "b@x.example"); backends.KindOf(err) != backends.Temporary || !errors.Is(err, errStalled) {
		t.Error(err)
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	within(t, "it is opened", func() bool { return delivered(t.Context(), s, "b@x.example") == nil })
}

// TestDeliveriesDeath: of the messages under way nothing is known when the process ends, and the next process has a
// stream of its own.
func TestDeliveriesDeath(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			err := delivered(t.Context(), s, "deaf@fake.example")
			if kindIs(t, err, backends.Temporary); !errors.Is(err, ErrPluginDied) {
				t.Error(err)
			}
		})
	}
	within(t, "they are under way", func() bool { return asked(t, s, "deaf") == "20" })
	if err := delivered(t.Context(), s, "crash-late@fake.example"); !errors.Is(err, ErrPluginDied) {
		t.Error(err)
	}
	waiting.Wait()
	within(t, "a process is ready", func() bool { return s.Status().Ready })
	if err := delivered(t.Context(), s, "b@x.example"); err != nil {
		t.Error(err)
	}
}

// TestDeliveriesSwap: a process that was replaced ends when the last message in its stream was answered.
func TestDeliveriesSwap(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	s, _ := start(t, spec)
	ctx, cancel := context.WithCancel(t.Context())
	var slow sync.WaitGroup
	slow.Go(func() {
		if err := delivered(ctx, s, "slow@fake.example"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	within(t, "it is under way", func() bool { return asked(t, s, "slow") == "1" })
	old := smallStream(s)
	if err := s.Swap(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := delivered(t.Context(), s, "b@x.example"); err != nil || smallStream(s) == old {
		t.Error("by the new process:", err)
	}
	if old.ended() {
		t.Error("the message under way has lost its stream")
	}
	cancel()
	slow.Wait()
	within(t, "the old process has ended", old.ended)
}

// TestDeliveriesLies: what breaks the rules costs what is under way, and what comes next has another stream.
func TestDeliveriesLies(t *testing.T) {
	spec := specOf(t, "liar-deliveries", fakeSettings{})
	spec.StallTimeout = 20 * time.Second
	s, _ := start(t, spec)
	for _, test := range []struct {
		to    string
		kind  backends.Kind
		other bool // the stream goes on
	}{
		{"other-id@x.example", backends.Temporary, false},
		{"ends@x.example", backends.Temporary, false},
		{"fails@x.example", backends.Temporary, false},
		{"fails-for-good@x.example", backends.Temporary, false},
		{"nobody@x.example", backends.Temporary, true},
		{"nothing@x.example", backends.Temporary, true},
		{"b@x.example", 0, true},
	} {
		t.Run(test.to, func(t *testing.T) {
			if err := delivered(t.Context(), s, "b@x.example"); err != nil {
				t.Fatal(err)
			}
			before := smallStream(s)
			kindIs(t, delivered(t.Context(), s, test.to), test.kind)
			if before.ended() == test.other {
				t.Errorf("the stream has ended: %t", before.ended())
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		before := smallStream(s)
		if err := delivered(t.Context(), s, "twice@x.example"); err != nil {
			t.Error(err)
		}
		within(t, "the second answer has ended the stream", before.ended)
		if err := delivered(t.Context(), s, "b@x.example"); err != nil {
			t.Error(err)
		}
	})
}

// TestDeliveriesFraming: the plugin's end takes no more messages, and no longer ones, than are agreed on, and believes
// no backend that it has taken what it has not read.
func TestDeliveriesFraming(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	kindIs(t, delivered(t.Context(), s, "taken-early@fake.example"), backends.Temporary)
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	message := func(id uint64, to string, octets int) *pb.DeliveriesRequest {
		return &pb.DeliveriesRequest{
			Id: id, Content: make([]byte, octets), Delivery: &pb.Delivery{Key: "k", Recipients: []*pb.Recipient{{Address: to}}},
		}
	}
	many := []*pb.DeliveriesRequest{}
	for i := range wire.DeliveriesMost {
		many = append(many, message(uint64(i), "slow@fake.example", 1))
	}
	for name, test := range map[string]struct {
		requests []*pb.DeliveriesRequest
		ends     bool
	}{
		"one":            {[]*pb.DeliveriesRequest{message(1, "b@x.example", 1)}, false},
		"the longest":    {[]*pb.DeliveriesRequest{message(1, "b@x.example", wire.InlineMost)}, false},
		"longer":         {[]*pb.DeliveriesRequest{message(1, "b@x.example", wire.InlineMost+1)}, true},
		"the id again":   {[]*pb.DeliveriesRequest{message(1, "slow@fake.example", 1), message(1, "slow@fake.example", 1)}, true},
		"too many":       {append(many, message(1000, "slow@fake.example", 1)), true},
		"nobody's":       {[]*pb.DeliveriesRequest{{Id: 7}, message(1, "b@x.example", 1)}, false},
		"without a key":  {[]*pb.DeliveriesRequest{{Id: 1, Delivery: &pb.Delivery{}}}, false},
		"given up":       {[]*pb.DeliveriesRequest{message(1, "slow@fake.example", 1), {Id: 1}}, false},
		"none, an end":   {nil, true},
		"given up twice": {[]*pb.DeliveriesRequest{message(1, "slow@fake.example", 1), {Id: 1}, {Id: 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := g.stub.Deliveries(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range test.requests {
				if err := stream.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			if test.requests == nil {
				_ = stream.CloseSend()
			}
			answer, err := stream.Recv()
			for test.ends && err == nil { // those that the end has cut off
				answer, err = stream.Recv()
			}
			if (err != nil) != test.ends || err == nil && answer.GetId() != 1 {
				t.Error(answer, err)
			}
		})
	}
}
