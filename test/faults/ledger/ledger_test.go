//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/test/harness"
)

// TestMain has the test's binary be the program, in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv("LEDGER_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// start starts the program. Its input ends with the test.
func start(t *testing.T, args ...string) (cmd *exec.Cmd, in io.Writer, out *bufio.Reader) {
	t.Helper()
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "LEDGER_PROGRAM=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	return cmd, stdin, bufio.NewReader(stdout)
}

// judged is what the program says of files.
func judged(t *testing.T, args ...string) *Verdict {
	t.Helper()
	v, err := judge(t.Context(), args)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSenderAndSink has the sender send to the sink, whose habits change: nothing is lost, and what was taken
// without a word is there twice and explained. Without the sink's record everything is lost.
func TestSenderAndSink(t *testing.T) {
	dir := t.TempDir()
	sent, took := filepath.Join(dir, "sent"), filepath.Join(dir, "took")
	_, habits, out := start(t, "sink", "--record", took)
	address, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	sender, _, _ := start(t, "send", "--to", strings.TrimSpace(address), "--record", sent, "--from", "erika@near.example",
		"--near", "max@near.example", "--near", "zoe@near.example", "--far", "far.example", "--pause", "2ms")
	for _, habit := range []string{good, closes, nonsense, refuse, silent, good} {
		lines := count(sent)
		fmt.Fprintln(habits, habit)
		if habit != silent {
			harness.Eventually(t, time.Minute, "attempts", func() bool { return count(sent) > lines+4 })
		}
	}
	_ = sender.Process.Signal(syscall.SIGTERM)
	_ = sender.Wait()
	v := judged(t, "--sent", sent, "--sink", took)
	if v.Messages == 0 || v.Recipients < v.Messages || v.Delivered != v.Recipients || len(v.Lost) > 0 || v.Refused == 0 || v.Unknown == 0 {
		t.Errorf("the verdict is %+v", v)
	}
	if v.Duplicates[askedAgain] == 0 || len(v.Duplicates) != 1 {
		t.Errorf("duplicates: %v", v.Duplicates)
	}
	if w := judged(t, "--sent", sent); len(w.Lost) != v.Recipients {
		t.Errorf("without the sink %d of %d are lost", len(w.Lost), v.Recipients)
	}
}

func count(path string) int {
	all, _ := os.ReadFile(path) // it may not be there yet
	return bytes.Count(all, []byte("\n"))
}

// TestSinkThatIsAway: connections to a sink that is away are refused, one that hangs says nothing and closes when it has another
// habit, and each is at its address again then.
func TestSinkThatIsAway(t *testing.T) {
	_, habits, out := start(t, "sink", "--record", filepath.Join(t.TempDir(), "took"))
	address, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address = strings.TrimSpace(address)
	greeting := func() (string, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return bufio.NewReader(conn).ReadString('\n')
	}
	fmt.Fprintln(habits, away)
	harness.Eventually(t, time.Minute, "connections are refused", func() bool {
		_, err := greeting()
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	fmt.Fprintln(habits, hangs)
	var hung net.Conn
	harness.Eventually(t, time.Minute, "connections are taken", func() bool {
		hung, err = net.Dial("tcp", address)
		return err == nil
	})
	defer hung.Close()
	if err := hung.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := hung.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one that hangs said %d octets: %v", n, err)
	}
	fmt.Fprintln(habits, good)
	if err := hung.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := hung.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one that no longer hangs said %d octets: %v", n, err)
	}
	if line, err := greeting(); err != nil || !strings.HasPrefix(line, "220 ") {
		t.Errorf("one that is back said %q: %v", line, err)
	}
}

// TestJudge plants each kind of thing that can become of a copy.
func TestJudge(t *testing.T) {
	begin := time.Now().Add(-time.Minute)
	message := func(id string) []byte { return compose(id, "erika@near.example", []string{"a@near.example"}, 1000) }
	report := bytes.ReplaceAll([]byte("Content-Type: multipart/report;\n report-type=delivery-status\n\n--x\n\nReporting-MTA: dns; g\n\n"+
		"Final-Recipient: rfc822; nobody@far.example\nAction: failed\nStatus: 5.1.1\n\n"+
		"Final-Recipient: rfc822; good@far.example\nAction: failed\nStatus: 5.0.0\n\n"+
		"Final-Recipient: rfc822; late@far.example\nAction: delayed\nStatus: 4.4.1\n\n--x\n\n"), []byte("\n"), []byte("\r\n"))
	for _, test := range []struct {
		name    string
		to      string // default a@near.example
		unknown bool   // an attempt before had no reply
		box     [][]byte
		sink    []copyTaken
		reports [][]byte
		faults  []fault
		want    Verdict
		lost    bool
		told    string // what is said of what is lost
	}{
		{name: "in the mailbox", box: [][]byte{message("m")}, want: Verdict{Delivered: 1}},
		{name: "with fields in front", box: [][]byte{append([]byte("Return-Path: <>\r\n"), message("m")...)}, want: Verdict{Delivered: 1}},
		{name: "nowhere", lost: true},
		{name: "another message", box: [][]byte{message("n")}, lost: true},
		{name: "half of it", box: [][]byte{message("m")[:900]}, want: Verdict{Damaged: 1}, lost: true},
		{name: "zeros in it", box: [][]byte{bytes.Replace(message("m"), []byte("lost"), make([]byte, 4), 1)}, want: Verdict{Damaged: 1}, lost: true},
		{name: "half of it, and whole", box: [][]byte{message("m")[:900], message("m")}, want: Verdict{Delivered: 1, Damaged: 1}},
		{name: "at the sink", sink: []copyTaken{{ID: "m", To: []string{"a@near.example"}, Whole: true, Answered: true}}, want: Verdict{Delivered: 1, Relayed: 1}},
		{name: "somebody else's copy", sink: []copyTaken{{ID: "m", To: []string{"b@near.example"}, Whole: true, Answered: true}}, lost: true},
		{name: "reported", to: "nobody@far.example", reports: [][]byte{append(bytes.Clone(report), message("m")...)}, want: Verdict{Reported: 1}},
		{name: "reported, and there is no reason", to: "good@far.example", reports: [][]byte{append(bytes.Clone(report), message("m")...)}, lost: true, told: bounced},
		{name: "a delay is told", to: "late@far.example", reports: [][]byte{append(bytes.Clone(report), message("m")...)}, lost: true},
		{
			name: "twice, and nobody knows why", box: [][]byte{message("m"), message("m")},
			want: Verdict{Delivered: 1, Duplicates: map[string]int{unexplained: 1}},
		},
		{
			name: "twice, sent again", unknown: true, box: [][]byte{message("m"), message("m")},
			want: Verdict{Delivered: 1, Unknown: 1, Duplicates: map[string]int{askedAgain: 1}},
		},
		{
			name: "twice, a kill between", box: [][]byte{message("m"), message("m")}, faults: []fault{{begin, begin, "kill", true}},
			want: Verdict{Delivered: 1, Duplicates: map[string]int{interrupted: 1}},
		},
		{
			name: "twice, and what was done interrupts nothing", box: [][]byte{message("m"), message("m")}, faults: []fault{{begin, begin, "slow", false}},
			want: Verdict{Delivered: 1, Duplicates: map[string]int{unexplained: 1}},
		},
		{
			name: "twice, a kill long before", box: [][]byte{message("m"), message("m")}, faults: []fault{{begin.Add(-time.Hour), begin.Add(-time.Minute), "kill", true}},
			want: Verdict{Delivered: 1, Duplicates: map[string]int{unexplained: 1}},
		},
		{
			name: "twice, while the disk was full", box: [][]byte{message("m"), message("m")},
			faults: []fault{{begin.Add(-time.Hour), begin.Add(time.Hour), "full disk", true}},
			want:   Verdict{Delivered: 1, Duplicates: map[string]int{interrupted: 1}},
		},
		{
			name: "twice, the sink was silent", sink: []copyTaken{
				{ID: "m", To: []string{"a@near.example"}, Whole: true}, {ID: "m", To: []string{"a@near.example"}, Whole: true, Answered: true},
			},
			want: Verdict{Delivered: 1, Relayed: 1, Duplicates: map[string]int{uncertain: 1}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			to := "a@near.example"
			if test.to != "" {
				to = test.to
			}
			attempts := []attempt{{At: begin, ID: "m", To: []string{to}, Outcome: taken}}
			if test.unknown {
				attempts = append([]attempt{{At: begin, ID: "m", To: []string{to}, Outcome: unknown}}, attempts...)
			}
			writeLines(t, filepath.Join(dir, "sent"), attempts)
			writeLines(t, filepath.Join(dir, "sink"), test.sink)
			writeLines(t, filepath.Join(dir, "faults"), test.faults)
			writeBox(t, filepath.Join(dir, "box"), test.box)
			writeBox(t, filepath.Join(dir, "reports"), test.reports)
			got := judged(t, "--sent", filepath.Join(dir, "sent"), "--sink", filepath.Join(dir, "sink"), "--faults", filepath.Join(dir, "faults"),
				"--mailbox", "a@near.example="+filepath.Join(dir, "box"), "--reports", filepath.Join(dir, "reports"))
			want := test.want
			want.Messages, want.Recipients, want.Lost = 1, 1, []string{}
			if test.lost {
				want.Lost = []string{"m " + to + test.told}
			}
			if told := len(got.Delayed["m late@far.example"]); told != len(test.reports) || len(got.Delayed) != told {
				t.Errorf("delays were told: %v", got.Delayed)
			}
			got.Delayed = nil
			if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
				t.Errorf("got  %+v\nwant %+v", *got, want)
			}
		})
	}
}

func writeLines[T any](t *testing.T, path string, all []T) {
	t.Helper()
	var content []byte
	for _, one := range all {
		line, err := json.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		content = append(append(content, line...), '\n')
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeBox(t *testing.T, path string, messages [][]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(path, "new"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, content := range messages {
		if err := os.WriteFile(filepath.Join(path, "new", fmt.Sprint(i)), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
