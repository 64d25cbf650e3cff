package host

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// TestCrash: a process that dies fails its sessions, and only them; a new login works soon.
func TestCrash(t *testing.T) {
	s, log := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		name string
		call func(*testing.T) error
	}{
		{"in a login", func(t *testing.T) error {
			_, err := s.Login(t.Context(), userNamed("crash"))
			return err
		}},
		{"in an open", func(t *testing.T) error {
			_, err := s.Open(t.Context(), backends.OpenRequest{Credential: userNamed("crash")})
			return err
		}},
		{"in a fetch", func(t *testing.T) error {
			content := fetch(t, openDrop(t, s), "crash:500000")
			n, err := io.Copy(io.Discard, content)
			if n > 500_000 {
				t.Error(n)
			}
			return err
		}},
		{"in a removal", func(t *testing.T) error {
			_, err := openDrop(t, s).Remove(t.Context(), []backends.MessageID{"crash:0"}, backends.DisposalRemove)
			return err
		}},
		{"in a resolve", func(t *testing.T) error {
			_, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To("crash@x.example")})
			return err
		}},
		{"killed", func(t *testing.T) error {
			content := fetch(t, openDrop(t, s), "hang:100000")
			process, err := os.FindProcess(s.Status().PID)
			if err == nil {
				err = process.Kill()
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, content)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := s.Status()
			other := openDrop(t, s)
			err := test.call(t)
			kindIs(t, err, backends.Temporary)
			if !errors.Is(err, ErrPluginDied) || !errors.Is(err, backends.ErrCrashed) {
				t.Error(err)
			}
			_, err = other.Fetch(t.Context(), backends.FetchRequest{ID: "size:1"})
			if !errors.Is(err, ErrPluginDied) {
				t.Error("the other session:", err)
			}
			if err := other.Close(); !errors.Is(err, ErrPluginDied) {
				t.Error("its end:", err)
			}
			within(t, "a login works again", func() bool {
				_, err := s.Login(t.Context(), ann)
				return err == nil
			})
			if now := s.Status(); now.Restarts != before.Restarts+1 || now.Generation != before.Generation+1 || now.PID == before.PID {
				t.Errorf("%+v, then %+v", before, now)
			}
		})
	}
	if n := strings.Count(log.String(), "exit status 3"); n < 5 {
		t.Errorf("the log tells of %d ends", n)
	}
}

