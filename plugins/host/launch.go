package host

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/tempfolder"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

// launcher starts one process up to the point where it can be configured.
type launcher struct {
	log    zerolog.Logger
	spec   Spec
	number int

	folder *tempfolder.Folder // private, removed at the end
	client *plugin.Client
	config *plugin.ClientConfig
	run    atomic.Pointer[process] // set by go-plugin's call of RunnerFunc
	output *lines
}

// launch starts a plugin: the program is checked and run, the handshake read, the connection
// made, the settings given, and the description judged. On an error nothing is left of it.
func launch(ctx context.Context, log zerolog.Logger, spec Spec, number int) (*generation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, spec.StartTimeout, errSlowStart)
	defer cancel()
	l := &launcher{log: log, spec: spec, number: number}
	g, err := l.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.prepare(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = fmt.Errorf("%w (%w)", err, cause)
			g.kill() // it had its time
		}
		g.stop()
		return nil, err
	}
	return g, nil
}

var errSlowStart = errors.New("the plugin was not ready within its start time-out")

// connect runs the program and makes the connection.
func (l *launcher) connect(ctx context.Context) (*generation, error) {
	path, err := l.program()
	if err != nil {
		return nil, err
	}
	if l.folder, err = privateFolder(l.spec.TempDir); err != nil {
		return nil, fmt.Errorf("no private folder for the plugin's socket: %w", err)
	}
	base := filepath.Base(l.spec.Command[0])
	l.log = l.log.With().Str("plugin", base).Int("generation", l.number).Logger()
	l.output = newLines(l.log)

	l.config = l.clientConfig(ctx, path)
	l.client = plugin.NewClient(l.config)
	stop := context.AfterFunc(ctx, l.abort)
	address, err := l.client.Start()
	stop()
	if err != nil {
		err = l.explain(ctx, err)
		l.abort()
		l.client.Kill() // joins what it has started; after a handshake it would dial, and forget the connection
		l.cleanUp()
		return nil, err
	}
	return l.dial(address) // what comes next finds that ctx has ended, if it has
}

// program finds the executable and compares its checksum.
func (l *launcher) program() (string, error) {
	if len(l.spec.Command) == 0 || l.spec.Command[0] == "" {
		return "", errNoCommand
	}
	path, err := exec.LookPath(l.spec.Command[0])
	if err != nil {
		return "", fmt.Errorf("the plugin's program cannot be run: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil { // it runs in another folder
		return "", fmt.Errorf("the plugin's program cannot be run: %w", err)
	}
	if l.spec.SHA256 == "" {
		return path, nil
	}
	sum, err := hex.DecodeString(l.spec.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return "", errors.New("the plugin's configured sha256 is not one: 64 hex digits are expected")
	}
	same, err := (&plugin.SecureConfig{Checksum: sum, Hash: sha256.New()}).Check(path)
	if err != nil {
		return "", fmt.Errorf("the plugin's program cannot be read: %w", err)
	}
	if !same {
		return "", fmt.Errorf("the plugin's program %s is not the one that was configured: %w", path, plugin.ErrChecksumsDoNotMatch)
	}
	return path, nil
}

func (l *launcher) clientConfig(ctx context.Context, path string) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  wire.Handshake(),
		Plugins:          plugin.PluginSet{"store": nil},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(), // its parser of log lines trusts them
		SkipHostEnv:      true,
		AutoMTLS:         l.spec.AutoMTLS,
		StartTimeout:     l.spec.StartTimeout + time.Second, // the context ends first, with our words
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: l.folder.Path},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, folder string) (runner.Runner, error) {
			argv := append([]string{path}, l.spec.Command[1:]...)
			p := newProcess(argv, append(l.spec.environment(), cmd.Env...), folder, l.spec.AutoMTLS, l.output)
			p.cmd.Dir = l.spec.Dir
			l.run.Store(p)
			if ctx.Err() != nil { // the abort that is due to it may not have seen the process
				l.abort()
			}
			return p, nil
		},
	}
}

func (l *launcher) abort() {
	if p := l.run.Load(); p != nil {
		_ = p.Kill(context.Background())
	}
}

// cleanUp takes away what a process that has ended leaves behind.
func (l *launcher) cleanUp() {
	if p := l.run.Load(); p != nil && p.handshake != nil {
		_ = p.handshake.Close()
		p.files.close()
	}
	_ = l.folder.Remove()
}

// socketRoom is how long the folder's path may be so that a socket's path inside, with the
// names that go-plugin and its server make up, fits the 104 octets that a unix socket's
// address has on the narrowest system.
const socketRoom = 60

// privateFolder makes a folder of mode 0700.
func privateFolder(root string) (*tempfolder.Folder, error) {
	if root == "" {
		root = os.TempDir()
	}
	if len(root)+len("/dipylon-1234567890") > socketRoom {
		if _, err := os.Stat("/tmp"); err == nil {
			root = "/tmp"
		}
	}
	return tempfolder.New(root, "")
}

