// Package wire holds what both ends of the plugin boundary must agree on besides the messages
// themselves: the handshake, the sizes, and the options of the gRPC connection. What an author
// in another language needs of it is written down in plugins/README.md.
package wire

import (
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// The handshake. The cookie keeps people from running a plugin by hand, no more: it is no
// secret.
const (
	CookieKey       = "DIPYLON_PLUGIN"
	CookieValue     = "7b1c5e0e-store"
	ProtocolVersion = 2
)

// A plugin's standard input is its lifeline where the environment says so: a pipe that never
// carries anything, and whose end means that the gateway is gone.
const (
	LifelineKey   = "DIPYLON_LIFELINE"
	LifelineStdin = "stdin"
)

// FilesKey names the descriptor of the socket over which open files may be handed to the gateway,
// where there is one. A record on it has FilesRecord octets, the number of the Fetch with the most
// significant first, and at most FilesMost descriptors.
const (
	FilesKey    = "DIPYLON_FILES"
	FilesRecord = 8
	FilesMost   = 64
)

// Names of go-plugin's own services, for what the gateway asks of them.
const (
	ShutdownMethod = "/plugin.GRPCController/Shutdown"
	StdioMethod    = "/plugin.GRPCStdio/StreamStdio"
	StdioData      = "plugin.StdioData"
)

// StoreService starts the method names of the store service.
const StoreService = "/dipylon.store.v2.Store/"

// Sizes, in octets.
const (
	MessageMost = 8 << 20 // of one gRPC message; nothing comes near it
	// FirstChunk bounds the first chunk of a content, so that a slow store's first octets are
	// not held back for long; most messages fit into it.
	FirstChunk   = 64 << 10
	streamWindow = 8 << 20
	connWindow   = 16 << 20
	buffer       = 256 << 10
)

// RequestsMost is how many requests of one maildrop session may be under way at once.
const RequestsMost = 64

// DeliveriesMost is how many messages one stream of deliveries may have under way at once, and InlineMost
// how many octets each of them has at the most.
const (
	DeliveriesMost = 128
	InlineMost     = FirstChunk
)

// VaultMost is how many requests to the vault one process may have under way at once.
const VaultMost = 16

// Handshake is what go-plugin compares at the start.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   CookieKey,
		MagicCookieValue: CookieValue,
	}
}

// ServerOptions are the plugin's options of the connection.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(MessageMost),
		grpc.MaxSendMsgSize(MessageMost),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(buffer),
		grpc.WriteBufferSize(buffer),
		grpc.ConnectionTimeout(10 * time.Second),
	}
}

// DialOptions are the gateway's options of the connection.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(codec{}),
			grpc.MaxCallRecvMsgSize(MessageMost),
			grpc.MaxCallSendMsgSize(MessageMost),
		),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithReadBufferSize(buffer),
		grpc.WithWriteBufferSize(buffer),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithUnaryInterceptor(traceUnary),
		grpc.WithStreamInterceptor(traceStream),
	}
}