// TestFirstRestart: a call made right after the end waits for the new process.
func TestFirstRestart(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	_, _ = s.Login(t.Context(), userNamed("crash"))
	if _, err := s.Login(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
}

// TestHang: a process that does not answer is killed and started again; one whose store is
// sick is not.
func TestHang(t *testing.T) {
	quick := func(spec Spec) Spec {
		spec.HealthInterval, spec.HealthTimeout, spec.HealthFailures = 20*time.Millisecond, slowed*100*time.Millisecond, 2
		return spec
	}
	t.Run("health check", func(t *testing.T) {
		s, log := start(t, quick(specOf(t, "store", fakeSettings{Extra: map[string]string{"health": "hang"}})))
		within(t, "it was started again", func() bool { return s.Status().Generation >= 2 })
		if !strings.Contains(log.String(), "the plugin hangs: it is killed") {
			t.Error("the log does not say so")
		}
	})
	t.Run("stopped process", func(t *testing.T) {
		spec := quick(specOf(t, "store", fakeSettings{}))
		spec.CallTimeout = time.Second // of the call that is under way
		s, _ := start(t, spec)
		drop := openDrop(t, s)
		halt(t, s.Status().PID)
		_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:1"})
		if !errors.Is(err, backends.ErrCrashed) {
			t.Error(err)
		}
		within(t, "a login works again", func() bool {
			_, err := s.Login(t.Context(), ann)
			return err == nil
		})
	})
	t.Run("sick store", func(t *testing.T) {
		spec := quick(specOf(t, "store", fakeSettings{Extra: map[string]string{"health": "sick"}}))
		spec.HealthTimeout = 10 * time.Second
		s, _ := start(t, spec)
		within(t, "the sickness is seen", func() bool { return s.Status().Health != nil })
		time.Sleep(10 * 20 * time.Millisecond) // many checks: nothing happens, so there is no event
		if s.Status().Generation != 1 {
			t.Error("it was killed")
		}
		kindIs(t, s.Health(t.Context()), backends.Temporary)
		if err := s.Health(t.Context()); !strings.Contains(err.Error(), "the store is down") {
			t.Error(err)
		}
	})
	t.Run("stopped at the end", func(t *testing.T) {
		spec := specOf(t, "store", fakeSettings{})
		spec.StopTimeout = 300 * time.Millisecond
		s, log := start(t, spec)
		pid := s.Status().PID
		halt(t, pid)
		if err := s.Close(); err != nil || alive(pid) {
			t.Error(err, alive(pid))
		}
		if !strings.Contains(log.String(), "does not end: it is killed") {
			t.Error("the log does not say so")
		}
	})
}

// TestFlood: what a plugin writes to its standard error cannot hurt.
func TestFlood(t *testing.T) {
	before := residentKiB()
	s, log := start(t, specOf(t, "flood", fakeSettings{}))
	if _, err := s.Login(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	if grown := residentKiB() - before; grown > slowed*40<<10 {
		t.Errorf("the gateway grew by %d KiB", grown)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if len(text) > 1<<20 {
		t.Errorf("the log has %d octets", len(text))
	}
	if !strings.Contains(text, "lines were dropped") {
		t.Error("nothing was dropped")
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	var warned bool
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if line["store"] != "test" {
			t.Errorf("a line of another store: %s", lines.Text())
		}
		if line["message"] == "a warning [31m" {
			warned = line["level"] == "warn"
		}
	}
	if !warned {
		t.Error("the warning is not there")
	}
	if strings.ContainsRune(text, 0x1b) || strings.Contains(text, `\u001b`) {
		t.Error("control characters are in the log")
	}
}

// TestChildren: a plugin's children end with it, also where they ignore signals, and do not
// keep its end from being seen.
func TestChildren(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	s, _ := start(t, specOf(t, "children:"+path, fakeSettings{}))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	child, _ := strconv.Atoi(string(text))
	if !alive(child) {
		t.Fatal("the child does not live")
	}
	if _, err := s.Login(t.Context(), userNamed("crash")); !errors.Is(err, ErrPluginDied) {
		t.Error(err)
	}
	within(t, "the child is gone", func() bool { return !alive(child) })
}

// TestGatewayKilled: kill -9 of the gateway leaves no plugin behind, whether that looks for it
// or not.
func TestGatewayKilled(t *testing.T) {
	for _, inner := range []string{"store", "stopped"} {
		t.Run(inner, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "pid")
			gateway := exec.Command(os.Args[0])
			gateway.Env = append(os.Environ(), roleKey+"=gateway:"+path, "HOST_TEST_INNER=store", "TMPDIR="+shortTemp(t, ""))
			if err := gateway.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = gateway.Wait() }()
			var text []byte
			within(t, "the plugin is ready", func() bool {
				text, _ = os.ReadFile(path)
				return len(text) > 0
			})
			plugin, _ := strconv.Atoi(string(text))
			if !alive(plugin) {
				t.Fatal("the plugin does not live")
			}
			if inner == "stopped" { // it cannot notice anything
				halt(t, plugin)
			}
			if err := gateway.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			within(t, "the plugin is gone", func() bool { return !alive(plugin) })
		})
	}
}

// TestSwap: new sessions are on the new process, old ones go on on the old one, which ends
// with the last of them.
func TestSwap(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{Name: "old"}))
	old := s.Status()
	drop := openDrop(t, s)
	content := fetch(t, drop, "size:30000000")

	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{Wrong: true})); !errors.As(err, new(*backends.SettingsError)) {
		t.Fatal(err)
	}
	if s.Status().PID != old.PID {
		t.Fatal("a swap that failed changed the process")
	}
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{Name: "new"})); err != nil {
		t.Fatal(err)
	}
	now := s.Status()
	if d, err := s.Describe(t.Context()); err != nil || d.Vendor != "new" || now.PID == old.PID || now.Restarts != 0 {
		t.Fatal(d, err, now)
	}
	if n, err := io.Copy(io.Discard, content); n != 30_000_000 || err != nil {
		t.Error("the old session's fetch:", n, err)
	}
	if n := sessions(t, s); n != 0 {
		t.Errorf("%d sessions are on the new process", n)
	}
	if got, err := io.ReadAll(fetch(t, drop, "size:7")); len(got) != 7 || err != nil {
		t.Error("the old session:", len(got), err)
	}
	if !alive(old.PID) {
		t.Fatal("the old process is gone")
	}
	if err := drop.Close(); err != nil {
		t.Error(err)
	}
	within(t, "the old process is gone", func() bool { return !alive(old.PID) })
	if s.Status().PID != now.PID || !s.Status().Ready {
		t.Error("the new process is not the current one")
	}
}

