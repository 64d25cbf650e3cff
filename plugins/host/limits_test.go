package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// pooled is a plugin as Python's gRPC makes it: a pool of threads, one for each call and each
// open maildrop, while all others wait, health checks among them. Its tables of pauses and limits
// are what the tests below need.
type pooled struct {
	liar
	maildrops int32
}

// servePooled serves with so many threads, and so many maildrops told as the limit.
func servePooled(arg string) {
	var threads int
	var p pooled
	if _, err := fmt.Sscanf(arg, "%d/%d", &threads, &p.maildrops); err != nil {
		panic(err)
	}
	pool := make(chan struct{}, threads)
	thread := func(ctx context.Context) (func(), error) {
		select {
		case pool <- struct{}{}:
			return func() { <-pool }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ours := func(method string) bool { return strings.HasPrefix(method, "/dipylon.") }
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		Plugins:         plugin.PluginSet{"store": &pooledPlugin{store: &p}},
		GRPCServer: func(options []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options,
				grpc.UnaryInterceptor(func(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					if !ours(info.FullMethod) {
						return next(ctx, request)
					}
					done, err := thread(ctx)
					if err != nil {
						return nil, err
					}
					defer done()
					return next(ctx, request)
				}),
				grpc.StreamInterceptor(func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					if !ours(info.FullMethod) {
						return next(server, stream)
					}
					done, err := thread(stream.Context())
					if err != nil {
						return err
					}
					defer done()
					return next(server, stream)
				}))...)
		},
	})
}

type pooledPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	store *pooled
}

func (p *pooledPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pb.RegisterStoreServer(s, p.store)
	return nil
}

func (*pooledPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.ErrUnsupported
}

func (p *pooled) Describe(context.Context, *pb.DescribeRequest) (*pb.Description, error) {
	return &pb.Description{
		Name: "pooled", Capabilities: &pb.Capabilities{Reader: true, Receiver: true},
		Limits: &pb.Limits{Maildrops: p.maildrops},
	}, nil
}

func (p *pooled) Health(context.Context, *pb.HealthRequest) (*pb.HealthResponse, error) {
	return &pb.HealthResponse{}, nil
}

// Login takes as long as the user's name says.
func (p *pooled) Login(ctx context.Context, m *pb.LoginRequest) (*pb.Account, error) {
	if d, err := time.ParseDuration(m.GetCredential().GetUser()); err == nil {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	return &pb.Account{Id: "id"}, nil
}

// Maildrop gives a message "trickle" in a hundred pieces, one every 20 ms.
func (p *pooled) Maildrop(stream grpc.BidiStreamingServer[pb.MaildropRequest, pb.MaildropResponse]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if err := stream.Send(&pb.MaildropResponse{Id: 1, Done: true, Response: &pb.MaildropResponse_Opened{Opened: &pb.Account{Id: "id"}}}); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetFetch() == nil {
			continue
		}
		if err := stream.Send(headOf(m.GetId(), 100)); err != nil {
			return err
		}
		for range 100 {
			time.Sleep(20 * time.Millisecond)
			if err := stream.Send(chunkOf(m.GetId(), 1)); err != nil {
				return err
			}
		}
		if err := stream.Send(doneOf(m.GetId())); err != nil {
			return err
		}
	}
}

// watched is a spec whose health checks are lost after a moment.
func watched(t *testing.T, role string) Spec {
	spec := specOf(t, role, fakeSettings{})
	spec.HealthInterval, spec.HealthTimeout, spec.HealthFailures = 20*time.Millisecond, 50*time.Millisecond, 3
	return spec
}

// TestMaildropsLimit: more maildrops than a plugin says that it takes are not opened, and the
// others go on.
func TestMaildropsLimit(t *testing.T) {
	s, _ := start(t, watched(t, "pooled:4/3"))
	var open []backends.Maildrop
	for range 3 {
		open = append(open, openDrop(t, s))
	}
	_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	kindIs(t, err, backends.Throttled)
	if text := backends.AsFailure(err).Reply(); text.POP3 != "SYS/TEMP" {
		t.Errorf("the client is told %+v", text)
	}
	for range 5 { // there is a thread left for these
		if err := s.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := open[1].Close(); err != nil {
		t.Fatal(err)
	}
	openDrop(t, s)
	if _, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann}); err == nil {
		t.Error("a maildrop more than the limit was opened after one was closed")
	}
	if s.Status().Generation != 1 {
		t.Error("the plugin was started again")
	}
}

// TestMaildropsLimitFailedOpen: an Open that fails leaves its place to others.
func TestMaildropsLimitFailedOpen(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{Extra: map[string]string{"maildrops": "1"}})
	s, _ := start(t, spec)
	for range 3 {
		_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann, Folder: "x"})
		kindIs(t, err, backends.NotFound)
	}
	openDrop(t, s)
	_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
	kindIs(t, err, backends.Throttled)
}

