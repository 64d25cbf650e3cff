package serve

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// storePlugin hands the service to go-plugin's server.
type storePlugin struct {
	plugin.NetRPCUnsupportedPlugin
	service *service
}

func (p *storePlugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	pb.RegisterStoreServer(server, p.service)
	return nil
}

func (p *storePlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this is the plugin's end")
}

// service answers the gateway's calls with a store.
type service struct {
	pb.UnimplementedStoreServer
	store backends.Store
	log   zerolog.Logger
	calls calls
	// ending is set when the gateway has asked for the end.
	ending atomic.Bool
	files  *fileSocket // nil: there is none
	vault  *vaultClient
	// fetchesAtOnce is what the description said last.
	fetchesAtOnce atomic.Int64
	parked        parked

	mu         sync.Mutex
	configured bool
}

func newService(store backends.Store, log zerolog.Logger) *service {
	return &service{store: store, log: log, calls: calls{idle: make(chan struct{})}, vault: newVaultClient()}
}

// unary and streaming stand around every call of the store: they count it, and make failures
// and panics into what ends it.
func (s *service) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	if info.FullMethod == wire.ShutdownMethod {
		s.ending.Store(true)
	}
	if !strings.HasPrefix(info.FullMethod, wire.StoreService) {
		return handler(ctx, req)
	}
	err = s.call(info.FullMethod, func() error {
		resp, err = handler(wire.Traced(ctx), req)
		return err
	})
	return resp, err
}

func (s *service) streaming(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if !strings.HasPrefix(info.FullMethod, wire.StoreService) {
		return handler(srv, stream)
	}
	switch info.FullMethod { // each of the deliveries is a call, and in the vault's stream none comes from the gateway
	case pb.Store_Deliveries_FullMethodName, pb.Store_Vault_FullMethodName:
		return convert.ErrorToStatus(s.guard(info.FullMethod, func() error { return handler(srv, stream) }))
	}
	return s.call(info.FullMethod, func() error { return handler(srv, wire.TracedStream(stream)) })
}

var errEnding = backends.Fail(backends.Temporary, "the plugin is ending")

func (s *service) call(method string, f func() error) error {
	if !s.calls.begin() {
		return convert.ErrorToStatus(errEnding)
	}
	defer s.calls.end()
	return convert.ErrorToStatus(s.guard(method, f))
}

// guard runs a piece of the backend and makes a panic in it a temporary failure: one bad
// message, or one bad moment, does not end the sessions of everybody else (I8).
func (s *service) guard(what string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error().Str("call", what).Str("panic", fmt.Sprint(r)).Bytes("stack", debug.Stack()).
				Msg("the backend panicked")
			err = backends.Fail(backends.Temporary, "the backend panicked in %s: %v", what, r)
		}
	}()
	return f()
}

func (s *service) closeStore() error { return s.guard("Close", s.store.Close) }

// calls counts the calls under way, so that the store is closed after the last of them.
type calls struct {
	mu       sync.Mutex
	n        int
	draining bool
	idle     chan struct{} // closed when draining and none is under way
}

func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return false
	}
	c.n++
	return true
}

// hold counts what is no call but lasts: a session that rests. The caller is a call under way.
func (c *calls) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *calls) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.draining && c.n == 0 {
		close(c.idle)
	}
}

// drain refuses new calls and waits for those under way, not longer than grace; it says
// whether they have ended. It is called once.
func (c *calls) drain(grace time.Duration) bool {
	c.mu.Lock()
	c.draining = true
	if c.n == 0 {
		close(c.idle)
	}
	c.mu.Unlock()
	select {
	case <-c.idle:
		return true
	case <-time.After(grace):
		return false
	}
}

func (s *service) Describe(ctx context.Context, _ *pb.DescribeRequest) (*pb.Description, error) {
	d, err := s.store.Describe(ctx)
	if err != nil {
		return nil, err
	}
	d.Capabilities = capabilities(backends.CapabilitiesOf(s.store), d.Capabilities)
	d.Reading.Measures = d.Capabilities.Reader          // measure.go makes it of Fetch
	d.Reading.Parks = d.Capabilities.Reader             // parked.go keeps them
	d.Capabilities.Deliveries = d.Capabilities.Receiver // deliveries.go makes them of Deliver
	s.fetchesAtOnce.Store(int64(d.Limits.FetchesAtOnce))
	return convert.DescriptionToProto(d), nil
}

// capabilities are what is implemented, less what the backend's configuration takes away. A
// backend that says nothing takes nothing away.
func capabilities(has, says backends.Capabilities) backends.Capabilities {
	if says == (backends.Capabilities{}) {
		return has
	}
	return backends.Capabilities{
		Reader:        has.Reader && says.Reader,
		Receiver:      has.Receiver && says.Receiver,
		Sender:        has.Sender && says.Sender,
		Outbox:        has.Outbox && says.Outbox,
		Authenticator: has.Authenticator && says.Authenticator,
		Watcher:       has.Watcher && says.Watcher,
		SendRights:    has.SendRights && says.SendRights,
		SendSessions:  has.SendSessions && says.Sender,
		Examiner:      has.Examiner && says.Examiner,
	}
}

