//go:build linux

package e2e

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/gateway/queue"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/fakesmtp"
	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// unkind is a next hop that takes nothing until it is good, each recipient in a way of its own.
func unkind(t *testing.T, good *atomic.Bool) *fakesmtp.Server {
	t.Helper()
	return (&fakesmtp.Server{
		Rcpt: func(_ fakesmtp.Transaction, path string) string {
			if !good.Load() && (strings.Contains(path, "small") || strings.Contains(path, "large")) {
				return "451 4.3.0 later"
			}
			return ""
		},
		End: func(_ fakesmtp.Transaction, path string) string {
			switch {
			case good.Load():
				return ""
			case strings.Contains(path, "flight"):
				return fakesmtp.Silent
			}
			return fakesmtp.Close
		},
	}).Start(t)
}

// TestStateMove: a SQLite state is moved to PostgreSQL with mail of each kind in transit, and back. Each time the command
// is killed in the middle and run again, and each message arrives once.
func TestStateMove(t *testing.T) {
	t.Parallel()
	var good atomic.Bool
	hop, silent := unkind(t, &good), unkind(t, &good)
	smtp := func(name, domain string, to *fakesmtp.Server) harness.Mapping {
		return harness.Mapping{"name": name, "domains": []string{domain}, "to": "smtp", "tls": "clear", "hosts": []string{to.Address}}
	}
	g := harness.Start(t, harness.Options{More: harness.Mapping{
		"timeouts": harness.Mapping{"drain": "1s"},
		"routes": []harness.Mapping{
			{"name": "keep", "domains": []string{"kept.example"}, "to": "hold"},
			smtp("silent", "silent.example", silent), smtp("hop", "*", hop),
		},
	}})
	user := g.AddUser(t, "erika")
	to := []string{"large@far.example", "held@kept.example", "uncertain@far.example"}
	for n := range 20 {
		to = append(to, fmt.Sprintf("small%d@far.example", n))
	}
	submitEach(t, g, user, to...)
	inQueue(t, g, "map[held:1 uncertain:1 waiting:21]")
	submitEach(t, g, user, "flight@silent.example")
	inQueue(t, g, "map[held:1 in-flight:1 uncertain:1 waiting:21]")
	g.Signal(t, syscall.SIGKILL)
	_ = g.WaitExit(t) // as it was killed

	database := peers.StartPostgres(t).Database(t)
	// It has copied all rows then, and begins with the large content.
	moveState(t, g, "state", database, database, "INSERT ON spool_chunks")
	// It has copied everything then, and is about to leave the database.
	moveState(t, g, database, "back", database, "UPDATE ON state_moves")

	good.Store(true)
	hop.Forget() // it has said nothing of what it has taken
	usingState(t, g, "back")
	g.Run(t)
	queueCommand(t, g, "reroute", "--recipient", "held@kept.example", "--to", "route:hop")
	queueCommand(t, g, "release", "--all")
	queueCommand(t, g, "retry", "--all")
	arriveOnce(t, append(to, "flight@silent.example"), hop, silent)
	inQueue(t, g, "map[]")
}

// command runs a command of the binary in a gateway's folder.
func command(g *harness.Gateway, args ...string) (out string, status int) {
	cmd := g.Command(args...)
	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return fmt.Sprint(err), -1
	}
	return string(text), cmd.ProcessState.ExitCode()
}

func queueCommand(t *testing.T, g *harness.Gateway, args ...string) (out string) {
	t.Helper()
	out, status := command(g, append([]string{"queue", "--config", g.ConfigFile}, args...)...)
	if status != 0 {
		t.Fatalf("queue %q, with status %d: %s", args, status, out)
	}
	return out
}

// usingState has a gateway's configuration name a state.
func usingState(t *testing.T, g *harness.Gateway, name string) (file string) {
	t.Helper()
	g.Configure(t, func(o *harness.Options) { o.More["state"] = name })
	return g.ConfigFile
}

// bodyFor is what the body of a message to somebody is: a large one is no content for a row.
func bodyFor(to string) string {
	if strings.HasPrefix(to, "large") {
		return strings.Repeat("a line of a large message to "+to+"\r\n", 8000)
	}
	return "a small message to " + to + "\r\n"
}

