//go:build linux

package peers

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Postgres is a PostgreSQL server with a cluster of its own, on a unix socket alone. It syncs
// as a server does that is taken seriously.
type Postgres struct {
	Dir string

	bin      string
	data     string
	settings []string
	alone    bool // in namespaces of its own
	process  *exec.Cmd
	count    atomic.Int64
}

// StartPostgres starts one and waits until it answers. It is ended with the test.
func StartPostgres(t testing.TB) *Postgres {
	t.Helper()
	p, err := newPostgres()
	return endedWith(t, p, err)
}

// StartPostgresIn is StartPostgres with its data below a folder of the caller's, and with settings like "fsync=off".
// The segments of its log are small: many of them come and go in a short time. Its shared memory goes with its processes,
// whatever ends them. It needs root.
func StartPostgresIn(t testing.TB, folder string, settings ...string) *Postgres {
	t.Helper()
	p, err := newPostgresIn(folder, settings, "--wal-segsize=1")
	return endedWith(t, p, err)
}

// endedWith has a server that was started end with its test.
func endedWith(t testing.TB, p *Postgres, err error) *Postgres {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(p.log())
			t.Logf("PostgreSQL's log:\n%s", log)
		}
		p.remove()
	})
	return p
}

// shared are the servers of a package's tests: that of the benchmarks syncs.
var shared struct {
	sync.Mutex
	tests, benchmarks *Postgres
}

// SharedPostgres is one for all tests of a package, as starting one takes two seconds. The package's TestMain ends it with
// [EndPostgres]. It does not sync unless a benchmark asks for it: it lives as long as the tests do, and to make the schema, which
// each test does, takes a tenth of the time. Who ends a server, or measures it, has one of its own ([StartPostgres]).
func SharedPostgres(t testing.TB) *Postgres {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	server, settings := &shared.tests, []string{"fsync=off", "full_page_writes=off"}
	if _, measures := t.(*testing.B); measures {
		server, settings = &shared.benchmarks, nil
	}
	if *server == nil {
		p, err := newPostgresIn("", settings)
		if err != nil {
			t.Fatal(err)
		}
		*server = p
	}
	return *server
}

// EndPostgres ends the servers that tests and benchmarks have shared.
func EndPostgres() {
	shared.Lock()
	defer shared.Unlock()
	for _, server := range []**Postgres{&shared.tests, &shared.benchmarks} {
		if *server != nil {
			(*server).remove()
			*server = nil
		}
	}
}

func newPostgres() (*Postgres, error) { return newPostgresIn("", nil) }

// newPostgresIn makes one. Its data are in a folder of its own if none is named.
func newPostgresIn(folder string, settings []string, initdb ...string) (*Postgres, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errors.New("there is no PostgreSQL server (is the package postgresql installed?)")
	}
	slices.Sort(found)
	// A socket's path has little room, and a test's folder a long name.
	dir, err := os.MkdirTemp("", "postgres")
	if err != nil {
		return nil, err
	}
	p := &Postgres{Dir: dir, bin: filepath.Dir(found[len(found)-1]), settings: settings, alone: folder != ""}
	p.data = filepath.Join(cmp.Or(folder, dir), "data")
	if err := p.initialize(initdb); err != nil {
		p.remove()
		return nil, err
	}
	if err := p.Start(); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

func (p *Postgres) initialize(more []string) error {
	uid, gid, err := notRoot()
	if err != nil {
		return err
	}
	if err := os.Chown(p.Dir, uid, gid); err != nil {
		return err
	}
	args := append([]string{"-D", p.data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"}, more...)
	command := p.command("initdb", args...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (p *Postgres) log() string { return filepath.Join(p.Dir, "log") }

// notRoot is who runs it: it refuses to run as root.
func notRoot() (uid, gid int, err error) {
	if os.Geteuid() != 0 {
		return os.Geteuid(), os.Getegid(), nil
	}
	return 65534, 65534, nil // nobody
}

func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(p.bin, name), args...)
	command.Dir = p.Dir
	command.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if uid, gid, err := notRoot(); err == nil && os.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return command
}

// Start starts it again after Stop or Kill, with the same databases.
func (p *Postgres) Start() error {
	args := []string{"-D", p.data, "-k", p.Dir, "-h", "", "-c", "max_connections=200", "-c", "shared_buffers=32MB"}
	for _, setting := range p.settings {
		args = append(args, "-c", setting)
	}
	p.process = p.command("postgres", args...)
	if p.alone {
		p.isolate(p.process)
	}
	// A file, as a pipe would need a goroutine of ours for as long as the server runs.
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.process.Stdout, p.process.Stderr = log, log
	if err := p.process.Start(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("PostgreSQL does not answer: %w", err)
	}
	return nil
}

// isolate has a server's shared memory, by either interface, be in namespaces of its own.
func (p *Postgres) isolate(server *exec.Cmd) {
	who := server.SysProcAttr.Credential
	server.SysProcAttr.Credential = nil // it takes root to mount
	server.Args = append([]string{
		"unshare", "--mount", "--ipc", "sh", "-ec", `mount -t tmpfs shm /dev/shm; exec setpriv "$@"`, "sh",
		fmt.Sprint("--reuid=", who.Uid), fmt.Sprint("--regid=", who.Gid), "--clear-groups", "--pdeathsig=QUIT", server.Path,
	}, server.Args[1:]...)
	server.Path = "/usr/bin/unshare"
}

// Program is the file of a program of the server's version, such as pg_dump.
func (p *Postgres) Program(name string) string { return filepath.Join(p.bin, name) }

// Data is the folder of its data.
func (p *Postgres) Data() string { return p.data }

// PID is the process whose children serve the sessions.
func (p *Postgres) PID() int { return p.process.Process.Pid }

// Stop ends it, sessions and all.
func (p *Postgres) Stop() { p.end(syscall.SIGINT) }

// Kill ends it as a crash of the machine's does, but for what the system still has to write.
func (p *Postgres) Kill() { p.end(syscall.SIGQUIT) }

func (p *Postgres) end(signal syscall.Signal) {
	if p.process == nil {
		return
	}
	_ = p.process.Process.Signal(signal)
	_ = p.process.Wait()
	p.process = nil
}

func (p *Postgres) remove() {
	p.Stop()
	_ = os.RemoveAll(p.Dir)
}

func (p *Postgres) url(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: url.Values{"host": {p.Dir}, "user": {"postgres"}}.Encode()}
	return u.String()
}

// Database makes a new, empty schema, which is as good as a database to who has its URL, and takes
// a thousandth of the time.
func (p *Postgres) Database(t testing.TB) string {
	t.Helper()
	return p.url("postgres") + "&search_path=" + p.create(t, "SCHEMA")
}

// OwnDatabase makes a new, empty database, in which no other test's transactions are.
func (p *Postgres) OwnDatabase(t testing.TB) string {
	t.Helper()
	return p.url(p.create(t, "DATABASE"))
}

// create makes something that has a name of its own.
func (p *Postgres) create(t testing.TB, what string) (name string) {
	t.Helper()
	db, err := sql.Open("pgx", p.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name = "test" + strconv.FormatInt(p.count.Add(1), 10)
	if _, err := db.Exec("CREATE " + what + " " + name); err != nil {
		t.Fatal(err)
	}
	return name
}