// TestHealthStarved: a plugin whose threads are all in use cannot answer a health check, and
// is not killed for it while its calls say that it lives.
func TestHealthStarved(t *testing.T) {
	missed := func(t *testing.T, s *Store, log *logBuffer) {
		t.Helper()
		within(t, "health checks were not answered", func() bool {
			return strings.Count(log.String(), "does not answer a health check") >= 6
		})
		if s.Status().Generation != 1 {
			t.Fatal("it was killed")
		}
	}
	t.Run("a fetch goes on", func(t *testing.T) {
		spec := watched(t, "pooled:1/1")
		spec.CallTimeout = 300 * time.Millisecond // shorter than the fetch takes
		s, log := start(t, spec)
		drop := openDrop(t, s)
		if got, err := io.ReadAll(fetch(t, drop, "trickle")); err != nil || len(got) != 100 {
			t.Error(len(got), err)
		}
		missed(t, s, log)
	})
	t.Run("all maildrops are idle", func(t *testing.T) {
		s, log := start(t, watched(t, "pooled:2/0"))
		drop, _ := openDrop(t, s), openDrop(t, s)
		missed(t, s, log)
		if got, err := io.ReadAll(fetch(t, drop, "trickle")); err != nil || len(got) != 100 {
			t.Error(len(got), err)
		}
	})
	t.Run("a call takes its time", func(t *testing.T) {
		s, log := start(t, watched(t, "pooled:1/0"))
		if _, err := s.Login(t.Context(), userNamed("2s")); err != nil {
			t.Error(err)
		}
		missed(t, s, log)
	})
	t.Run("a client that sends slowly", func(t *testing.T) {
		spec := watched(t, "pooled:1/0")
		spec.CallTimeout = 100 * time.Millisecond
		s, log := start(t, spec)
		from, to := io.Pipe()
		go func() {
			missed(t, s, log)
			_, _ = to.Write([]byte("Subject: x\r\n\r\nlate\r\n"))
			_ = to.Close()
		}()
		d := delivery("b@x.example")
		d.Size = 20
		if v, err := s.Deliver(t.Context(), d, from); err != nil || len(v) != 1 || v[0].Failure != nil {
			t.Error(v, err)
		}
	})
	t.Run("a call that takes more than it has", func(t *testing.T) {
		spec := watched(t, "pooled:1/0")
		spec.CallTimeout, spec.StallTimeout = 300*time.Millisecond, 300*time.Millisecond
		s, _ := start(t, spec)
		openDrop(t, s)
		within(t, "it was started again", func() bool { return s.Status().Generation >= 2 })
	})
}

// TestPauses: who is to be asked again later is not asked until then.
func TestPauses(t *testing.T) {
	throttled := backends.Fail(backends.Throttled, "slow down")
	for _, test := range []struct {
		name   string
		err    error
		pauses bool
		lasts  time.Duration
	}{
		{"throttled", throttled.After(time.Minute), true, time.Minute},
		{"temporary", backends.Fail(backends.Temporary, "down").After(30 * time.Second), true, 30 * time.Second},
		{"over quota", backends.Fail(backends.OverQuota, "full").After(time.Minute), true, time.Minute},
		{"wrapped", fmt.Errorf("open: %w", throttled.After(time.Minute)), true, time.Minute},
		{"no time", throttled, false, 0},
		{"too long", throttled.After(24 * time.Hour), true, pauseMost},
		{"a wrong password", backends.Fail(backends.BadCredentials, "no").After(time.Minute), false, 0},
		{"in use", backends.Fail(backends.InUse, "no").After(time.Minute), false, 0},
		{"permanent", backends.Fail(backends.Permanent, "no").After(time.Minute), false, 0},
		{"none", nil, false, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p pauses
				p.note("a", test.err)
				if got := p.of("a"); (got != nil) != test.pauses {
					t.Fatalf("%v", got)
				}
				if p.of("b") != nil {
					t.Error("another one is paused")
				}
				if !test.pauses {
					return
				}
				time.Sleep(test.lasts - time.Second)
				if got := p.of("a"); got == nil || got.RetryAfter != time.Second {
					t.Errorf("a second before its end: %v", got)
				}
				time.Sleep(time.Second)
				if got := p.of("a"); got != nil {
					t.Errorf("at its end: %v", got)
				}
			})
		})
	}
	t.Run("bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var p pauses
			for i := range 2 * pausesMost {
				p.note(fmt.Sprint(i), throttled.After(time.Minute))
			}
			if len(p.all) > pausesMost {
				t.Error(len(p.all))
			}
			time.Sleep(time.Minute)
			p.note("new", throttled.After(time.Minute))
			if p.of("new") == nil || len(p.all) != 1 {
				t.Errorf("those that are over were kept: %d", len(p.all))
			}
		})
	})
}

