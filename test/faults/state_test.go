//go:build linux

package faults

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	_ "modernc.org/sqlite"

	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/harness"
)

func TestMain(m *testing.M) {
	switch os.Getenv("FAULTS_TEST") {
	case "writer":
		fmt.Println(keepNumbers(os.Args[1]))
		return
	case "clock":
		fmt.Fprintln(os.Stderr, tellTime())
		return
	}
	os.Exit(harness.Main(m))
}

// tellTime tells the time as often as it is asked, and how long it has run.
func tellTime() error {
	begin := time.Now()
	for {
		if _, err := fmt.Scanln(); err != nil {
			return err
		}
		now := time.Now()
		if _, err := fmt.Println(now.Unix(), now.Sub(begin).Milliseconds()); err != nil {
			return err
		}
	}
}

// keepNumbers writes the numbers that come in into a state database, each in a transaction, and says each once
// it is there. It ends without a word to the database, as a process does that is killed.
func keepNumbers(folder string) error {
	ctx := context.Background()
	db, err := state.Open(ctx, state.Options{Log: zerolog.Nop(), Folder: folder, Alone: true})
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		err = db.Write(ctx, func(tx *state.Tx) error {
			if _, err := tx.Exec("CREATE TABLE IF NOT EXISTS kept (n INTEGER, filling TEXT)"); err != nil {
				return err
			}
			_, err := tx.Exec("INSERT INTO kept VALUES ($1, $2)", n, strings.Repeat("x", 20_000))
			return err
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
	return nil
}

func writer(t *testing.T, folder string) *program {
	t.Helper()
	return launch(t, []string{"FAULTS_TEST=writer"}, os.Args[0], folder)
}

// TestStartAfterAFailedSync: what a failed sync has not written is clean for the kernel, so a process that
// starts then reads it, and what it writes behind it is lost with it when the power is cut, unless the start
// brings it all to the disk. Whether somebody else has the file open makes no difference.
func TestStartAfterAFailedSync(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(t *testing.T, file string) (close func())
	}{
		{"alone", func(*testing.T, string) func() { return func() {} }},
		{"beside another process", openBeside},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range 2 {
				startAfterAFailedSync(t, seed, test.open)
			}
		})
	}
}

func startAfterAFailedSync(t *testing.T, seed int, open func(*testing.T, string) func()) {
	at := t.TempDir()
	folder := filepath.Join(at, "state")
	layer := launch(t, nil, harness.Helper(t, "./test/faults/powercut"), "--backing", t.TempDir(), "--mount", at, "--seed", fmt.Sprint(seed))
	layer.ask(t, "settle") // it is mounted now
	p, next := writer(t, folder), 0
	write := func(most int) {
		t.Helper()
		for range most {
			p.tell(t, fmt.Sprint(next))
			if said := p.line(t); said != fmt.Sprint(next) {
				t.Fatalf("%d: %s", next, said)
			}
			next++
		}
	}
	write(5)
	layer.ask(t, "fail sync 1")
	p.tell(t, "1000")
	if said := p.line(t); said == "1000" {
		t.Fatal("a transaction is acknowledged although its sync has failed")
	}
	layer.ask(t, "fail sync 0")
	p.end(t)
	closeBeside := open(t, filepath.Join(folder, state.FileName))

	p = writer(t, folder)
	write(5)
	layer.ask(t, "freeze")
	closeBeside()
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	p.end(t)
	layer.ask(t, "cut")
	if got := countNumbers(t, folder); got < next {
		t.Errorf("seed %d: %d of %d are there", seed, got, next)
	}
}

// TestFolderIsSynced: a folder that is made has its name on the disk, or is not there.
func TestFolderIsSynced(t *testing.T) {
	at := t.TempDir()
	layer := launch(t, nil, harness.Helper(t, "./test/faults/powercut"), "--backing", t.TempDir(), "--mount", at, "--seed", "1")
	layer.ask(t, "settle") // it is mounted now
	folder := filepath.Join(at, "a", "b")
	layer.ask(t, "fail sync 1")
	if err := state.MakeFolder(folder); !errors.Is(err, syscall.EIO) {
		t.Errorf("the name cannot be synced: %v", err)
	}
	layer.ask(t, "fail sync 0")
	if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
	if err := state.MakeFolder(folder); err != nil {
		t.Error(err)
	}
	layer.ask(t, "fail sync 1")
	if err := state.MakeFolder(folder); err != nil {
		t.Errorf("it is there already: %v", err)
	}
}

// openBeside opens a database as a command does that reads it.
func openBeside(t *testing.T, file string) (close func()) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err == nil {
		err = db.QueryRow("SELECT count(*) FROM kept").Scan(new(int))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = db.Close() } // the disk is gone by then
}

// countNumbers says how many numbers are there that were acknowledged.
func countNumbers(t *testing.T, folder string) (n int) {
	t.Helper()
	db, err := state.Open(t.Context(), state.Options{Log: zerolog.Nop(), Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow(t.Context(), "SELECT count(*) FROM kept WHERE n < 1000").Scan(&n); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	return n
}