// submitEach sends each recipient a message.
func submitEach(t *testing.T, g *harness.Gateway, from harness.User, all ...string) {
	t.Helper()
	s, err := harness.DialSMTP(g.Address("submissions"), g.Authority.Client())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Auth(from.Address, from.Password); err != nil {
		t.Fatal(err)
	}
	for _, to := range all {
		content := "From: " + from.Address + "\r\nSubject: " + to + "\r\n\r\n" + bodyFor(to)
		if _, err := s.Send(harness.Envelope{From: from.Address, To: []string{to}}, strings.NewReader(content)); err != nil {
			t.Fatalf("%s: %v", to, err)
		}
	}
}

// inQueue waits until the queue has so many recipients in each state.
func inQueue(t *testing.T, g *harness.Gateway, want string) {
	t.Helper()
	got := ""
	defer func() {
		if t.Failed() {
			t.Logf("the queue has %s", got)
		}
	}()
	harness.Eventually(t, time.Minute, "the queue has "+want, func() bool {
		states := map[string]int{}
		for line := range strings.Lines(queueCommand(t, g, "list", "--json")) {
			var m queue.Message
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			for _, r := range m.Recipients {
				states[r.State]++
			}
		}
		got = fmt.Sprint(states)
		return got == want
	})
}

// moveState moves a gateway's state. The command is killed before a change in the one of the two that is in PostgreSQL,
// and run again.
func moveState(t *testing.T, g *harness.Gateway, from, to, database, before string) {
	t.Helper()
	usingState(t, g, from)
	killMove(t, g, to, database, before)
	if out, status := command(g, "serve", "--config", usingState(t, g, to)); status != 65 || !strings.Contains(out, "is not complete") {
		t.Errorf("on half of it a gateway says, with status %d: %s", status, out)
	}
	usingState(t, g, from)
	if out, status := command(g, "state", "move", "--config", g.ConfigFile, "--to", to); status != 0 || !strings.Contains(out, "moved: ") {
		t.Fatalf("the move, with status %d: %s", status, out)
	}
	if out, status := command(g, "serve", "--config", g.ConfigFile); status != 65 || !strings.Contains(out, "has been moved into ") {
		t.Errorf("on the old state a gateway says, with status %d: %s", status, out)
	}
}

// killMove begins to move a gateway's state, and kills the command when it is about to change something in PostgreSQL.
func killMove(t *testing.T, g *harness.Gateway, to, database, before string) {
	t.Helper()
	made, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), URL: database})
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("pgx", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // its lock is the session's
	do := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE OR REPLACE FUNCTION stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END'")
	do("CREATE TRIGGER stay BEFORE " + before + " FOR EACH ROW EXECUTE FUNCTION stay()")
	do("SELECT pg_advisory_lock(7)")
	move := g.Command("state", "move", "--config", g.ConfigFile, "--to", to)
	var out bytes.Buffer
	move.Stdout, move.Stderr = &out, &out
	if err := move.Start(); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, time.Minute, "the move has come to "+before, func() (waits bool) {
		err := db.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted)").Scan(&waits)
		if err != nil {
			t.Error(err)
		}
		return waits || err != nil
	})
	if err := move.Process.Kill(); err != nil {
		t.Errorf("%v: %s", err, out.String())
	}
	_ = move.Wait() // as it was killed
	do("SELECT pg_advisory_unlock(7)")
	do("DROP TRIGGER stay ON " + before[strings.LastIndexByte(before, ' '):])
}

// arriveOnce waits until each recipient has its message, whole, and finds a second copy.
func arriveOnce(t *testing.T, all []string, hops ...*fakesmtp.Server) {
	t.Helper()
	copies := map[string]int{}
	harness.Eventually(t, time.Minute, "all messages at the next hops", func() bool {
		clear(copies)
		for _, hop := range hops {
			for _, m := range hop.Received() {
				for _, path := range m.Paths {
					to := strings.Trim(path, "<>")
					copies[to]++
					if _, body, _ := strings.Cut(m.Content, "\r\n\r\n"); body != bodyFor(to) {
						t.Errorf("the body to %s has %d octets", to, len(body))
					}
				}
			}
		}
		return t.Failed() || len(copies) == len(all)
	})
	for to, n := range copies {
		if n != 1 {
			t.Errorf("%s has %d copies", to, n)
		}
	}
}
