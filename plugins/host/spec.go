package host

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// Spec says which plugin to run and how to watch it. The zero value of a bound or an interval
// stands for its default.
type Spec struct {
	// Store is the store's name, for logs.
	Store string
	// Command is the plugin's argv. Command[0] is a path, or a name that is looked up in PATH.
	Command []string
	// SHA256 is the checksum of the executable Command[0] in hex; empty: not compared. It
	// says nothing of what an interpreter is told to run.
	SHA256 string
	// Dir is the folder that the plugin runs in, which relative arguments are relative to; empty:
	// the gateway's own.
	Dir string
	// Env is added to the plugin's environment, "K=V". Of the gateway's own, which may hold
	// secrets, only names such as PATH, HOME, TMPDIR, LANG and TZ are passed on.
	Env []string
	// TempDir is where the folder of the plugin's socket is made; empty: the system's folder for
	// temporary files.
	TempDir string
	// Settings is what the plugin is configured with.
	Settings backends.Settings
	// AutoMTLS encrypts the connection, both ends proved by one-time certificates, and lets
	// the plugin listen on a loopback TCP port. It is always on where there are no private
	// unix sockets (Windows); elsewhere the socket's folder, mode 0700, is protection enough.
	AutoMTLS bool
	// Tested says that the plugin's author looks on: what else is mended in silence (a unique-id that
	// is none, say) breaks the rules, and the failures of calls that the plugin did not live to
	// answer quote its last words.
	Tested bool

	StartTimeout   time.Duration // from start to ready, the settings included; 20 s
	CallTimeout    time.Duration // of a call that moves no message, Open included; 45 s: clients wait a minute
	CloseTimeout   time.Duration // of a maildrop's end, for which a client waits; 10 s, or CallTimeout
	StallTimeout   time.Duration // without any progress of a list, a fetch, a delivery; 5 min
	ParkAfter      time.Duration // how long a maildrop rests, at the least, before its stream is given back; 4 s; negative: it never is
	SendIdle       time.Duration // how long a sending session keeps its login between two messages; 1 min
	HealthInterval time.Duration // between health checks; 5 s
	HealthTimeout  time.Duration // of one health check; 5 s
	HealthFailures int           // health checks in a row without an answer before the plugin is killed; 3
	RestartMost    time.Duration // longest pause between two starts; 30 s
	DrainTimeout   time.Duration // how long a process that was swapped out keeps its sessions; 15 min
	StopTimeout    time.Duration // how long a process has to end in good order before it is killed; 10 s

	// FetchWindow is how many octets of one content may be on their way or waiting to be read,
	// and so what one open content costs in memory at the most; 1 MiB.
	FetchWindow int
	// ListWindow is how many entries of one list may be; 4000.
	ListWindow int

	// Abandoned, when it is closed, has each process killed: what it serves is wanted by nobody any
	// more. It is for tests of plugins; nil: they end as they should.
	Abandoned <-chan struct{}
}

// Bounds of FetchWindow, and the usual window of a list in entries.
const (
	fetchWindowLeast = 64 << 10
	fetchWindowMost  = 64 << 20
	listWindow       = 4000
)

func (s Spec) withDefaults() Spec {
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&s.StartTimeout, 20 * time.Second},
		{&s.CallTimeout, 45 * time.Second},
		{&s.StallTimeout, 5 * time.Minute},
		{&s.SendIdle, time.Minute},
		{&s.HealthInterval, 5 * time.Second},
		{&s.HealthTimeout, 5 * time.Second},
		{&s.RestartMost, 30 * time.Second},
		{&s.DrainTimeout, 15 * time.Minute},
		{&s.StopTimeout, 10 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if s.ParkAfter == 0 {
		s.ParkAfter = 4 * time.Second
	}
	if s.CloseTimeout <= 0 {
		s.CloseTimeout = min(10*time.Second, s.CallTimeout)
	}
	if s.HealthFailures <= 0 {
		s.HealthFailures = 3
	}
	if s.ListWindow <= 0 {
		s.ListWindow = listWindow
	}
	if s.FetchWindow <= 0 {
		s.FetchWindow = 1 << 20
	}
	s.FetchWindow = max(fetchWindowLeast, min(s.FetchWindow, fetchWindowMost))
	if runtime.GOOS == "windows" {
		s.AutoMTLS = true
	}
	return s
}

var errNoCommand = errors.New("no command is given")

// inherited are the names of the gateway's environment that a plugin sees.
var inherited = []string{
	"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"GORACE", // of a program built with Go's race detector
	"SystemRoot", "SystemDrive", "windir", "TEMP", "TMP", "USERPROFILE", "PATHEXT", "ComSpec",
}

// environment is what the plugin starts with, before go-plugin adds the handshake's variables.
func environment(all, extra []string) []string {
	var env []string
	for _, kv := range all {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "LC_") {
			env = append(env, kv)
			continue
		}
		for _, want := range inherited {
			if name == want || (runtime.GOOS == "windows" && strings.EqualFold(name, want)) {
				env = append(env, kv)
			}
		}
	}
	return append(env, extra...)
}

func (s Spec) environment() []string { return environment(os.Environ(), s.Env) }
