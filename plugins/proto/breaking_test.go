package proto_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

var record = flag.Bool("record", false, "record the wire as it is now")

// recorded is the wire's descriptor that today's is compared with.
const recorded = "testdata/store.binpb"

// TestNothingBreaks: a plugin that was built against the recorded wire goes on working. What breaks needs another version of
// the protocol. Additions have to be recorded, as nothing would guard them otherwise.
func TestNothingBreaks(t *testing.T) {
	today := pb.File_dipylon_store_v2_store_proto
	then := load(t)
	for _, breach := range breaches(fileOf(t, then), today) {
		t.Error(breach)
	}
	if t.Failed() {
		return
	}
	if !*record {
		if !proto.Equal(then, protodesc.ToFileDescriptorProto(today)) {
			t.Error("the wire has additions that are not recorded: go test ./plugins/proto -record")
		}
		return
	}
	octets, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(today))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recorded, octets, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBreaches: each way to break plugins is found, and an addition is none.
func TestBreaches(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*descriptorpb.FileDescriptorProto)
		want   string // empty: nothing breaks
	}{
		"nothing": {func(*descriptorpb.FileDescriptorProto) {}, ""},
		"a field is added": {func(f *descriptorpb.FileDescriptorProto) {
			m := message(f, "Peer")
			m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
				Name: proto.String("more"), Number: proto.Int32(99), Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum(),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			})
		}, ""},
		"a field is removed":    {func(f *descriptorpb.FileDescriptorProto) { m := message(f, "Peer"); m.Field = m.Field[1:] }, "Peer.address is gone"},
		"a field is renumbered": {func(f *descriptorpb.FileDescriptorProto) { message(f, "Peer").Field[0].Number = proto.Int32(99) }, "Peer.address is gone"},
		"a field is renamed":    {func(f *descriptorpb.FileDescriptorProto) { message(f, "Peer").Field[0].Name = proto.String("addr") }, "Peer.address is addr now"},
		"a field is retyped": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Peer").Field[0].Type = descriptorpb.FieldDescriptorProto_TYPE_BYTES.Enum()
		}, "Peer.address was string, and is bytes"},
		"a field is repeated": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "Peer").Field[0].Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "Peer.address was string, and is repeated string"},
		"a field is of another message": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "LoginRequest").Field[0].TypeName = proto.String(".dipylon.store.v2.Peer")
		}, "LoginRequest.credential was dipylon.store.v2.Credential, and is dipylon.store.v2.Peer"},
		"a field leaves its oneof": {func(f *descriptorpb.FileDescriptorProto) {
			message(f, "DeliverRequest").Field[2].OneofIndex = nil
		}, "DeliverRequest.end was dipylon.store.v2.End of frame, and is dipylon.store.v2.End"},
		"a value is removed": {func(f *descriptorpb.FileDescriptorProto) {
			f.EnumType[0].Value = f.EnumType[0].Value[:len(f.EnumType[0].Value)-1]
		}, "is gone"},
		"a value is renumbered": {func(f *descriptorpb.FileDescriptorProto) { f.EnumType[0].Value[1].Number = proto.Int32(99) }, "is gone"},
		"a call is removed":     {func(f *descriptorpb.FileDescriptorProto) { f.Service[0].Method = f.Service[0].Method[1:] }, "Store.Describe is gone"},
		"a call streams": {func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[0].ServerStreaming = proto.Bool(true)
		}, "Store.Describe was"},
		"a call that streams up streams down, too": {func(f *descriptorpb.FileDescriptorProto) {
			call(f, "Deliver").ServerStreaming = proto.Bool(true)
		}, ""},
		"a call streams down no more": {func(f *descriptorpb.FileDescriptorProto) {
			call(f, "Collect").ServerStreaming = proto.Bool(false)
		}, "Store.Collect was"},
		"a call that streams up streams down something else": {func(f *descriptorpb.FileDescriptorProto) {
			call(f, "Deliver").ServerStreaming, call(f, "Deliver").OutputType = proto.Bool(true), proto.String(".dipylon.store.v2.Peer")
		}, "Store.Deliver was"},
	} {
		t.Run(name, func(t *testing.T) {
			then := protodesc.ToFileDescriptorProto(pb.File_dipylon_store_v2_store_proto)
			now := proto.CloneOf(then)
			test.change(now)
			found := breaches(fileOf(t, then), fileOf(t, now))
			if (len(found) == 0) != (test.want == "") || !strings.Contains(strings.Join(found, "\n"), test.want) {
				t.Errorf("found %q, and should have found %q", found, test.want)
			}
		})
	}
}