// explain says why a start failed, in words for an administrator.
func (l *launcher) explain(ctx context.Context, err error) error {
	p := l.run.Load()
	if p == nil {
		return fmt.Errorf("the plugin cannot be started: %w", err)
	}
	if cause := context.Cause(ctx); p.pid() == 0 && cause != nil {
		return fmt.Errorf("the plugin was not started: %w", cause)
	}
	if p.pid() == 0 {
		return fmt.Errorf("the plugin's program cannot be run: %w", err)
	}
	line, seen := p.greeting.get()
	if !seen {
		if cause := context.Cause(ctx); cause != nil {
			return l.withTail(fmt.Errorf("the plugin said nothing within %v: it hangs, or is no plugin: %w", l.spec.StartTimeout, cause))
		}
		<-p.exited // go-plugin gives up on the end of the output or of the process
		return l.withTail(fmt.Errorf("the plugin ended before the handshake: %s", p.status()))
	}
	version := handshakeVersion(line)
	if version == 0 {
		return l.withTail(fmt.Errorf("the plugin wrote %q to its standard output where the handshake line is expected; what a plugin logs belongs on standard error", convert.Line(line, 120)))
	}
	if p.greeting.unended() {
		return l.withTail(fmt.Errorf("the plugin wrote %q to its standard output, and not the line feed that ends the handshake line", convert.Line(line, 120)))
	}
	if version != wire.ProtocolVersion {
		return otherVersion(version)
	}
	return l.withTail(fmt.Errorf("the plugin's handshake failed: %s", convert.Line(err.Error(), 300)))
}

// handshakeVersion returns the version of the plugin protocol that a handshake line names, and 0
// where the line is none.
func handshakeVersion(line string) int {
	parts := strings.Split(line, "|")
	if len(parts) < 4 || parts[0] != "1" {
		return 0
	}
	version, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil {
		return 0
	}
	return int(version)
}

// otherVersion refuses a plugin that speaks another version of the protocol, and says which of
// the two is to be replaced.
func otherVersion(version int) error {
	refused := fmt.Errorf("the plugin speaks version %d of the plugin protocol, and this gateway version %d", version, wire.ProtocolVersion)
	if version > wire.ProtocolVersion {
		return fmt.Errorf("%w: install a release of the gateway that speaks version %d, or an older one of the plugin", refused, version)
	}
	return fmt.Errorf(`%w: install a release of the plugin that speaks version %d (for its author: plugins/README.md, "From protocol 1")`, refused, wire.ProtocolVersion)
}

func (l *launcher) withTail(err error) error {
	if tail := l.output.tail(); tail != "" {
		return fmt.Errorf("%w; its last words: %s", err, tail)
	}
	return err
}

// dial makes the gRPC connection and the generation around it. go-plugin's own client would
// do so too, and wait without an end for a plugin that hangs when it is closed.
func (l *launcher) dial(address net.Addr) (*generation, error) {
	security := insecure.NewCredentials()
	if l.config.TLSConfig != nil {
		if l.config.TLSConfig.RootCAs == nil {
			// The plugin gave no certificate: nothing is left to tell it by.
			l.config.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13, VerifyConnection: func(tls.ConnectionState) error {
				return errors.New("the plugin gave no certificate in its handshake")
			}}
		}
		security = credentials.NewTLS(l.config.TLSConfig)
	}
	options := append(wire.DialOptions(),
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, address.Network(), address.String())
		}))
	conn, err := grpc.NewClient("passthrough:///localhost", options...)
	if err != nil {
		l.abort()
		<-l.run.Load().exited
		l.cleanUp()
		return nil, fmt.Errorf("no connection to the plugin: %w", err)
	}
	return newGeneration(l, conn), nil
}

// prepare takes a new process to where it can be used: it says that it serves, takes its
// settings, and describes itself.
func (g *generation) prepare(ctx context.Context) error {
	if err := g.awaitServing(ctx); err != nil {
		return err
	}
	if err := g.configure(ctx, g.spec.Settings); err != nil {
		return err
	}
	g.vault.open()
	return g.describe(ctx)
}

// describe has the plugin describe itself.
func (g *generation) describe(ctx context.Context) error {
	m, err := g.stub.Describe(ctx, &pb.DescribeRequest{})
	if err != nil {
		return g.withTail(fmt.Errorf("the plugin does not describe itself: %w", g.failure(ctx, err)))
	}
	if g.desc, err = convert.DescriptionFromProto(m); err == nil && g.spec.Tested {
		err = convert.DescriptionMended(m)
	}
	if err != nil {
		return fmt.Errorf("the plugin's description is not valid: %w", err)
	}
	return nil
}

// awaitServing asks the gRPC health service for the service "plugin", as go-plugin does.
func (g *generation) awaitServing(ctx context.Context) error {
	answer, err := grpc_health_v1.NewHealthClient(g.conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName}, grpc.WaitForReady(true))
	switch {
	case err != nil:
		return g.withTail(fmt.Errorf("the plugin does not answer on its socket: %w", g.failure(ctx, err)))
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return fmt.Errorf("the plugin says that it does not serve: %s", answer.GetStatus())
	}
	return nil
}

// configure gives the settings. A [*backends.SettingsError] comes back as it is.
func (g *generation) configure(ctx context.Context, settings backends.Settings) error {
	m, err := convert.SettingsToProto(settings)
	if err != nil {
		return err
	}
	answer, err := g.stub.Configure(ctx, m)
	if err != nil {
		return g.withTail(fmt.Errorf("the plugin could not be configured: %w", g.failure(ctx, err)))
	}
	return convert.ProblemsFromProto(answer)
}
