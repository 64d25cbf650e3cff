package host

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// readStdio takes up what a Go plugin writes to os.Stdout and os.Stderr, which go-plugin's
// server sends through a stream: unread, the plugin's writes would come to a stop. A plugin
// that does not have the service needs none of it.
func (g *generation) readStdio() {
	stream, err := g.conn.NewStream(g.life, &grpc.StreamDesc{ServerStreams: true}, wire.StdioMethod, grpc.WaitForReady(true))
	if err != nil {
		return
	}
	if stream.SendMsg(&emptypb.Empty{}) != nil || stream.CloseSend() != nil {
		return
	}
	// The message's Go type is internal to go-plugin, and registered by it.
	kind, err := protoregistry.GlobalTypes.FindMessageByName(wire.StdioData)
	if err != nil {
		g.log.Warn().Err(err).Msg("the plugin's standard output is not read")
		return
	}
	lines := g.launcher.output.stream()
	defer lines.flush()
	for {
		m := kind.New().Interface()
		if stream.RecvMsg(m) != nil {
			return
		}
		_, _ = lines.Write(stdioData(m))
	}
}

// stdioData is the field "data" of a go-plugin StdioData message.
func stdioData(m proto.Message) []byte {
	fields := m.ProtoReflect().Descriptor().Fields()
	if f := fields.ByName("data"); f != nil {
		return m.ProtoReflect().Get(f).Bytes()
	}
	return nil
}
