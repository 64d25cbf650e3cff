package wire

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// pieces cuts octets into buffers of n, as they come from the connection.
func pieces(b []byte, n int) (out mem.BufferSlice) {
	for len(b) > 0 {
		m := min(n, len(b))
		out = append(out, mem.Copy(b[:m], mem.DefaultBufferPool()))
		b = b[m:]
	}
	return out
}

func lent(t testing.TB, content []byte) mem.Buffer {
	t.Helper()
	b := Chunks.Get(max(1, len(content)))
	return Filled(b, copy(*b, content))
}

func marshalled(t testing.TB, v any) []byte {
	t.Helper()
	out, err := codec{}.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Free()
	return out.Materialize()
}

var sizes = []int{1, 2, 127, 128, 1000, 4096, 4097, 60_000, FirstChunk, FirstChunk + 1, convert.ChunkMost}

// TestChunkIsProtobuf: what a Chunk becomes is what protobuf makes of the message.
func TestChunkIsProtobuf(t *testing.T) {
	for _, n := range sizes {
		content := bytes.Repeat([]byte{'x'}, n)
		for _, id := range []uint64{0, 1, 127, 1 << 40, 1<<64 - 1} {
			for _, last := range []Last{LastOfNone, LastOfMessage, LastOfRequest} {
				var got pb.MaildropResponse
				octets := marshalled(t, MaildropChunk(id, last, lent(t, content)))
				if err := proto.Unmarshal(octets, &got); err != nil {
					t.Fatal(err)
				}
				agree(t, "maildrop", octets, 1000)
				want := &pb.MaildropResponse{Id: id, Done: last == LastOfRequest, End: last == LastOfMessage, Response: &pb.MaildropResponse_Chunk{Chunk: content}}
				if !proto.Equal(&got, want) {
					t.Errorf("%d octets, id %d, last %d", n, id, last)
				}
			}
		}
		var deliver pb.DeliverRequest
		var send pb.SendRequest
		var collect pb.CollectResponse
		for _, m := range []interface {
			proto.Message
			GetChunk() []byte
		}{&deliver, &send, &collect} {
			if err := proto.Unmarshal(marshalled(t, TransferChunk(lent(t, content))), m); err != nil || !bytes.Equal(m.GetChunk(), content) {
				t.Errorf("%T: %d octets, %v", m, n, err)
			}
		}
	}
}

func TestChunkSentTwice(t *testing.T) {
	c := TransferChunk(lent(t, []byte("x")))
	_ = marshalled(t, c)
	if _, err := (codec{}).Marshal(c); err == nil {
		t.Error("its buffer belongs to somebody else by now")
	}
}

// frames are the four kinds of frame, each with an empty message of its type.
func frames() map[string]func() (*Frame, proto.Message) {
	return map[string]func() (*Frame, proto.Message){
		"maildrop": func() (*Frame, proto.Message) { return MaildropFrame(), &pb.MaildropResponse{} },
		"deliver":  func() (*Frame, proto.Message) { return DeliverFrame(), &pb.DeliverRequest{} },
		"send":     func() (*Frame, proto.Message) { return SendFrame(), &pb.SendRequest{} },
		"collect":  func() (*Frame, proto.Message) { return CollectFrame(), &pb.CollectResponse{} },
	}
}

// agree compares what a Frame makes of octets with what protobuf makes of them.
func agree(t *testing.T, name string, octets []byte, cut int) {
	t.Helper()
	frame, want := frames()[name]()
	data := pieces(octets, cut)
	err := codec{}.Unmarshal(data, frame)
	data.Free() // as gRPC does: what the frame keeps has to be its own
	if wantErr := proto.Unmarshal(octets, want); (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: %v, and protobuf says %v", name, err, wantErr)
	}
	if err != nil {
		return
	}
	got := frame.Message
	if got == nil {
		chunk := frame.Chunk.Materialize()
		for _, piece := range frame.Chunk {
			if piece.Len() == 0 {
				t.Errorf("%s: an empty piece", name)
			}
		}
		frame.Chunk.Free()
		if len(chunk) == 0 || len(chunk) > convert.ChunkMost {
			t.Fatalf("%s: a chunk of %d octets", name, len(chunk))
		}
		switch name {
		case "maildrop":
			got = &pb.MaildropResponse{Id: frame.ID, Done: frame.Done, End: frame.End, Response: &pb.MaildropResponse_Chunk{Chunk: chunk}}
		case "deliver":
			got = &pb.DeliverRequest{Frame: &pb.DeliverRequest_Chunk{Chunk: chunk}}
		case "send":
			got = &pb.SendRequest{Frame: &pb.SendRequest_Chunk{Chunk: chunk}}
		case "collect":
			got = &pb.CollectResponse{Frame: &pb.CollectResponse_Chunk{Chunk: chunk}}
		}
	}
	if !proto.Equal(got, want) {
		t.Errorf("%s: %x\n got %v\nwant %v", name, octets, got, want)
	}
}

