//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
	"github.com/dipylon/dipylon/test/peers"
)

// lease is how long a dead node's locks last in these tests.
const lease = 3 * time.Second

// twoNodes are two gateways on one PostgreSQL, before the same store.
func twoNodes(t *testing.T, more ...harness.Mapping) (one, two *harness.Gateway, database *peers.Postgres) {
	t.Helper()
	database = peers.StartPostgres(t)
	url, mail := database.Database(t), filepath.Join(t.TempDir(), "mail")
	start := func() *harness.Gateway {
		store := harness.MaildirStore("mail", harness.Domain)
		store["settings"] = harness.Mapping{"root": mail}
		settings := harness.Mapping{"state": url, "state_folder": "own", "timeouts": harness.Mapping{"lease": lease.String()}}
		for _, m := range more {
			maps.Copy(settings, m)
		}
		return harness.Start(t, harness.Options{Stores: []harness.Mapping{store}, More: settings})
	}
	return start(), start(), database
}

// TestTwoNodes (I5): the lock on a mailbox holds over two gateways and is free at once when its
// session ends. One gateway is killed with -9: the other serves its users within the lease's
// time, and not before.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	one, two, _ := twoNodes(t)
	user := one.AddUserIn(t, storeRoot(one), "erika@"+harness.Domain)
	deliver(t, one, user, simple("one"), simple("two"))

	first := login(t, one, user)
	_, err := harness.LoginPOP3(two.Address("pop3s"), two.Authority.Client(), user.Address, user.Password)
	refusal(t, err, "-ERR [IN-USE]")
	if err := first.Quit(); err != nil {
		t.Error(err)
	}
	second := login(t, two, user) // at once
	second.Close()                // without a word
	third := await(t, one, user, lockGone)

	if err := third.Dele(1); err != nil {
		t.Error(err)
	}
	one.Signal(t, syscall.SIGKILL)
	one.WaitExit(t)
	died := time.Now()
	fourth := await(t, two, user, lease+5*time.Second*slack)
	t.Logf("the other node serves the user after %s", time.Since(died).Round(time.Millisecond))
	if n, _, err := fourth.Stat(); n != 2 || err != nil {
		t.Errorf("there are %d messages (%v), and nothing was removed", n, err)
	}
	if err := fourth.Quit(); err != nil {
		t.Error(err)
	}
	third.Close()
}

// storeRoot is the folder of a gateway's only store.
func storeRoot(g *harness.Gateway) string {
	return g.Store(0)["settings"].(harness.Mapping)["root"].(string)
}

// await logs in as soon as the mailbox is free.
func await(t *testing.T, g *harness.Gateway, user harness.User, most time.Duration) (p *harness.POP3) {
	t.Helper()
	harness.Eventually(t, most, "the end of a lock", func() bool {
		var err error
		if p, err = harness.LoginPOP3(g.Address("pop3s"), g.Authority.Client(), user.Address, user.Password); err != nil {
			if !strings.Contains(err.Error(), "[IN-USE]") {
				t.Fatal(err)
			}
		}
		return err == nil
	})
	return p
}

// TestGuessersMeetBothNodes: wrong passwords at one gateway delay at the other, too.
func TestGuessersMeetBothNodes(t *testing.T) {
	t.Parallel()
	one, two, _ := twoNodes(t)
	user := one.AddUserIn(t, storeRoot(one), "erika@"+harness.Domain)
	var guessing sync.WaitGroup
	for range 8 {
		guessing.Go(func() {
			_, err := harness.LoginPOP3(one.Address("pop3s"), one.Authority.Client(), user.Address, "a guess")
			refusal(t, err, "-ERR [AUTH]")
		})
	}
	guessing.Wait()
	tries := 0
	harness.Eventually(t, 10*time.Second*slack, "a delay at the other gateway", func() bool {
		// Each time somebody else of the same network: who has once got in is known there.
		tries++
		other := two.AddUserIn(t, storeRoot(two), fmt.Sprintf("other%d@%s", tries, harness.Domain))
		place := two.Log.Len()
		p := login(t, two, other)
		p.Quit()
		waited, ok := two.Log.Wait(t, place, `"message":"login"`, `"outcome":"accepted"`).Fields["waited_ms"].(float64)
		return ok && waited > 0
	})
}

// TestDatabaseDies: while the nodes' database is away nobody can log in, and is told to come
// again; who was there reads on, and removes nothing. When it is back, so is everything.
func TestDatabaseDies(t *testing.T) {
	t.Parallel()
	one, _, database := twoNodes(t)
	user := one.AddUserIn(t, storeRoot(one), "erika@"+harness.Domain)
	deliver(t, one, user, simple("one"))
	reading := login(t, one, user)
	if err := reading.Dele(1); err != nil {
		t.Error(err)
	}
	database.Stop()
	if n, _, err := reading.Stat(); n != 0 || err != nil {
		t.Errorf("a session that was there: %d messages (%v)", n, err)
	}
	refusal(t, reading.Quit(), "-ERR [SYS/TEMP]")
	_, err := harness.LoginPOP3(one.Address("pop3s"), one.Authority.Client(), user.Address, user.Password)
	refusal(t, err, "-ERR [SYS/TEMP]")
	if err := database.Start(); err != nil {
		t.Fatal(err)
	}
	p := await(t, one, user, lease+5*time.Second*slack)
	if n, _, err := p.Stat(); n != 1 || err != nil {
		t.Errorf("there are %d messages (%v), wanted the one that could not be removed", n, err)
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
}
