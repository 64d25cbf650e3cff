package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends"
	"github.com/dipylon/dipylon/backends/mail/sasl"
	"github.com/dipylon/dipylon/plugins/proto/convert"
)

func kindIs(t testing.TB, err error, kind backends.Kind) {
	t.Helper()
	if backends.KindOf(err) != kind {
		t.Errorf("got %v, want a failure of kind %v", err, kind)
	}
	if err != nil && !errors.As(err, new(*backends.Failure)) {
		t.Errorf("%v (%T) is no failure", err, err)
	}
}

func TestCalls(t *testing.T) {
	s, log := start(t, specOf(t, "store", fakeSettings{Name: "vendor", Messages: []string{"size:10"}}))
	ctx := t.Context()

	t.Run("describe", func(t *testing.T) {
		d, err := s.Describe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all := backends.Capabilities{Reader: true, Receiver: true, Sender: true, Outbox: true, Authenticator: true, Watcher: true, SendRights: true, SendSessions: true, Examiner: true, Deliveries: true}
		if d.Name != "fake" || d.Vendor != "vendor" || d.Capabilities != all || !d.ExactSizes {
			t.Errorf("%+v", d)
		}
		if status := s.Status(); !status.Ready || status.Generation != 1 || status.PID == 0 || status.Description.Name != "fake" {
			t.Errorf("%+v", status)
		}
	})
	t.Run("health", func(t *testing.T) {
		if err := s.Health(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("login", func(t *testing.T) {
		account, err := s.Login(ctx, ann)
		want := []string{"ann@fake.example", "@fake.example"}
		if err != nil || account.ID != "id-ann" || account.Address != "ann@fake.example" || !slices.Equal(account.Addresses, want) {
			t.Errorf("%+v, %v", account, err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		wrong := ann
		wrong.Secret = []byte("guessed")
		_, err := s.Login(ctx, wrong)
		kindIs(t, err, backends.BadCredentials)
		var f *backends.Failure
		if !errors.As(err, &f) || f.Text != "no such luck" || f.Code != "5.7.8" || f.Detail != "the password of ann is another" {
			t.Errorf("%#v", f)
		}
		if strings.Contains(log.String(), "guessed") {
			t.Error("the password is in the log")
		}
	})
	t.Run("may send", func(t *testing.T) {
		for word, want := range map[string]backends.SendRight{"no": backends.SendNo, "as": backends.SendAs, "behalf": backends.SendOnBehalf} {
			right, err := s.MaySend(ctx, backends.MaySendQuery{Account: "id-ann", Address: word + "@fake.example"})
			if right != want || err != nil {
				t.Errorf("%s: %v, %v", word, right, err)
			}
		}
		for _, word := range []string{"down", "odd", "nothing"} { // what is no answer is no right
			right, err := s.MaySend(ctx, backends.MaySendQuery{Account: "id-ann", Address: word + "@fake.example"})
			kindIs(t, err, backends.Temporary)
			if right != 0 {
				t.Errorf("%s: %v", word, right)
			}
		}
	})
	t.Run("examine", func(t *testing.T) {
		var told []backends.Step
		examine := func(r backends.ExamineRequest) error {
			told = nil
			return s.Examine(ctx, r, func(step backends.Step) { told = append(told, step) })
		}
		if err := examine(backends.ExamineRequest{}); err != nil || len(told) != 1 || told[0].Detail != "nobody" {
			t.Errorf("%+v, %v", told, err)
		}
		err := examine(backends.ExamineRequest{Credential: ann, Folder: "2"})
		want := backends.Step{Name: "step 2", Outcome: backends.StepFailed, Took: time.Second, Detail: "ann two lines", Cause: "odd-1", Advice: "look"}
		if err != nil || len(told) != 2 || told[1] != want {
			t.Errorf("%+v, %v", told, err)
		}
		for folder, kind := range map[string]backends.Kind{"down": backends.Throttled, "201": backends.Temporary, "\xff": backends.Permanent} {
			kindIs(t, examine(backends.ExamineRequest{Credential: ann, Folder: folder}), kind)
			if len(told) > backends.StepsMost {
				t.Errorf("%d steps", len(told))
			}
		}
		kindIs(t, examine(backends.ExamineRequest{Credential: backends.Credential{Kind: 99}}), backends.Unsupported)
	})
	t.Run("name that is not UTF-8", func(t *testing.T) {
		_, err := s.Login(ctx, userNamed("\xff\xfe"))
		kindIs(t, err, backends.Permanent)
		if !errors.Is(err, convert.ErrText) {
			t.Error(err)
		}
	})
	t.Run("credential kind that is not known", func(t *testing.T) {
		_, err := s.Login(ctx, backends.Credential{Kind: 99, User: "ann"})
		kindIs(t, err, backends.Unsupported)
	})
	t.Run("account that is not valid", func(t *testing.T) {
		_, err := s.Login(ctx, userNamed("noid"))
		kindIs(t, err, backends.Temporary)
	})
	t.Run("panic", func(t *testing.T) {
		_, err := s.Login(ctx, userNamed("panic"))
		kindIs(t, err, backends.Temporary)
		if s.Status().Generation != 1 {
			t.Error("the process did not go on")
		}
		within(t, "the panic is in the log", func() bool { return strings.Contains(log.String(), "the backend panicked") })
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := s.Login(ctx, userNamed("deaf"))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("what it prints is logged", func(t *testing.T) {
		if _, err := s.Login(ctx, userNamed("print")); err != nil {
			t.Fatal(err)
		}
		within(t, "the prints are in the log", func() bool {
			return strings.Contains(log.String(), "printed to stdout") && strings.Contains(log.String(), "printed to stderr")
		})
	})
	t.Run("settle", func(t *testing.T) {
		err := s.Settle(ctx, []backends.Settlement{{ID: "size:10", Verdicts: []backends.Verdict{
			{Recipient: "a@x.example"}, {Recipient: "b@x.example", Failure: backends.Fail(backends.Permanent, "no")},
		}}})
		if err != nil {
			t.Error(err)
		}
		kindIs(t, s.Settle(ctx, nil), backends.Permanent)
	})
}

func TestResolve(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	for _, test := range []struct {
		name       string
		recipients []string
		kind       backends.Kind // of the call
		verdicts   []backends.Kind
	}{
		{"none", nil, 0, []backends.Kind{}},
		{"known and unknown", []string{"a@x.example", "unknown@x.example"}, 0, []backends.Kind{0, backends.NotFound}},
		{"one verdict too few", []string{"a@x.example", "forgotten@x.example"}, backends.Temporary, nil},
		{"a verdict of somebody else", []string{"other@x.example", "a@x.example"}, backends.Temporary, nil},
		{"UTF-8", []string{"ä@x.example"}, 0, []backends.Kind{0}},
		{"not UTF-8", []string{"\xe4@x.example"}, backends.Permanent, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			verdicts, err := s.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(test.recipients...)})
			if backends.KindOf(err) != test.kind {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			kinds := []backends.Kind{}
			for i, v := range verdicts {
				if v.Recipient != test.recipients[i] {
					t.Errorf("verdict %d is about %s", i, v.Recipient)
				}
				var kind backends.Kind
				if v.Failure != nil {
					kind = v.Failure.Kind
				}
				kinds = append(kinds, kind)
			}
			if !slices.Equal(kinds, test.verdicts) {
				t.Errorf("got %v, want %v", kinds, test.verdicts)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	for _, test := range []struct {
		name, role string
		settings   fakeSettings
		want       backends.Capabilities
	}{
		{"taken away by the configuration", "store", fakeSettings{Without: true}, backends.Capabilities{Receiver: true, Deliveries: true}},
		{"not implemented", "reader", fakeSettings{}, backends.Capabilities{Reader: true}},
		{"neither", "reader", fakeSettings{Without: true}, backends.Capabilities{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, _ := start(t, specOf(t, test.role, test.settings))
			d, err := s.Describe(t.Context())
			if err != nil || d.Capabilities != test.want {
				t.Fatalf("%+v, %v", d.Capabilities, err)
			}
			if !test.want.Reader {
				_, err := s.Open(t.Context(), backends.OpenRequest{Credential: ann})
				kindIs(t, err, backends.Unsupported)
			}
			if !test.want.Receiver {
				_, err := s.Resolve(t.Context(), backends.ResolveQuery{})
				kindIs(t, err, backends.Unsupported)
				_, err = s.Deliver(t.Context(), backends.Delivery{Key: "k"}, strings.NewReader(""))
				kindIs(t, err, backends.Unsupported)
			}
			_, err = s.Send(t.Context(), ann, backends.Delivery{Key: "k"}, strings.NewReader(""))
			kindIs(t, err, backends.Unsupported)
			kindIs(t, s.Collect(t.Context(), backends.CollectRequest{}, nil), backends.Unsupported)
			_, err = s.Authenticate(t.Context(), "X-TWO-STEPS", backends.Peer{})
			kindIs(t, err, backends.Unsupported)
		})
	}
}

func TestAuthenticate(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	ctx := t.Context()
	exchange := func() sasl.Exchange[backends.Account] {
		e, err := s.Authenticate(ctx, "x-two-steps", backends.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}

	t.Run("success", func(t *testing.T) {
		e := exchange()
		if challenge, account, err := e.Next(ctx, nil); string(challenge) != "user?" || account != nil || err != nil {
			t.Fatal(challenge, account, err)
		}
		if challenge, account, err := e.Next(ctx, []byte("ann")); len(challenge) != 0 || account != nil || err != nil {
			t.Fatal(challenge, account, err)
		}
		if _, account, err := e.Next(ctx, []byte("secret")); err != nil || account == nil || account.ID != "ann" {
			t.Fatal(account, err)
		}
	})
	t.Run("an empty initial response is not none", func(t *testing.T) {
		_, _, err := exchange().Next(ctx, []byte{})
		kindIs(t, err, backends.BadCredentials)
	})
	t.Run("given up", func(t *testing.T) {
		e := exchange()
		if _, _, err := e.Next(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		_, _, err := e.Next(ctx, []byte("late"))
		kindIs(t, err, backends.Temporary)
	})
	t.Run("another mechanism", func(t *testing.T) {
		_, err := s.Authenticate(ctx, "GSSAPI", backends.Peer{})
		kindIs(t, err, backends.Unsupported)
	})
}

// TestMetrics: what a store counts is known from its last health check.
func TestMetrics(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	openDrop(t, s)
	if err := s.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := backends.Metric{Name: "maildrops", Kind: backends.MetricGauge, Value: 1}
	if got := s.Status().Metrics; len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v", got)
	}
}

// TestTrace: a backend sees the trace that the gateway has given a call, one that opens a stream too.
func TestTrace(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	who := backends.Credential{Kind: backends.CredentialPassword, User: "trace", Secret: []byte("secret")}
	for _, trace := range []string{"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"} {
		ctx := t.Context()
		if given, err := backends.ParseTrace(trace); err == nil {
			ctx = backends.WithTrace(ctx, given)
		}
		if account, err := s.Login(ctx, who); err != nil || account.DisplayName != trace {
			t.Errorf("Login: %q, %v", account.DisplayName, err)
		}
		drop, err := s.Open(ctx, backends.OpenRequest{Credential: who})
		if err != nil {
			t.Fatal(err)
		}
		if got := drop.Opened().Account.DisplayName; got != trace {
			t.Errorf("Open: %q", got)
		}
		_ = drop.Close()
		d := delivery("trace@x.example")
		if verdicts, err := s.Deliver(ctx, d, strings.NewReader("x")); err != nil || verdicts[0].RemoteDiagnostic != trace {
			t.Errorf("%v, %v; the trace given was %q", verdicts, err, trace)
		}
		if verdicts, err := s.Send(ctx, who, delivery("b@x.example"), strings.NewReader("x")); err != nil || verdicts[0].RemoteDiagnostic != trace {
			t.Errorf("Send: %v, %v", verdicts, err)
		}
		exchange, err := s.Authenticate(ctx, "X-TWO-STEPS", backends.Peer{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = exchange.Next(ctx, nil)
		_, _, _ = exchange.Next(ctx, []byte("ann"))
		if _, account, err := exchange.Next(ctx, []byte("secret")); err != nil || account.DisplayName != trace {
			t.Errorf("Authenticate: %+v, %v", account, err)
		}
		_ = exchange.Close()
	}
}

// TestEnvironment: what the gateway was started with is not the plugin's to see.
func TestEnvironment(t *testing.T) {
	t.Setenv("DIPYLON_TEST_SECRET", "hunter2")
	t.Setenv("LC_ALL", "C")
	spec := specOf(t, "store", fakeSettings{})
	spec.Env = append(spec.Env, "MINE=yes", "DIPYLON_PLUGIN=other")
	s, _ := start(t, spec)
	for name, want := range map[string]string{
		"DIPYLON_TEST_SECRET": "", "MINE": "yes", "LC_ALL": "C", "PATH": os.Getenv("PATH"),
		"DIPYLON_PLUGIN": "7b1c5e0e-store", "DIPYLON_LIFELINE": "stdin",
	} {
		account, err := s.Login(t.Context(), userNamed("env:"+name))
		if err != nil || account.DisplayName != convert.Line(want, 255) {
			t.Errorf("%s is %q (%v), want %q", name, account.DisplayName, err, want)
		}
	}
}

func TestAutoMTLS(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	spec.AutoMTLS = true
	s, _ := start(t, spec)
	if _, err := s.Login(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
}

func TestCheckSettings(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t, ""))
	mark := filepath.Join(t.TempDir(), "closed")
	for _, test := range []struct {
		name     string
		settings fakeSettings
		problems int
	}{
		{"right", fakeSettings{Extra: map[string]string{"closed": mark}}, 0},
		{"wrong", fakeSettings{Wrong: true}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CheckSettings(t.Context(), zerolog.Nop(), specOf(t, "store", test.settings))
			var wrong *backends.SettingsError
			if errors.As(err, &wrong) != (test.problems > 0) || (wrong != nil && len(wrong.Problems) != test.problems) {
				t.Fatal(err)
			}
			if test.problems == 0 && err != nil {
				t.Fatal(err)
			}
		})
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("the store was not closed at the end:", err)
	}
}

// TestCheckDescription: a plugin that takes its settings, and cannot say what it is, is not good.
func TestCheckDescription(t *testing.T) {
	t.Setenv("TMPDIR", shortTemp(t, ""))
	for how, want := range map[string]string{"hang": "does not describe itself", "name": "not of lower case letters, digits and hyphens"} {
		t.Run(how, func(t *testing.T) {
			spec := specOf(t, "store", fakeSettings{Extra: map[string]string{"describe": how}})
			if how == "hang" {
				spec.StartTimeout = handshakeTime
			}
			err := CheckSettings(t.Context(), zerolog.Nop(), spec)
			if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// TestDir: relative arguments are relative to the folder that the configuration stands in, and so
// is the program looked up from where the gateway runs.
func TestDir(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if spec.Command[0], err = filepath.Rel(here, spec.Command[0]); err != nil {
		t.Fatal(err)
	}
	spec.Dir = dir
	s, _ := start(t, spec)
	if account, err := s.Login(t.Context(), userNamed("dir")); err != nil || account.DisplayName != dir {
		t.Errorf("%q, %v, want %q", account.DisplayName, err, dir)
	}
}

func TestConfigure(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{Name: "one"})
	s, _ := unstarted(t, spec)
	if err := s.Configure(t.Context(), spec.Settings); err != nil {
		t.Fatal(err)
	}
	two := specOf(t, "store", fakeSettings{Name: "two"}).Settings
	check := two
	check.Check = true
	if err := s.Configure(t.Context(), check); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Describe(t.Context()); err != nil || d.Vendor != "one" {
		t.Fatal(d, err)
	}
	if err := s.Configure(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	if d, err := s.Describe(t.Context()); err != nil || d.Vendor != "two" {
		t.Fatal(d, err)
	}
}

// handshakeTime is enough for a plugin to start, of which something else is waited for in vain.
const handshakeTime = 2*time.Second + slowed*200*time.Millisecond

// TestStartFails: whatever a program does instead of serving, the failure says which.
func TestStartFails(t *testing.T) {
	quick := func(s *Spec) { s.StartTimeout = 500 * time.Millisecond }
	started := func(s *Spec) { s.StartTimeout = handshakeTime }
	for _, test := range []struct {
		name, role string
		change     func(*Spec)
		want       string
	}{
		{"no command", "store", func(s *Spec) { s.Command = nil }, "no command"},
		{"no such program", "store", func(s *Spec) { s.Command = []string{"/nonexistent/plugin"} }, "no such file"},
		{"not a program", "store", func(s *Spec) { s.Command = []string{"/etc/passwd"} }, "permission denied"},
		{"wrong checksum", "store", func(s *Spec) { s.SHA256 = strings.Repeat("00", 32) }, "not the one that was configured"},
		{"no checksum", "store", func(s *Spec) { s.SHA256 = "zz" }, "64 hex digits"},
		{"ends at once", "exit", nil, "ended before the handshake: exit status 7; its last words: cannot find my things"},
		{"hangs", "silent", quick, "said nothing within "},
		{"garbage", "garbage", nil, "where the handshake line is expected"},
		{"text", "say:Hello, I am a plugin", nil, `"Hello, I am a plugin"`},
		{"core version", "say:2|1|unix|/tmp/x|grpc", nil, "where the handshake line is expected"},
		{"protocol version", "say:1|3|unix|/tmp/x|grpc", nil, "speaks version 3 of the plugin protocol, and this gateway version 2: install a release of the gateway that speaks version 3, or an older one of the plugin"},
		{"protocol 1", "protocol-1", nil, "speaks version 1 of the plugin protocol, and this gateway version 2: install a release of the plugin that speaks version 2 (for its author: plugins/README.md, \"From protocol 1\")"},
		{"a version that is no number", "say:1|x|unix|/tmp/x|grpc", nil, "where the handshake line is expected"},
		{"no end of the line", "write:1|2|unix|$dir/x|grpc", func(s *Spec) { s.StartTimeout = 2 * time.Second }, "not the line feed that ends the handshake line"},
		{"net/rpc", "say:1|2|unix|/tmp/x", nil, "handshake failed"},
		{"a socket somewhere else", "say:1|2|unix|/tmp/x|grpc", nil, "outside of the folder"},
		{"TCP", "say:1|2|tcp|127.0.0.1:1|grpc", nil, "needs AutoMTLS"},
		{"TCP elsewhere", "say:1|2|tcp|192.0.2.1:1|grpc", func(s *Spec) { s.AutoMTLS = true }, "not a loopback one"},
		{"nobody listens", "say:1|2|unix|$dir/x|grpc", started, "does not answer on its socket"},
		{"no certificate", "say:1|2|tcp|127.0.0.1:1|grpc", func(s *Spec) { s.AutoMTLS = true; started(s) }, "does not answer on its socket"},
		{"settings take for ever", "store", func(s *Spec) {
			started(s)
			s.Settings.Raw = []byte(`{"slow":"1h"}`)
		}, "could not be configured"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			spec := specOf(t, test.role, fakeSettings{})
			spec.TempDir = shortTemp(t, "")
			if test.change != nil {
				test.change(&spec)
			}
			s, log := unstarted(t, spec)
			began := time.Now()
			err := s.Start(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Start: %v", err)
			}
			if took := time.Since(began); took > slowed*15*time.Second {
				t.Errorf("it took %v", took)
			}
			if strings.ContainsRune(log.String(), 0x1b) {
				t.Error("control characters are in the log")
			}
			status := s.Status()
			if status.Ready || status.LastError == nil {
				t.Errorf("%+v", status)
			}
			_, err = s.Login(t.Context(), ann)
			kindIs(t, err, backends.Temporary)
			if !errors.Is(err, ErrNotReady) {
				t.Error(err)
			}
		})
	}
}

func TestStartWrongSettings(t *testing.T) {
	s, _ := unstarted(t, specOf(t, "store", fakeSettings{Wrong: true}))
	err := s.Start(t.Context())
	var wrong *backends.SettingsError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 2 || wrong.Problems[0] != (backends.SettingsProblem{Path: "wrong", Problem: "it is set", Suggest: "leave it out"}) {
		t.Fatal(err)
	}
}

// TestStartKeepsTrying: the program comes to be after the first attempt.
func TestStartKeepsTrying(t *testing.T) {
	spec := specOf(t, "store", fakeSettings{})
	path := filepath.Join(t.TempDir(), "plugin")
	spec.Command = []string{path}
	s, _ := unstarted(t, spec)
	if err := s.Start(t.Context()); err == nil {
		t.Fatal("it started")
	}
	if err := os.Symlink(os.Args[0], path); err != nil {
		t.Fatal(err)
	}
	within(t, "it is ready", func() bool { return s.Status().Ready })
}

func TestStartGivenUp(t *testing.T) {
	s, _ := unstarted(t, specOf(t, "silent", fakeSettings{}))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := s.Start(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 5*time.Second {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	s, _ := start(t, specOf(t, "store", fakeSettings{}))
	pid := s.Status().PID
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the plugin lives")
	}
	_, err := s.Login(t.Context(), ann)
	kindIs(t, err, backends.Temporary)
	if err := s.Swap(t.Context(), specOf(t, "store", fakeSettings{})); err == nil {
		t.Error("it was swapped")
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("it was started")
	}
}

func TestBackOff(t *testing.T) {
	for _, test := range []struct {
		failures   int
		random     float64
		want, most time.Duration
	}{
		{0, 0.5, 0, 30 * time.Second},
		{1, 0, 100 * time.Millisecond, 30 * time.Second},
		{1, 1, 75 * time.Millisecond, 30 * time.Second},
		{2, 0, 200 * time.Millisecond, 30 * time.Second},
		{5, 0, 1600 * time.Millisecond, 30 * time.Second},
		{10, 0, 30 * time.Second, 30 * time.Second},
		{1 << 40, 0, 30 * time.Second, 30 * time.Second},
		{4, 0, 300 * time.Millisecond, 300 * time.Millisecond},
	} {
		if got := backOff(test.failures, test.most, test.random); got != test.want {
			t.Errorf("backOff(%d, %v, %v) = %v, want %v", test.failures, test.most, test.random, got, test.want)
		}
	}
}

func alive(pid int) bool {
	state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(state), ") Z ")
}

// halt stops a process, and waits until each of its threads stands still: the signal alone says
// only that they will.
func halt(t *testing.T, pid int) {
	t.Helper()
	if err := stopProcess(pid); err != nil {
		t.Fatal(err)
	}
	within(t, "the process stands still", func() bool {
		threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
		return !slices.ContainsFunc(threads, func(stat string) bool {
			state, err := os.ReadFile(stat) // an error: it has been killed meanwhile
			return err == nil && !strings.Contains(string(state), ") T ")
		})
	})
}