func load(t *testing.T) *descriptorpb.FileDescriptorProto {
	t.Helper()
	octets, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	file := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(octets, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func fileOf(t *testing.T, m *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	t.Helper()
	file, err := protodesc.NewFile(m, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func message(f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
	i := slices.IndexFunc(f.MessageType, func(m *descriptorpb.DescriptorProto) bool { return m.GetName() == name })
	return f.MessageType[i]
}

func call(f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.MethodDescriptorProto {
	i := slices.IndexFunc(f.Service[0].Method, func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == name })
	return f.Service[0].Method[i]
}

// breaches are the changes that break who was built against the earlier wire: a message, field,
// value or call that is gone, or that has another number, name, type or form.
func breaches(then, now protoreflect.FileDescriptor) (all []string) {
	compare(&all, "", then.Messages(), now.Messages().ByName, func(a, b protoreflect.MessageDescriptor) {
		fields := a.Fields()
		for i := range fields.Len() {
			compareField(&all, fields.Get(i), b.Fields().ByNumber(fields.Get(i).Number()))
		}
	})
	compare(&all, "", then.Enums(), now.Enums().ByName, func(a, b protoreflect.EnumDescriptor) {
		for i := range a.Values().Len() {
			v := a.Values().Get(i)
			if w := b.Values().ByNumber(v.Number()); w == nil || w.Name() != v.Name() {
				all = append(all, fmt.Sprintf("the value %s = %d is gone", v.Name(), v.Number()))
			}
		}
	})
	compare(&all, "", then.Services(), now.Services().ByName, func(a, b protoreflect.ServiceDescriptor) {
		compare(&all, string(a.Name())+".", a.Methods(), b.Methods().ByName, func(x, y protoreflect.MethodDescriptor) {
			if callOf(x) != callOf(y) && !answersMore(x, y) {
				all = append(all, fmt.Sprintf("%s.%s was %s, and is %s", a.Name(), x.Name(), callOf(x), callOf(y)))
			}
		})
	})
	return all
}

// answersMore says whether a call whose request is a stream is now answered with one, too. On the wire a
// stream of one answer and one answer are alike: a plugin of then gives one and ends the stream, which is
// what the gateway has to expect of it.
func answersMore(then, now protoreflect.MethodDescriptor) bool {
	return then.IsStreamingClient() && now.IsStreamingClient() && now.IsStreamingServer() &&
		then.Input().Name() == now.Input().Name() && then.Output().Name() == now.Output().Name()
}

// compare looks at each thing that there was, and at what it is now.
func compare[D protoreflect.Descriptor](all *[]string, at string, then interface {
	Len() int
	Get(i int) D
}, now func(protoreflect.Name) D, both func(then, now D),
) {
	for i := range then.Len() {
		was := then.Get(i)
		is := now(was.Name())
		if protoreflect.Descriptor(is) == nil {
			*all = append(*all, at+string(was.Name())+" is gone")
			continue
		}
		both(was, is)
	}
}

func compareField(all *[]string, was, is protoreflect.FieldDescriptor) {
	name := string(was.Parent().Name()) + "." + string(was.Name())
	switch {
	case is == nil:
		*all = append(*all, fmt.Sprintf("%s is gone from the number %d", name, was.Number()))
	case is.Name() != was.Name():
		*all = append(*all, fmt.Sprintf("%s is %s now", name, is.Name()))
	case formOf(is) != formOf(was):
		*all = append(*all, fmt.Sprintf("%s was %s, and is %s", name, formOf(was), formOf(is)))
	}
}

// formOf is what a field looks like on the wire.
func formOf(f protoreflect.FieldDescriptor) string {
	form := f.Kind().String()
	switch {
	case f.Message() != nil:
		form = string(f.Message().FullName())
	case f.Enum() != nil:
		form = string(f.Enum().FullName())
	}
	if f.IsList() {
		form = "repeated " + form
	}
	if o := f.ContainingOneof(); o != nil {
		form += " of " + string(o.Name())
	}
	return form
}

func callOf(m protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("%s (streams: %t) to %s (streams: %t)", m.Input().Name(), m.IsStreamingClient(), m.Output().Name(), m.IsStreamingServer())
}
