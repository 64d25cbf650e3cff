package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/vault"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// keeping is a fake that does with its vault what login names tell it to, and shows what comes of it as the display name.
type keeping struct {
	*fakeStore
	vault vault.Vault
}

func (k *keeping) Configure(ctx context.Context, s backends.Settings) error {
	k.vault = s.Vault
	return k.fakeStore.Configure(ctx, s)
}

func (k *keeping) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	account := backends.Account{ID: "id"}
	if k.vault == nil {
		account.DisplayName = "no vault"
		return account, nil
	}
	var name, value string
	var version int64
	verb, rest, _ := strings.Cut(c.User, " ")
	_, _ = fmt.Sscan(rest, &name, &value, &version)
	var err error
	switch verb {
	case "get":
		var e vault.Entry
		e, err = k.vault.Get(ctx, name)
		account.DisplayName = fmt.Sprintf("%s %d %t", e.Value, e.Version, e.Age > 0)
	case "put":
		var stored bool
		stored, err = k.vault.Put(ctx, name, vault.Change{Value: []byte(value), Version: version, Keep: time.Hour})
		account.DisplayName = fmt.Sprint(stored)
	case "lease": // and give it back
		var l vault.Lease
		if l, err = k.vault.Lease(ctx, name, time.Minute); err == nil {
			err = k.vault.Release(ctx, name, l.ID)
		}
		account.DisplayName = fmt.Sprintf("%t %t %s", l.ID != "", l.Abandoned, l.Value)
	case "hold": // and put something later, when it is about to be ended
		var l vault.Lease
		l, err = k.vault.Lease(ctx, name, time.Minute)
		go func() {
			time.Sleep(500 * time.Millisecond) // what an issuer takes to answer
			_, _ = k.vault.Put(context.Background(), name, vault.Change{Value: []byte(value), Version: l.Version, Lease: l.ID})
		}()
	case "extend": // twice, the second time without having it any more
		var l vault.Lease
		if l, err = k.vault.Lease(ctx, name, time.Second); err != nil {
			break
		}
		var first, second bool
		if first, err = k.vault.(vault.Extender).Extend(ctx, name, l.ID, time.Minute); err == nil && k.vault.Release(ctx, name, l.ID) == nil {
			second, err = k.vault.(vault.Extender).Extend(ctx, name, l.ID, time.Minute)
		}
		account.DisplayName = fmt.Sprint(first, second)
	case "abandon":
		_, err = k.vault.Lease(ctx, name, time.Minute)
	}
	return account, err
}

// told is what a keeping store shows of what it was told to do.
func told(t *testing.T, s *Store, what string) string {
	t.Helper()
	account, err := s.Login(t.Context(), userNamed(what))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return account.DisplayName
}

// withVault is a spec with a vault.
func withVault(t *testing.T, role string, v vault.Vault) Spec {
	spec := specOf(t, role, fakeSettings{})
	spec.Settings.Vault = v
	return spec
}

// TestVault: two processes of one store have one vault.
func TestVault(t *testing.T) {
	m := &vault.Memory{}
	one, _ := start(t, withVault(t, "vault", m))
	two, _ := start(t, withVault(t, "vault", m))
	for _, step := range []struct {
		store      *Store
		what, want string
	}{
		{one, "get a", "0 false"},
		{one, "put a x 0", "true"},
		{two, "get a", "x 1 true"},
		{two, "put a y 0", "false"},
		{two, "put a y 1", "true"},
		{one, "get a", "y 2 true"},
		{one, "lease a", "true false y"},
		{one, "abandon a", ""},
		{two, "lease a", "false false y"},
		{two, "lease b", "true false"},
		{two, "extend b", "true false"},
	} {
		if got := told(t, step.store, step.what); got != step.want {
			t.Errorf("%s: %q, not %q", step.what, got, step.want)
		}
	}
	var all sync.WaitGroup
	for i := range 60 { // more than may be under way at once
		all.Go(func() {
			name := fmt.Sprintf("n%d", i)
			_, err := one.Login(t.Context(), userNamed("put "+name+" v 0"))
			if e, wrong := m.Get(t.Context(), name); err != nil || wrong != nil || string(e.Value) != "v" {
				t.Errorf("%s: %q, %v, %v", name, e.Value, err, wrong)
			}
		})
	}
	all.Wait()
	if _, err := one.Login(t.Context(), userNamed("get No/Name")); err == nil {
		t.Error("there is a name that is none")
	}
}

// TestNoVault: a store without a vault is told so, and a plugin that knows none goes on without.
func TestNoVault(t *testing.T) {
	s, _ := start(t, specOf(t, "vault", fakeSettings{}))
	if got := told(t, s, "get a"); got != "no vault" {
		t.Errorf("it has %q", got)
	}
	for _, role := range []string{"store", "liar"} {
		s, log := start(t, withVault(t, role, &vault.Memory{}))
		if _, err := s.Login(t.Context(), ann); err != nil && role == "store" {
			t.Error(err)
		}
		if strings.Contains(log.String(), "vault") || strings.Contains(log.String(), "shares") {
			t.Errorf("%s: %s", role, log)
		}
	}
}