func (s *service) Configure(ctx context.Context, m *pb.ConfigureRequest) (*pb.ConfigureResponse, error) {
	settings := convert.SettingsFromProto(m)
	if m.GetVault() && !settings.Check {
		settings.Vault = s.vault
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.configured {
		return nil, backends.Fail(backends.Permanent, "the store is configured already: new settings need a new process")
	}
	err := s.store.Configure(ctx, settings)
	var wrong *backends.SettingsError
	if errors.As(err, &wrong) {
		if len(wrong.Problems) == 0 { // it would cross as "configured"
			wrong = &backends.SettingsError{Problems: []backends.SettingsProblem{{Problem: "the settings are not right"}}}
		}
		return convert.ProblemsToProto(wrong), nil
	}
	if err != nil {
		return nil, err
	}
	s.configured = !settings.Check
	return &pb.ConfigureResponse{}, nil
}

func (s *service) Health(ctx context.Context, _ *pb.HealthRequest) (*pb.HealthResponse, error) {
	m := &pb.HealthResponse{}
	if err := s.store.Health(ctx); err != nil {
		m.Failure = convert.FailureToProto(backends.AsFailure(err))
	}
	if meter, ok := s.store.(backends.Meter); ok {
		m.Metrics = convert.MetricsToProto(meter.Metrics())
	}
	if warner, ok := s.store.(backends.Warner); ok {
		m.Warnings = convert.WarningsToProto(warner.Warnings())
	}
	return m, nil
}

func (s *service) Login(ctx context.Context, m *pb.LoginRequest) (*pb.Account, error) {
	credential, err := convert.CredentialFromProto(m.GetCredential())
	if err != nil {
		return nil, err
	}
	account, err := s.store.Login(ctx, credential)
	if err != nil {
		return nil, err
	}
	return convert.AccountToProto(account), nil
}

// lacks is the failure of a call whose capability the store does not have.
func lacks(capability string) error {
	return backends.Fail(backends.Unsupported, "the store is no %s", capability)
}

func (s *service) Resolve(ctx context.Context, m *pb.ResolveRequest) (*pb.Verdicts, error) {
	receiver, ok := s.store.(backends.Receiver)
	if !ok {
		return nil, lacks("receiver")
	}
	verdicts, err := receiver.Resolve(ctx, convert.ResolveFromProto(m))
	if err != nil {
		return nil, err
	}
	return convert.VerdictsToProto(verdicts)
}

func (s *service) Settle(ctx context.Context, m *pb.SettleRequest) (*pb.SettleResponse, error) {
	outbox, ok := s.store.(backends.Outbox)
	if !ok {
		return nil, lacks("outbox")
	}
	settlements, err := convert.SettlementsFromProto(m)
	if err != nil {
		return nil, err
	}
	if err := outbox.Settle(ctx, settlements); err != nil {
		return nil, err
	}
	return &pb.SettleResponse{}, nil
}

func (s *service) MaySend(ctx context.Context, m *pb.MaySendRequest) (*pb.MaySendResponse, error) {
	rights, ok := s.store.(backends.SendRights)
	if !ok {
		return nil, lacks("judge of senders")
	}
	right, err := rights.MaySend(ctx, convert.MaySendFromProto(m))
	if err != nil {
		return nil, err
	}
	return convert.SendRightToProto(right)
}

// Drain tells the store that another process has taken this one's place.
func (s *service) Drain(context.Context, *pb.DrainRequest) (*pb.DrainResponse, error) {
	drainer, ok := s.store.(backends.Drainer)
	if !ok {
		return nil, lacks("drainer")
	}
	drainer.Drain()
	return &pb.DrainResponse{}, nil
}

// Watch passes the store's hints on, one at a time: a gateway that is slow holds the store back.
func (s *service) Watch(_ *pb.WatchRequest, stream grpc.ServerStreamingServer[pb.Hint]) error {
	watcher, ok := s.store.(backends.Watcher)
	if !ok {
		return lacks("watcher")
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	err := watcher.Watch(ctx, func(h backends.Hint) {
		if ctx.Err() == nil {
			if err := stream.Send(convert.HintToProto(h)); err != nil {
				cancel(err)
			}
		}
	})
	if err == nil { // it must not look like a watch that goes on
		err = backends.Fail(backends.Temporary, "the store has stopped telling of changes")
	}
	return err
}

// Examine passes the steps of an examination on as they end.
func (s *service) Examine(m *pb.ExamineRequest, stream grpc.ServerStreamingServer[pb.Step]) error {
	examiner, ok := s.store.(backends.Examiner)
	if !ok {
		return lacks("examiner")
	}
	request, err := convert.ExamineFromProto(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	return examiner.Examine(ctx, request, func(step backends.Step) {
		if ctx.Err() == nil {
			if err := stream.Send(convert.StepToProto(step)); err != nil {
				cancel(err)
			}
		}
	})
}