// TestOldProcessIsTold: the process that is replaced is told so once, while its sessions go on.
func TestOldProcessIsTold(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	s, _ := start(t, spec)
	drop := openDrop(t, s)
	told := func() int {
		n, err := io.Copy(io.Discard, fetch(t, drop, "drained:0"))
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	if n := told(); n != 0 {
		t.Errorf("told %d times before", n)
	}
	if err := s.Swap(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	within(t, "the old process is told", func() bool { return told() > 0 })
	if n := told(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestSwapDrain(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.DrainTimeout = 100 * time.Millisecond
	s, _ := start(t, spec)
	old := s.Status().PID
	drop := openDrop(t, s)
	if err := s.Swap(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	within(t, "the old process is gone", func() bool { return !alive(old) })
	_, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:1"})
	if !errors.Is(err, ErrPluginDied) || errors.Is(err, backends.ErrCrashed) {
		t.Error(err)
	}
	if s.Status().Restarts != 0 {
		t.Error("its end counts as a crash")
	}
}

// TestSwapMends: a store whose plugin does not start is mended by other settings.
func TestSwapMends(t *testing.T) {
	s, _ := unstarted(t, specOf(t, "exit", fakeSettings{}))
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("it started")
	}
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{})); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Login(t.Context(), ann); err != nil {
		t.Error(err)
	}
}

// TestManySwaps swaps while sessions come and go: none of them fails.
func TestManySwaps(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	stop := make(chan struct{})
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				drop, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
				if err != nil {
					t.Error(err)
					return
				}
				content, err := drop.Fetch(t.Context(), backends.FetchRequest{ID: "size:100000"})
				if err != nil {
					t.Error(err)
				} else if n, err := io.Copy(io.Discard, content); n != 100_000 || err != nil {
					t.Error(n, err)
				}
				if err := drop.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{})); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	users.Wait()
}

// TestMemory: 100 MB cross, and neither side grows by much.
func TestMemory(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	plugin := func() int {
		account, err := s.Login(t.Context(), userNamed("rss"))
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(account.DisplayName)
		return n
	}
	if _, err := io.Copy(io.Discard, fetch(t, drop, "size:10000000")); err != nil { // warm
		t.Fatal(err)
	}
	here, there := residentKiB(), plugin()
	const size = 100_000_000
	n, err := io.Copy(io.Discard, fetch(t, drop, "size:"+strconv.Itoa(size)))
	if err != nil || n != size {
		t.Fatal(n, err)
	}
	here, there = residentKiB()-here, plugin()-there
	t.Logf("the gateway grew by %d KiB, the plugin by %d KiB", here, there)
	if here > slowed*24<<10 || there > slowed*24<<10 {
		t.Errorf("the gateway grew by %d KiB, the plugin by %d KiB", here, there)
	}
}

// TestBackpressure: contents that are read slowly do not come faster.
func TestBackpressure(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	drop := openDrop(t, s)
	before := residentKiB()
	const contents = 16 // 16 windows of 1 MiB
	for range contents {
		content := fetch(t, drop, "size:100000000")
		if _, err := io.ReadFull(content, make([]byte, 700_000)); err != nil {
			t.Fatal(err)
		}
	}
	if n := sessions(t, s); n != 1 { // a round trip: what may come has come
		t.Fatal(n)
	}
	if grown := residentKiB() - before; grown > slowed*contents*3<<10 {
		t.Errorf("the gateway grew by %d KiB", grown)
	}
}

// TestLoginAgain: a login by the gateway's word whose process ends goes to the next one. A credential that may be good once does not.
func TestLoginAgain(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for kind, again := range map[backends.CredentialKind]bool{backends.CredentialImpersonation: true, backends.CredentialPassword: false} {
		c := backends.Credential{Kind: kind, User: "crash:" + filepath.Join(t.TempDir(), "crashed")}
		account, err := s.Login(t.Context(), c)
		if again && (err != nil || account.ID != "id-"+c.User) {
			t.Errorf("the gateway's word: %+v, %v", account, err)
		}
		if !again && !errors.Is(err, ErrPluginDied) {
			t.Errorf("a password: %v", err)
		}
		within(t, "the next process is ready", func() bool { _, err := s.Login(t.Context(), userNamed("alice")); return err == nil })
	}
}