// asked reads how often the fake store was asked for something.
func asked(t *testing.T, s *Store, what string) string {
	t.Helper()
	account, err := s.Login(t.Context(), userNamed("asked:"+what))
	if err != nil {
		t.Fatal(err)
	}
	return account.DisplayName
}

// TestRetryAfter: a plugin's word about when to ask again holds for exactly what it was said of.
func TestRetryAfter(t *testing.T) {
	at := func(c backends.Credential, address string) backends.Credential {
		c.Peer.Address = address
		return c
	}
	t.Run("login", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		paused := at(userNamed("later:1h"), "192.0.2.1:1")
		for range 5 {
			_, err := s.Login(t.Context(), paused)
			kindIs(t, err, backends.Throttled)
			_, err = s.Open(t.Context(), backends.OpenRequest{Credential: at(paused, "192.0.2.1:2")})
			kindIs(t, err, backends.Throttled)
		}
		if got := asked(t, s, "later:1h"); got != "1" {
			t.Errorf("the store was asked %s times", got)
		}
		if _, err := s.Login(t.Context(), ann); err != nil {
			t.Error("another user:", err)
		}
		_, _ = s.Login(t.Context(), at(paused, "192.0.2.2:1"))
		if got := asked(t, s, "later:1h"); got != "2" {
			t.Error("another client's login was not shown to the store")
		}
	})
	t.Run("login, when it is over", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		paused := userNamed("later:50ms")
		_, err := s.Login(t.Context(), paused)
		kindIs(t, err, backends.Throttled)
		within(t, "it is asked again", func() bool {
			_, _ = s.Login(t.Context(), paused)
			return asked(t, s, "later:50ms") != "1"
		})
	})
	t.Run("login, after a swap", func(t *testing.T) {
		spec := specOf(t, "store", fakeSettings{})
		s, _ := start(t, spec)
		_, err := s.Login(t.Context(), userNamed("later:1h"))
		kindIs(t, err, backends.Throttled)
		if err := s.Swap(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		_, _ = s.Login(t.Context(), userNamed("later:1h"))
		if got := asked(t, s, "later:1h"); got != "1" {
			t.Errorf("the new process was asked %s times", got)
		}
	})
	t.Run("list", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{Messages: []string{"listfails:0"}}))
		for _, err := range openDrop(t, s).List(t.Context()) {
			kindIs(t, err, backends.Throttled)
		}
		_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
		kindIs(t, err, backends.Throttled)
	})
	t.Run("fetch, waited for", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		drop := openDrop(t, s)
		if got, err := io.ReadAll(fetch(t, drop, "once-throttled:20")); err != nil || len(got) != 20 {
			t.Error(len(got), err)
		}
	})
	t.Run("fetch, throttled for long", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		drop := openDrop(t, s)
		for _, id := range []backends.MessageID{"throttled:1", "throttled:1", "throttled:2", "size:3"} {
			_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: id})
			kindIs(t, err, backends.Throttled)
		}
		if got := asked(t, s, "fetch"); got != "1" {
			t.Errorf("the store was asked %s times", got)
		}
		if _, err := io.ReadAll(fetch(t, openDrop(t, s), "size:3")); err != nil {
			t.Error("another session:", err)
		}
	})
	t.Run("fetch, one message is not there for long", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		drop := openDrop(t, s)
		for range 3 {
			_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "archived:1"})
			kindIs(t, err, backends.Temporary)
		}
		if _, err := io.ReadAll(fetch(t, drop, "size:3")); err != nil {
			t.Error("another message:", err)
		}
		if got := asked(t, s, "fetch"); got != "2" {
			t.Errorf("the store was asked %s times", got)
		}
	})
	t.Run("resolve and deliver", func(t *testing.T) {
		s, _ := start(t, specOf(t, "store", fakeSettings{}))
		d := delivery("a@fake.example", "later@fake.example", "b@fake.example")
		for range 3 {
			v, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: d.Recipients})
			if err != nil || len(v) != 3 || v[0].Failure != nil || v[1].Failure == nil || v[2].Failure != nil || v[1].Recipient != d.Recipients[1].Address {
				t.Error(v, err)
			}
			v, err = s.Deliver(t.Context(), d, strings.NewReader("x: y\r\n\r\n"))
			if err != nil || len(v) != 3 || v[0].Failure != nil || v[1].Failure == nil || v[2].Failure != nil {
				t.Error(v, err)
			}
		}
		if got := asked(t, s, "later@fake.example"); got != "2" {
			t.Errorf("the store was asked %s times about the recipient", got)
		}
		d.Key = "another"
		_, _ = s.Deliver(t.Context(), d, strings.NewReader("x: y\r\n\r\n"))
		if got := asked(t, s, "later@fake.example"); got != "3" {
			t.Errorf("another message was not shown to the store: %s", got)
		}
	})
}
