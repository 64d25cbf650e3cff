package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/plugins/proto/convert"
	"github.com/dipylon/dipylon/plugins/proto/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv("SERVE_TEST_ROLE") == "plugin" {
		Store(&closing{})
	}
	goleak.VerifyTestMain(m)
}

// closing is a store that can be described and closed.
type closing struct{}

func (*closing) Describe(context.Context) (backends.Description, error) {
	return backends.Description{Name: "closing"}, nil
}
func (*closing) Configure(context.Context, backends.Settings) error { return nil }
func (*closing) Health(context.Context) error                       { return nil }
func (*closing) Login(context.Context, backends.Credential) (backends.Account, error) {
	return backends.Account{}, nil
}

func (*closing) Close() error {
	log := Logger()
	log.Info().Msg("closed")
	return nil
}

// TestByHand: somebody who starts the program is told what it is.
func TestByHand(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SERVE_TEST_ROLE=plugin")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), "a mail store for the Dipylon gateway") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestEnds: the gateway's end, seen by the lifeline or by a signal, is the plugin's, and an
// orderly one.
func TestEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*exec.Cmd, io.Closer) error
	}{
		{"lifeline", func(_ *exec.Cmd, lifeline io.Closer) error { return lifeline.Close() }},
		{"signal", func(cmd *exec.Cmd, _ io.Closer) error { return cmd.Process.Signal(syscall.SIGTERM) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "SERVE_TEST_ROLE=plugin", wire.CookieKey+"="+wire.CookieValue,
				wire.LifelineKey+"="+wire.LifelineStdin, "PLUGIN_PROTOCOL_VERSIONS=2", "PLUGIN_UNIX_SOCKET_DIR="+t.TempDir())
			var log bytes.Buffer
			cmd.Stderr = &log
			lifeline, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line := make([]byte, 4)
			if _, err := io.ReadFull(out, line); err != nil || string(line) != "1|2|" {
				t.Fatalf("%q, %v: %s", line, err, &log)
			}
			if err := test.end(cmd, lifeline); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), `"@message":"closed"`) {
				t.Errorf("%v: %s", err, &log)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	all := backends.Capabilities{Reader: true, Receiver: true, Sender: true, Outbox: true, Authenticator: true, Watcher: true, SendRights: true, Examiner: true}
	for _, test := range []struct{ has, says, want backends.Capabilities }{
		{all, backends.Capabilities{}, all},
		{all, backends.Capabilities{Reader: true, Outbox: true}, backends.Capabilities{Reader: true, Outbox: true}},
		{backends.Capabilities{Receiver: true}, all, backends.Capabilities{Receiver: true}},
		{backends.Capabilities{Reader: true}, backends.Capabilities{Sender: true}, backends.Capabilities{}},
	} {
		if got := capabilities(test.has, test.says); got != test.want {
			t.Errorf("has %+v, says %+v: %+v", test.has, test.says, got)
		}
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log := zerolog.New(&lineWriter{w: &out}).With().Timestamp().Str("folder", "a<b>&").Logger()
	log.Warn().Int("n", 7).Msg("slow")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.RFC3339, line["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
	if line["@level"] != "warn" || line["@message"] != "slow" || line["n"] != 7.0 || line["folder"] != "a<b>&" || len(line) != 5 {
		t.Error(line)
	}
	out.Reset()
	if _, err := (&lineWriter{w: &out}).Write([]byte("no json\n")); err != nil || out.String() != "no json\n" {
		t.Error(out.String(), err)
	}
}

func TestGuard(t *testing.T) {
	var log bytes.Buffer
	s := newService(&closing{}, zerolog.New(&log))
	err := s.guard("Fetch", func() error { panic("boom") })
	if backends.KindOf(err) != backends.Temporary || !strings.Contains(log.String(), "boom") || !strings.Contains(log.String(), "serve_test.go") {
		t.Error(err, log.String())
	}
	said := backends.Fail(backends.Poison, "x")
	if err := s.guard("Fetch", func() error { return said }); !errors.Is(err, said) {
		t.Error(err)
	}
}

func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{idle: make(chan struct{})}
		for range 2 {
			if !c.begin() {
				t.Fatal("refused")
			}
		}
		drained := make(chan bool)
		go func() { drained <- c.drain(time.Minute) }()
		synctest.Wait()
		if c.begin() {
			t.Error("a call was let in")
		}
		c.end()
		c.end()
		if !<-drained {
			t.Error("not drained")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := calls{idle: make(chan struct{})}
		c.begin()
		if c.drain(time.Minute) {
			t.Error("drained with a call under way")
		}
		c.end()
	})
	c := calls{idle: make(chan struct{})}
	if !c.drain(time.Minute) {
		t.Error("not drained without calls")
	}
}

