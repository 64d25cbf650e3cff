//go:build linux

package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dipylon/dipylon/backends/mail/buffer"
	"github.com/dipylon/dipylon/gateway/state"
	"github.com/dipylon/dipylon/test/databases"
)

// childMark as the first argument makes the test binary a process that takes messages in.
const childMark = "accept-for-a-test"

// child takes messages in from several goroutines, small ones and large ones, and hands some of them out.
// It prints the key of each that was acknowledged ("+"), was not ("-") or of which nobody knows ("?"), and of
// each that it is about to say was delivered ("="), until it is killed or, where its disk fails, has seen enough failures.
func child(where, folder string) {
	o := state.Options{Log: zerolog.Nop(), Folder: where}
	if strings.HasPrefix(where, "postgres:") {
		o = state.Options{Log: zerolog.Nop(), URL: where}
	}
	fail := func(err error) {
		fmt.Println("!", err)
		os.Exit(1)
	}
	db, err := state.Open(context.Background(), o)
	if err != nil {
		fail(err)
	}
	s, err := Open(context.Background(), Options{Log: zerolog.Nop(), DB: db, Folder: folder, InRow: 8 << 10, Reserve: 1, Lease: 2 * time.Second, Partition: 500 * time.Millisecond})
	if err != nil {
		fail(err)
	}
	go childDelivers(s)
	var working sync.WaitGroup
	for range 8 {
		working.Go(func() { childAccepts(s) })
	}
	working.Wait()
	fmt.Println("end", s.Close() == nil && db.Close() == nil)
}

// childAccepts takes in what reads as its key, again and again.
func childAccepts(s *Spool) {
	for failed := 0; failed < 20; {
		key := fmt.Sprint(rand.Uint64())
		size := 100
		if rand.N(4) == 0 {
			size = 20_000
		}
		sign := "+"
		body, err := buffer.Fill(buffer.Options{Storage: s.Storage(), MemoryMost: 8 << 10}, strings.NewReader(key+strings.Repeat("x", size)))
		if err == nil {
			err = s.Accept(context.Background(), to(key, "a@x.example", "b@y.example"), body)
			_ = body.Discard()
		}
		if err != nil {
			failed++
			sign = "-"
		}
		if errors.Is(err, state.ErrUnsynced) {
			sign = "?"
		}
		fmt.Println(sign, key)
	}
}

// childDelivers delivers half of what is ready.
func childDelivers(s *Spool) {
	for {
		name, err := s.Ready(context.Background())
		if err != nil {
			return
		}
		deliveries, _ := s.Claim(context.Background(), name, 4)
		for i, d := range deliveries {
			if i%2 == 0 {
				fmt.Println("=", d.Key)
				_ = s.Settle(context.Background(), all(d, Outcome{State: Delivered, At: time.Now()}))
			}
		}
		s.Done(name, time.Time{})
	}
}

// story is what children have printed: keys by sign.
type story map[string]map[string]bool

func (s story) add(line string) {
	sign, key, is := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !is || !strings.HasSuffix(line, "\n") {
		return
	}
	if s[sign] == nil {
		s[sign] = make(map[string]bool)
	}
	s[sign][key] = true
}

// judge compares what was told with what is in the spool: all that was acknowledged is there as a whole,
// but for what was, or may have been, delivered.
func (s story) judge(t *testing.T, spool *Spool) {
	t.Helper()
	<-spool.swept
	there := make(map[string]int)
	for last := ID(0); ; {
		page, err := spool.List(t.Context(), Filter{}, last, 500)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			last = m.ID
			there[m.Key] = len(m.Recipients)
			if m.Odd != "" || m.Recipients[0].State == InFlight || m.Recipients[1].State == InFlight {
				t.Errorf("%s: %+v", m.Key, m)
			}
			if text := string(read(t, m)); strings.TrimRight(text, "x") != m.Key {
				t.Errorf("%s reads %.30s", m.Key, text)
			}
		}
		if len(page) == 0 {
			break
		}
	}
	for key := range s["+"] {
		if there[key] != 2 && !s["="][key] {
			t.Errorf("%s was acknowledged, and is lost", key)
		}
	}
	for key := range s["-"] {
		if there[key] > 0 {
			t.Errorf("%s was told as failed, and is there", key)
		}
	}
	t.Logf("%d were acknowledged, %d failed, %d are there", len(s["+"]), len(s["-"]), len(there))
}

