package serve

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// vaultClient is the gateway's vault as the store sees it: its calls are requests in a stream that the gateway has opened.
type vaultClient struct {
	places chan struct{} // holds a token for each request that was not answered

	mu      sync.Mutex
	opened  chan struct{} // closed once there is a stream
	stream  vaultStream   // nil: there is none
	last    uint64        // the latest id
	waiting map[uint64]chan<- *pb.VaultAnswer

	sending sync.Mutex
}

type vaultStream = grpc.BidiStreamingServer[pb.VaultAnswer, pb.VaultRequest]

var (
	_ vault.Vault    = (*vaultClient)(nil)
	_ vault.Extender = (*vaultClient)(nil)
)

func newVaultClient() *vaultClient {
	return &vaultClient{places: make(chan struct{}, wire.VaultMost), opened: make(chan struct{}), waiting: make(map[uint64]chan<- *pb.VaultAnswer)}
}

var errVaultTwice = errors.New("the vault is open already")

// Vault takes the gateway's answers until the stream ends.
func (s *service) Vault(stream grpc.BidiStreamingServer[pb.VaultAnswer, pb.VaultRequest]) error {
	if err := s.vault.open(stream); err != nil {
		return err
	}
	defer s.vault.close()
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil //nolint:nilerr // the gateway ends it, or is gone
		}
		s.vault.answer(m)
	}
}

func (v *vaultClient) open(stream vaultStream) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stream != nil {
		return errVaultTwice
	}
	v.stream = stream
	close(v.opened)
	return nil
}

// close lets those who wait know that nobody answers any more.
func (v *vaultClient) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, who := range v.waiting {
		close(who)
		delete(v.waiting, id)
	}
	v.stream, v.opened = nil, make(chan struct{})
}

// answer hands an answer to whoever waits for it, if anybody still does.
func (v *vaultClient) answer(m *pb.VaultAnswer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if who := v.waiting[m.GetId()]; who != nil {
		who <- m // has room for it
		delete(v.waiting, m.GetId())
	}
}

// vaultPatience is how long the gateway has to open the stream, and to answer: its database has some seconds.
const vaultPatience = 15 * time.Second

var errNoVault = errors.New("the gateway's vault is not to be had")

// ask sends a request and waits for its answer.
func (v *vaultClient) ask(ctx context.Context, m *pb.VaultRequest) (*pb.VaultAnswer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, vaultPatience, errNoVault)
	defer cancel()
	select {
	case v.places <- struct{}{}:
		defer func() { <-v.places }()
	case <-ctx.Done():
		return nil, vaultFailure(context.Cause(ctx))
	}
	answer, err := v.begin(ctx, m)
	if err != nil {
		return nil, vaultFailure(err)
	}
	defer v.forget(m.GetId())
	select {
	case a, is := <-answer:
		if !is {
			return nil, vaultFailure(errNoVault)
		}
		if f := convert.FailureFromProto(a.GetFailure()); f != nil {
			return nil, f
		}
		return a, nil
	case <-ctx.Done():
		return nil, vaultFailure(context.Cause(ctx))
	}
}

// begin sends a request, once there is a stream, and says where its answer will come.
func (v *vaultClient) begin(ctx context.Context, m *pb.VaultRequest) (<-chan *pb.VaultAnswer, error) {
	for {
		v.mu.Lock()
		stream, opened := v.stream, v.opened
		answer := make(chan *pb.VaultAnswer, 1)
		if stream != nil {
			v.last++
			m.Id = v.last
			v.waiting[m.Id] = answer
		}
		v.mu.Unlock()
		if stream != nil {
			v.sending.Lock()
			defer v.sending.Unlock()
			return answer, stream.Send(m)
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (v *vaultClient) forget(id uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.waiting, id)
}

func vaultFailure(err error) error { return backends.Fail(backends.Temporary, "the vault: %w", err) }

// Get implements [vault.Vault].
func (v *vaultClient) Get(ctx context.Context, name string) (vault.Entry, error) {
	a, err := v.ask(ctx, &pb.VaultRequest{Name: name, Request: &pb.VaultRequest_Get{Get: &pb.VaultGet{}}})
	return convert.VaultEntryFromProto(a.GetEntry()), err
}

// Lease implements [vault.Vault].
func (v *vaultClient) Lease(ctx context.Context, name string, life time.Duration) (vault.Lease, error) {
	a, err := v.ask(ctx, &pb.VaultRequest{Name: name, Request: &pb.VaultRequest_Lease{Lease: &pb.VaultLease{Life: durationpb.New(life)}}})
	return vault.Lease{Entry: convert.VaultEntryFromProto(a.GetEntry()), ID: a.GetLease(), Abandoned: a.GetAbandoned()}, err
}

// Put implements [vault.Vault].
func (v *vaultClient) Put(ctx context.Context, name string, c vault.Change) (stored bool, err error) {
	a, err := v.ask(ctx, &pb.VaultRequest{Name: name, Request: &pb.VaultRequest_Put{Put: convert.VaultPutToProto(c)}})
	return a.GetStored(), err
}

// Release implements [vault.Vault].
func (v *vaultClient) Release(ctx context.Context, name, lease string) error {
	_, err := v.ask(ctx, &pb.VaultRequest{Name: name, Request: &pb.VaultRequest_Release{Release: &pb.VaultRelease{Lease: lease}}})
	return err
}

// Extend implements [vault.Extender]. A gateway that cannot says so.
func (v *vaultClient) Extend(ctx context.Context, name, lease string, life time.Duration) (held bool, err error) {
	a, err := v.ask(ctx, &pb.VaultRequest{Name: name, Request: &pb.VaultRequest_Extend{Extend: &pb.VaultExtend{Lease: lease, Life: durationpb.New(life)}}})
	return a.GetLease() != "", err
}