func TestCredit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCredit(100)
	if n, err := c.take(ctx, 60); n != 60 || err != nil {
		t.Error(n, err)
	}
	if n, err := c.take(ctx, 60); n != 40 || err != nil {
		t.Error(n, err)
	}
	took := make(chan int)
	go func() {
		n, _ := c.take(ctx, 60)
		took <- n
	}()
	c.grant(0)
	c.grant(-5)
	c.grant(7)
	if n := <-took; n != 7 {
		t.Error(n)
	}
	c.grant(math.MaxInt64)
	c.grant(math.MaxInt64) // no overflow
	if n, err := c.take(ctx, 60); n != 60 || err != nil {
		t.Error(n, err)
	}
	cancel()
	if _, err := newCredit(-1).take(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// stuck gives nothing and no error.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// overstated says that it read more than it was given room for.
type overstated struct{}

func (overstated) Read(p []byte) (int, error) { return len(p) + 1, nil }

func TestReadEnough(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		r    io.Reader
		room int
		n    int
		err  error
	}{
		{"short", strings.NewReader("abc"), 10, 3, io.EOF},
		{"full", strings.NewReader("abc"), 3, 3, nil},
		{"in small pieces", iotest.OneByteReader(strings.NewReader("abcdef")), 5, 5, nil},
		{"the end with the last octets", iotest.DataErrReader(strings.NewReader("abc")), 5, 3, io.EOF},
		{"broken", io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), 5, 3, broken},
		{"stuck", stuck{}, 5, 0, io.ErrNoProgress},
		{"enough", iotest.HalfReader(strings.NewReader(strings.Repeat("x", 300_000))), 250_000, 125_000, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := readEnough(test.r, make([]byte, test.room))
			if n != test.n || !errors.Is(err, test.err) {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	if _, err := readEnough(overstated{}, make([]byte, 5)); err == nil {
		t.Error("no error")
	}
}

func TestCounter(t *testing.T) {
	for _, test := range []struct {
		name  string
		size  int64
		reads []int
		last  error
		ok    bool
	}{
		{"right", 5, []int{2, 3}, io.EOF, true},
		{"empty", 0, []int{0}, io.EOF, true},
		{"not known", -1, []int{2, 3}, io.EOF, true},
		{"short", 5, []int{2}, io.EOF, false},
		{"long", 5, []int{2, 4}, nil, false},
		{"broken", 5, []int{2}, io.ErrUnexpectedEOF, false},
	} {
		c := counter{size: test.size}
		var err error
		for i, n := range test.reads {
			err = test.last
			if i < len(test.reads)-1 {
				err = nil
			}
			err = c.add(n, err)
		}
		if (err == io.EOF) != test.ok || err == nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestRoomFor(t *testing.T) {
	for size, want := range map[int64]int{
		-1: convert.ChunkMost, 0: 1, 5: 6, convert.ChunkMost - 1: convert.ChunkMost, convert.ChunkMost: convert.ChunkMost, 1 << 40: convert.ChunkMost,
	} {
		if got := roomFor(size); got != want {
			t.Errorf("roomFor(%d) = %d, want %d", size, got, want)
		}
	}
}