func read(t *testing.T, m *Stored) []byte {
	t.Helper()
	opened, err := m.Open(t.Context())
	if err != nil {
		t.Error(err)
		return nil
	}
	defer opened.Close()
	text := make([]byte, m.Size)
	if _, err := opened.Read(text[:min(64, len(text))]); err != nil {
		t.Error(err)
	}
	return text[:min(64, len(text))]
}

// TestKilled (I1): kill -9 in the middle of taking in, handing out and settling, again and again: all that
// was acknowledged is there, and no file is there without its message.
func TestKilled(t *testing.T) {
	databases.Each(t, func(t *testing.T, o state.Options) {
		where, folder := o.Folder+o.URL, t.TempDir()
		told := story{}
		for round := range 3 {
			cmd := exec.Command(os.Args[0], childMark, where, folder)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			for n := 0; ; n++ {
				line, err := lines.ReadString('\n')
				told.add(line)
				if n == 100*(round+1) {
					_ = cmd.Process.Kill()
				}
				if err != nil {
					break
				}
			}
			_ = cmd.Wait()
		}
		if len(told["+"]) < 100 || len(told["="]) == 0 || len(told["!"]) > 0 {
			t.Fatalf("%d were acknowledged, %d delivered: %v", len(told["+"]), len(told["="]), told["!"])
		}
		s := start(t, o, func(o *Options) { o.Folder, o.Lease = folder, 3*time.Second })
		for deadline := time.Now().Add(2 * time.Minute); len(s.leases.mine()) < shards; {
			if time.Now().After(deadline) {
				t.Fatal("the dead node's shards are not taken")
			}
			time.Sleep(20 * time.Millisecond)
		}
		told.judge(t, s)
		large := 0
		if err := s.db.QueryRow(t.Context(), "SELECT count(*) FROM spool_messages WHERE place = 1").Scan(&large); err != nil {
			t.Fatal(err)
		}
		if n := len(filesOf(t, s)); !s.db.Shared() && n != large {
			t.Errorf("there are %d files of %d messages", n, large)
		}
	})
}

// faulty runs a child to its end under a wrapper that makes its disk fail.
func faulty(t *testing.T, wrapper []string, folder string) story {
	t.Helper()
	argv := append(wrapper, os.Args[0], childMark, folder, filepath.Join(folder, "spool"))
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	told := story{}
	for line := range strings.Lines(string(out)) {
		told.add(line)
	}
	if err != nil || len(told["+"]) == 0 || len(told["-"]) == 0 {
		t.Fatalf("%v: %.2000s", err, out)
	}
	return told
}

// TestFullDisk (I1): what the disk has no room for is not acknowledged, and what was acknowledged is there.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// The disk is a small file system that the child alone sees; what it held is copied out.
	mount := `mount -t tmpfs -o size=3m,mode=700 none "$0" && "$@" && mkdir "$0.copy" && cp -r "$0"/* "$0.copy"`
	told := faulty(t, []string{"unshare", "-rm", "sh", "-c", mount, folder}, folder)
	s := start(t, state.Options{Log: zerolog.Nop(), Folder: folder + ".copy"}, func(o *Options) { o.Folder = filepath.Join(folder+".copy", "spool") })
	told.judge(t, s)
}

// TestSyncFails (I1): fdatasync and fsync give EIO from some moment on. What was acknowledged is there, and nothing
// is acknowledged once the database's sync has failed.
func TestSyncFails(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	told := faulty(t, []string{
		"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync",
		"-e", "inject=fsync,fdatasync:error=EIO:when=60+",
	}, folder)
	told.judge(t, start(t, state.Options{Log: zerolog.Nop(), Folder: folder}, func(o *Options) { o.Folder = filepath.Join(folder, "spool") }))
}
