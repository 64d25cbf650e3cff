package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/wire"
	"github.com/dipylon/dipylon/plugins/serve"
)

// roleKey makes the test's binary something else than a test.
const roleKey = "HOST_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		play(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// play is the life of a child process.
func play(role string) {
	role, arg, _ := strings.Cut(role, ":")
	switch role {
	case "store":
		serve.Store(&fakeStore{}, serve.WithGrace(time.Second))
	case "reader":
		serve.Store(onlyReader{&fakeStore{}})
	case "measurer":
		serve.Store(ownMeasurer{&fakeStore{}})
	case "one-by-one":
		f := &fakeStore{}
		serve.Store(oneByOne{f, f})
	case "liar":
		serveLiar(liar{measures: arg == ""})
	case "liar-parks":
		serveLiar(liar{parks: true})
	case "liar-deliveries":
		serveLiar(liar{deliveries: true})
	case "few-streams": // one beside that of its standard output
		serveLiar(liar{deliveries: true, streams: 2})
	case "to-the-end":
		serveLiar(liar{toTheEnd: true})
	case "vault":
		serve.Store(&keeping{fakeStore: &fakeStore{}}, serve.WithGrace(time.Second))
	case "vault-nonsense":
		serveLiar(liar{nonsense: true})
	case "stubborn-store": // serves, and ends by nothing but a kill
		signal.Ignore(syscall.SIGTERM)
		serve.Store(&fakeStore{stuck: true}, serve.WithGrace(time.Minute))
	case "protocol-1":
		serveProtocol1()
	case "pooled":
		servePooled(arg)
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot find my things")
		os.Exit(7)
	case "say": // a line on stdout, and wait
		fmt.Println(strings.ReplaceAll(arg, "$dir", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")))
		select {}
	case "write": // the same without the line's end
		fmt.Print(strings.ReplaceAll(arg, "$dir", os.Getenv("PLUGIN_UNIX_SOCKET_DIR")))
		select {}
	case "silent":
		select {}
	case "garbage":
		for {
			_, _ = os.Stdout.Write(bytes.Repeat([]byte{0x1b, 'x'}, 1<<16))
		}
	case "flood":
		_, _ = fmt.Fprintln(os.Stderr, `{"@message":1}`)
		_, _ = fmt.Fprintln(os.Stderr, `{"@message":"up","@level":{},"@timestamp":7,"a":[1,{"b":null}]}`)
		_, _ = fmt.Fprintln(os.Stderr, `{"@message":"a warning\u001b[31m","@level":"warn","level":"panic","store":"spoofed"}`)
		_, _ = os.Stderr.Write(bytes.Repeat([]byte("y"), 10<<20))
		_, _ = fmt.Fprintln(os.Stderr)
		for i := range 20000 {
			_, _ = fmt.Fprintln(os.Stderr, "line", i)
		}
		serve.Store(&fakeStore{}, serve.WithGrace(time.Second))
	case "children": // a plugin with a child of its own that ignores signals and holds its pipes
		child, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{
			Env: append(os.Environ(), roleKey+"=stubborn"), Files: []*os.File{nil, os.Stdout, os.Stderr},
		})
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile(arg, []byte(strconv.Itoa(child.Pid)), 0o600); err != nil {
			panic(err)
		}
		serve.Store(&fakeStore{}, serve.WithGrace(time.Second))
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		<-time.After(time.Minute)
	case "gateway":
		playGateway(arg)
	}
}

// serveProtocol1 is a plugin that was built against version 1 of the protocol, with go-plugin's
// own server as the Go library of that time had it.
func serveProtocol1() {
	handshake := wire.Handshake()
	handshake.ProtocolVersion = 1
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"store": &oldStore{}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
}

// oldStore serves nothing: the gateway asks nothing of a plugin whose version it does not speak.
type oldStore struct{ plugin.NetRPCUnsupportedPlugin }

func (*oldStore) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

func (*oldStore) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not a gateway")
}

// playGateway hosts a plugin, writes its number down, and waits to be killed.
func playGateway(path string) {
	s := New(zerolog.Nop(), Spec{
		Store: "inner", Command: []string{os.Args[0]}, Env: []string{roleKey + "=" + os.Getenv("HOST_TEST_INNER")},
	})
	if err := s.Start(context.Background()); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(s.Status().PID)), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		panic(err)
	}
	select {}
}

type onlyReader struct{ store *fakeStore }

func (o onlyReader) Describe(ctx context.Context) (backends.Description, error) {
	return o.store.Describe(ctx)
}

func (o onlyReader) Configure(ctx context.Context, s backends.Settings) error {
	return o.store.Configure(ctx, s)
}
func (o onlyReader) Health(ctx context.Context) error { return nil }
func (o onlyReader) Login(ctx context.Context, c backends.Credential) (backends.Account, error) {
	return o.store.Login(ctx, c)
}
func (o onlyReader) Close() error { return nil }
func (o onlyReader) Open(ctx context.Context, r backends.OpenRequest) (backends.Maildrop, error) {
	return o.store.Open(ctx, r)
}

// logBuffer keeps a log for a test to look at.
type logBuffer struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.String()
}

// specOf is a spec of this binary in a role.
func specOf(t testing.TB, role string, settings fakeSettings) Spec {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return Spec{
		Store: "test", Command: []string{os.Args[0]}, Env: []string{roleKey + "=" + role},
		Settings:     backends.Settings{Store: "test", Raw: raw},
		StartTimeout: 20 * time.Second, StopTimeout: 10 * time.Second,
	}
}

// start runs a plugin until the test's end.
func start(t testing.TB, spec Spec) (*Store, *logBuffer) {
	t.Helper()
	s, log := unstarted(t, spec)
	if err := s.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v\n%s", err, log)
	}
	return s, log
}

func unstarted(t testing.TB, spec Spec) (*Store, *logBuffer) {
	t.Helper()
	if spec.TempDir == "" { // a test that runs beside others has set it
		t.Setenv("TMPDIR", shortTemp(t, ""))
		spec.TempDir = os.TempDir()
	}
	log := &logBuffer{}
	s := New(zerolog.New(log), spec)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(spec.TempDir, "dipylon-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if t.Failed() {
			t.Logf("the log:\n%.20000s", log)
		}
	})
	return s, log
}

// shortTemp is a folder with a path short enough for sockets.
func shortTemp(t testing.TB, _ string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// within polls until something is so, for a minute: the machine may have much else to do.
func within(t testing.TB, what string, so func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !so() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// residentKiB is how much memory this process holds.
func residentKiB() int {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(status))
	pages, _ := strconv.Atoi(fields[1])
	return pages * os.Getpagesize() / 1024
}

var ann = backends.Credential{Kind: backends.CredentialPassword, User: "ann", Secret: []byte("secret")}

func userNamed(name string) backends.Credential {
	return backends.Credential{Kind: backends.CredentialPassword, User: name, Secret: []byte("secret")}
}