// TestVaultAway: where the vault fails the store is told that it does, and nothing of why that the gateway keeps to itself.
func TestVaultAway(t *testing.T) {
	s, _ := start(t, withVault(t, "vault", awayVault{}))
	for _, what := range []string{"get a", "put a x 0", "lease a"} {
		if _, err := s.Login(t.Context(), userNamed(what)); backends.KindOf(err) != backends.Temporary || !strings.Contains(err.Error(), "is away") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

type awayVault struct{}

var errAway = errors.New("the database is away")

func (awayVault) Get(context.Context, string) (vault.Entry, error) { return vault.Entry{}, errAway }
func (awayVault) Lease(context.Context, string, time.Duration) (vault.Lease, error) {
	return vault.Lease{}, errAway
}
func (awayVault) Put(context.Context, string, vault.Change) (bool, error) { return false, errAway }
func (awayVault) Release(context.Context, string, string) error           { return errAway }

// TestVaultSettles: a process that is to end may put what it has a lease for, and one that has no lease ends at once.
func TestVaultSettles(t *testing.T) {
	m := &vault.Memory{}
	s, _ := start(t, withVault(t, "vault", m))
	told(t, s, "hold a the-next-one 0")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if e, err := m.Get(t.Context(), "a"); err != nil || string(e.Value) != "the-next-one" {
		t.Errorf("what was to be put is lost: %q, %v", e.Value, err)
	}
}

// TestVaultKilled: a process that dies keeps the stream of nobody else, and the next one has the vault, and the lease at once.
func TestVaultKilled(t *testing.T) {
	m := &vault.Memory{}
	s, _ := start(t, withVault(t, "vault", m))
	told(t, s, "put a x 0")
	told(t, s, "abandon a")
	pid := s.Status().PID
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	_ = g.proc.Kill(t.Context())
	within(t, "another process", func() bool { status := s.Status(); return status.Ready && status.PID != pid })
	if got := told(t, s, "get a"); got != "x 1 true" {
		t.Errorf("the next process has %q", got)
	}
	if got := told(t, s, "lease a"); got != "true true x" {
		t.Errorf("the next process is told of the lease: %q", got)
	}
}

// slowLease is a vault that takes its time for a lease.
type slowLease struct {
	vault.Vault
	asked chan struct{} // closed when one was asked for
	grant chan struct{} // it is waited for
}

func (s slowLease) Lease(ctx context.Context, name string, life time.Duration) (vault.Lease, error) {
	close(s.asked)
	<-s.grant
	return s.Vault.Lease(ctx, name, life)
}

// TestVaultSettlesLate: a process that is to end while it is being given a lease may put what it has it for.
func TestVaultSettlesLate(t *testing.T) {
	m := &vault.Memory{}
	slow := slowLease{m, make(chan struct{}), make(chan struct{})}
	s, _ := start(t, withVault(t, "vault", slow))
	go func() { _, _ = s.Login(t.Context(), userNamed("hold a the-next-one 0")) }()
	<-slow.asked
	s.mu.Lock()
	g := s.current
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { defer close(ended); g.stop() }()
	within(t, "the end is near", func() bool { g.vault.mu.Lock(); defer g.vault.mu.Unlock(); return g.vault.settling })
	close(slow.grant)
	<-ended
	if e, err := m.Get(t.Context(), "a"); err != nil || string(e.Value) != "the-next-one" {
		t.Errorf("what was to be put is lost: %q, %v", e.Value, err)
	}
}

// Vault of a liar asks for what there is not, many times.
func (l liar) Vault(stream grpc.BidiStreamingServer[pb.VaultAnswer, pb.VaultRequest]) error {
	if !l.nonsense {
		return l.UnimplementedStoreServer.Vault(stream)
	}
	requests := []*pb.VaultRequest{
		{},
		{Id: 1, Name: "a"},
		{Id: 1, Name: "../../etc", Request: &pb.VaultRequest_Get{Get: &pb.VaultGet{}}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Lease{}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Lease{Lease: &pb.VaultLease{Life: durationpb.New(1000 * time.Hour)}}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Lease{Lease: &pb.VaultLease{Life: &durationpb.Duration{Seconds: 1 << 62}}}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Extend{}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Extend{Extend: &pb.VaultExtend{Lease: "x", Life: &durationpb.Duration{Seconds: 1 << 62}}}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Put{}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Put{Put: &pb.VaultPut{Value: make([]byte, vault.ValueMost+1)}}},
		{Id: 1, Name: "a", Request: &pb.VaultRequest_Put{Put: &pb.VaultPut{Value: []byte("x"), Keep: durationpb.New(-time.Hour)}}},
	}
	for _, m := range requests {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	for range requests {
		if m, err := stream.Recv(); err != nil || m.GetFailure() == nil {
			return fmt.Errorf("%v, %v", m, err)
		}
	}
	// One that is right, which says that the others were answered as they should be.
	if err := stream.Send(&pb.VaultRequest{Id: 2, Name: "good", Request: &pb.VaultRequest_Put{Put: &pb.VaultPut{Value: []byte("x")}}}); err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// TestVaultNonsense: requests that are none are refused, each by itself.
func TestVaultNonsense(t *testing.T) {
	m := &vault.Memory{}
	start(t, withVault(t, "vault-nonsense", m))
	within(t, "the request that is right", func() bool {
		e, err := m.Get(t.Context(), "good")
		return err == nil && e.Value != nil
	})
	if e, err := m.Get(t.Context(), "a"); err != nil || e.Value != nil || e.Version != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}
