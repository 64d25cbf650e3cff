package host

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// vaultServer answers what a process asks its store's vault, over a stream that lives as long as the process. A process that
// knows no vault goes on without.
type vaultServer struct {
	g     *generation
	vault vault.Vault // nil: there is none

	mu       sync.Mutex
	closed   bool                 // the process has ended
	settling bool                 // it is about to be ended
	asking   int                  // requests for a lease that are under way
	leases   map[string]heldLease // those that it has
	work     sync.WaitGroup
}

// heldLease is a lease that a process has.
type heldLease struct {
	name  string
	until time.Time
}

// A process asks its vault now and then. More than vaultAsksMost in vaultAsksWithin, or more than vaultOctetsMost in them, are a flood:
// the rest of that time passes before the next one is read.
const (
	vaultAsksMost   = 200
	vaultOctetsMost = 512 << 10
	vaultAsksWithin = time.Second
	// vaultAnswerMost is how long an answer may take.
	vaultAnswerMost = 12 * time.Second
	// settleMost is how long a process that is to end may go on because of what it has a lease for.
	settleMost = 3 * time.Second
	// abandonMost is how long it may take to give back what a process had leases for that is gone.
	abandonMost = 2 * time.Second
)

// open begins to answer.
func (v *vaultServer) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.vault == nil || v.closed {
		return
	}
	v.work.Go(v.serve)
}

// close waits for what is under way, once the connection has ended, and ends the leases of the process: the next one, and other
// gateways, need not wait until they run out.
func (v *vaultServer) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.work.Wait()
	left, is := v.vault.(vault.Abandoner)
	if !is {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), abandonMost)
	defer cancel()
	for id, l := range v.leases {
		if time.Now().Before(l.until) && left.Abandon(ctx, l.name, id) != nil {
			return // it runs out by itself
		}
	}
}

// serve answers until the stream ends. As many requests are read at once as may be under way.
func (v *vaultServer) serve() {
	ctx, cancel := context.WithCancel(context.Background()) // its end is the connection's, which comes after the process's last words
	defer cancel()
	stream, err := v.g.stub.Vault(ctx)
	if err != nil {
		return // the process is gone
	}
	var sending sync.Mutex
	places := make(chan struct{}, wire.VaultMost)
	begin, asked, octets := time.Now(), 0, 0
	for {
		places <- struct{}{}
		m, err := stream.Recv()
		if err != nil {
			v.ended(err)
			return
		}
		v.g.pulse.beat()
		v.work.Go(func() {
			defer func() { <-places }()
			answer := v.answer(stream.Context(), m)
			sending.Lock()
			defer sending.Unlock()
			_ = stream.Send(answer) // where nobody listens any more, Recv says so
		})
		asked, octets = asked+1, octets+len(m.GetPut().GetValue())
		if asked >= vaultAsksMost || octets >= vaultOctetsMost {
			v.pause(time.Until(begin.Add(vaultAsksWithin)))
			begin, asked, octets = time.Now(), 0, 0
		}
	}
}

func (v *vaultServer) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-v.g.proc.exited:
	}
}

// ended tells of a stream that has ended although its process goes on.
func (v *vaultServer) ended(err error) {
	if status.Code(err) == codes.Unimplemented || v.g.life.Err() != nil {
		return
	}
	if !isEOF(err) {
		err = v.g.failure(v.g.life, err)
	}
	if v.g.life.Err() == nil {
		v.g.log.Warn().Err(err).Msg("the plugin has ended the stream by which it asks for what it shares with other gateways; it does without from now on")
	}
}

var errVaultRequest = errors.New("a request to the vault asks for nothing that is known")

// answer does what a request asks for.
func (v *vaultServer) answer(ctx context.Context, m *pb.VaultRequest) *pb.VaultAnswer {
	ctx, cancel := context.WithTimeout(ctx, vaultAnswerMost)
	defer cancel()
	a := &pb.VaultAnswer{}
	var err error
	switch r := m.GetRequest().(type) {
	case *pb.VaultRequest_Get:
		var e vault.Entry
		e, err = v.vault.Get(ctx, m.GetName())
		a.Entry = convert.VaultEntryToProto(e)
	case *pb.VaultRequest_Lease:
		err = v.lease(ctx, m.GetName(), r.Lease, a)
	case *pb.VaultRequest_Put:
		var c vault.Change
		if c, err = convert.VaultPutFromProto(r.Put); err == nil {
			a.Stored, err = v.vault.Put(ctx, m.GetName(), c)
		}
		if err == nil {
			v.over(c.Lease)
		}
	case *pb.VaultRequest_Release:
		err = v.vault.Release(ctx, m.GetName(), r.Release.GetLease())
		v.over(r.Release.GetLease())
	case *pb.VaultRequest_Extend:
		err = v.extend(ctx, m.GetName(), r.Extend, a)
	default:
		err = errVaultRequest
	}
	if err != nil {
		a = &pb.VaultAnswer{Failure: convert.FailureToProto(backends.AsFailure(err))}
	}
	a.Id = m.GetId()
	return a
}

// lease takes a lease, and remembers it as long as it lasts.
func (v *vaultServer) lease(ctx context.Context, name string, m *pb.VaultLease, a *pb.VaultAnswer) error {
	life, err := convert.VaultLifeFromProto(m.GetLife())
	if err != nil {
		return err
	}
	if !v.mayLease() {
		return backends.Fail(backends.Temporary, "the plugin process is about to end")
	}
	defer v.leased()
	l, err := v.vault.Lease(ctx, name, life)
	if err != nil {
		return err
	}
	a.Entry, a.Lease, a.Abandoned = convert.VaultEntryToProto(l.Entry), l.ID, l.Abandoned
	if l.ID != "" {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.leases[l.ID] = heldLease{name, time.Now().Add(life)}
		for id, l := range v.leases {
			if time.Now().After(l.until) {
				delete(v.leases, id)
			}
		}
	}
	return nil
}

// extend has a lease last longer, and remembers that.
func (v *vaultServer) extend(ctx context.Context, name string, m *pb.VaultExtend, a *pb.VaultAnswer) error {
	life, err := convert.VaultLifeFromProto(m.GetLife())
	if err != nil {
		return err
	}
	longer, is := v.vault.(vault.Extender)
	if !is {
		return errVaultRequest
	}
	held, err := longer.Extend(ctx, name, m.GetLease(), life)
	if err != nil || !held {
		return err
	}
	a.Lease = m.GetLease()
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, has := v.leases[a.Lease]; has { // or it was put or given back meanwhile
		v.leases[a.Lease] = heldLease{name, time.Now().Add(life)}
	}
	return nil
}

// mayLease notes that a lease is asked for, unless the process is about to end. leased notes that there is an answer.
func (v *vaultServer) mayLease() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.settling {
		return false
	}
	v.asking++
	return true
}

func (v *vaultServer) leased() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asking--
}

// over forgets a lease.
func (v *vaultServer) over(lease string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.leases, lease)
}

// settle waits until the process has no lease any more, for it may be about to put what cannot be had a second time: a refresh
// token that is good once. It gets no other lease.
func (v *vaultServer) settle() {
	has := func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.settling = true
		for _, l := range v.leases {
			if time.Now().Before(l.until) {
				return true
			}
		}
		return v.asking > 0
	}
	for deadline := time.Now().Add(settleMost); has() && time.Now().Before(deadline) && v.g.life.Err() == nil; {
		v.pause(10 * time.Millisecond)
	}
}