func TestFrame(t *testing.T) {
	chunk := func(n int) []byte { return bytes.Repeat([]byte{'y'}, n) }
	for _, cut := range []int{1, 3, 16, 16384, 1 << 20} {
		for _, n := range sizes {
			if n > 100*cut {
				continue
			}
			agree(t, "maildrop", marshalled(t, &pb.MaildropResponse{Id: 7, Done: true, Response: &pb.MaildropResponse_Chunk{Chunk: chunk(n)}}), cut)
			agree(t, "deliver", marshalled(t, &pb.DeliverRequest{Frame: &pb.DeliverRequest_Chunk{Chunk: chunk(n)}}), cut)
			agree(t, "send", marshalled(t, &pb.SendRequest{Frame: &pb.SendRequest_Chunk{Chunk: chunk(n)}}), cut)
			agree(t, "collect", marshalled(t, &pb.CollectResponse{Frame: &pb.CollectResponse_Chunk{Chunk: chunk(n)}}), cut)
		}
		for _, m := range []proto.Message{
			&pb.MaildropResponse{},
			&pb.MaildropResponse{Id: 3, Done: true, Failure: &pb.Failure{Kind: 2, Text: "no"}},
			&pb.MaildropResponse{Id: 3, Response: &pb.MaildropResponse_Chunk{}},
			&pb.MaildropResponse{Id: 3, Failure: &pb.Failure{}, Response: &pb.MaildropResponse_Chunk{Chunk: chunk(40)}},
			&pb.MaildropResponse{Response: &pb.MaildropResponse_Head{Head: &pb.FetchHead{Size: 9}}},
		} {
			agree(t, "maildrop", marshalled(t, m), cut)
		}
		agree(t, "deliver", marshalled(t, &pb.DeliverRequest{Frame: &pb.DeliverRequest_End{End: &pb.End{}}}), cut)
		agree(t, "deliver", marshalled(t, &pb.DeliverRequest{Frame: &pb.DeliverRequest_Delivery{Delivery: &pb.Delivery{Key: "k"}}}), cut)
	}
}

// TestFrameAnyOrder: the order of fields is a library's own affair.
func TestFrameAnyOrder(t *testing.T) {
	for name, octets := range map[string][]byte{
		"chunk first":             append([]byte{0x3a, 3, 'a', 'b', 'c'}, 0x08, 5, 0x10, 1),
		"chunk between":           {0x08, 5, 0x3a, 1, 'a', 0x10, 1},
		"two chunks":              {0x08, 5, 0x3a, 1, 'a', 0x3a, 2, 'b', 'c'},
		"a field of the future":   {0x08, 5, 0xa2, 0x06, 1, 'z', 0x3a, 1, 'a'},
		"an id twice":             {0x08, 5, 0x08, 6, 0x3a, 1, 'a'},
		"a long form of a number": {0x08, 0x85, 0x00, 0x3a, 0x81, 0x00, 'a'},
		"cut off":                 {0x08, 5, 0x3a, 9, 'a'},
		"nothing":                 {},
	} {
		t.Run(name, func(t *testing.T) { agree(t, "maildrop", octets, 2) })
	}
}

// TestFrameReused: nothing of the message before is left.
func TestFrameReused(t *testing.T) {
	f := MaildropFrame()
	for range 2 {
		for _, octets := range [][]byte{
			marshalled(t, MaildropChunk(9, LastOfRequest, lent(t, []byte("abc")))),
			marshalled(t, &pb.MaildropResponse{Response: &pb.MaildropResponse_Head{Head: &pb.FetchHead{}}}),
		} {
			data := pieces(octets, 100)
			if err := (codec{}).Unmarshal(data, f); err != nil {
				t.Fatal(err)
			}
			if (f.Message == nil) == (f.Chunk == nil) || (f.Message != nil && (f.ID != 0 || f.Done)) {
				t.Errorf("%+v", f)
			}
		}
	}
}

func TestChunkPool(t *testing.T) {
	for _, n := range []int{0, 1, tinyChunk, tinyChunk + 1, FirstChunk, FirstChunk + 1, convert.ChunkMost, convert.ChunkMost + 1} {
		b := Chunks.Get(n)
		if len(*b) != n {
			t.Errorf("%d octets for %d", len(*b), n)
		}
		*b = (*b)[:n/2]
		Chunks.Put(b)
		if b = Chunks.Get(n); len(*b) != n {
			t.Errorf("%d octets for %d", len(*b), n)
		}
	}
}

// FuzzFrame: whatever comes, a Frame and protobuf agree on it.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0x08, 5, 0x10, 1, 0x3a, 3, 'a', 'b', 'c'}, uint8(2))
	f.Add([]byte{0x12, 3, 'a', 'b', 'c'}, uint8(1))
	f.Add([]byte{0x08, 5, 0x1a, 2, 0x08, 1}, uint8(30))
	f.Fuzz(func(t *testing.T, octets []byte, cut uint8) {
		for name := range frames() {
			agree(t, name, octets, 1+int(cut))
		}
	})
}
