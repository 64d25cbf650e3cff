//go:build linux

package peers

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// PoolSize is how many connections to the server a [PgBouncer] has at the most for a database.
const PoolSize = 6

// PgBouncer is a connection pooler in front of a PostgreSQL server, on a unix socket alone.
type PgBouncer struct{ dir string }

// StartPgBouncer starts one, in a mode of its (session, transaction), with further settings like "server_round_robin = 1", and waits
// until it answers. It is ended with the test.
func StartPgBouncer(t testing.TB, server *Postgres, mode string, settings ...string) *PgBouncer {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgbouncer") // a socket's path has little room
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &PgBouncer{dir: dir}
	config := fmt.Sprintf(`[databases]
* = host=%s user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = %s
auth_type = any
pool_mode = %s
default_pool_size = %d
`, server.Dir, dir, mode, PoolSize)
	for _, setting := range settings {
		config += setting + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "ini"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t)
	return p
}

// run starts the process. It refuses to run as root.
func (p *PgBouncer) run(t testing.TB) {
	t.Helper()
	uid, gid, err := notRoot()
	if err == nil {
		err = os.Chown(p.dir, uid, gid)
	}
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(p.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	process := exec.Command("/usr/sbin/pgbouncer", filepath.Join(p.dir, "ini"))
	process.Dir, process.Stdout, process.Stderr = p.dir, log, log
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		process.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if err := process.Start(); err != nil {
		t.Fatalf("is the package pgbouncer installed? %v", err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("PgBouncer's log:\n%s", said)
		}
	})
	db, err := sql.Open("pgx", p.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("PgBouncer does not answer: %v", err)
		}
	}
}

// URL leads to a database of the server's. The name of a database that [Postgres.OwnDatabase] has made is its URL's path.
func (p *PgBouncer) URL(database string) string {
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: url.Values{"host": {p.dir}, "port": {"6432"}, "user": {"postgres"}}.Encode()}
	return u.String()
}

// Before is the URL of a database by way of the pooler.
func (p *PgBouncer) Before(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	return p.URL(u.Path[1:])
}
