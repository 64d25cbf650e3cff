package maildir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// files are the messages below a mailbox's folder, as paths relative to the root.
func (w *world) files(user string) []string {
	w.t.Helper()
	a, err := parseAddress(user)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	_ = filepath.WalkDir(boxDir(w.root, a), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(w.root, path)
			all = append(all, rel)
		}
		return nil
	})
	return all
}

func TestRecipients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]any{"postmaster": ben})
	for recipient, want := range map[string]string{
		anna:                         anna,
		"ANNA@Sakes.Example":         anna,
		"info@sakes.example":         anna,
		"anna+lists@sakes.example":   anna,
		"info+lists@sakes.example":   anna,
		"cyrus+x@other.example":      cyrus,
		"whoever@other.example":      cyrus,
		"+x@other.example":           cyrus,
		"postmaster@sakes.example":   ben,
		"Postmaster":                 ben,
		"postmaster@other.example":   ben,
		"postmaster@foreign.example": "",
		"nobody@sakes.example":       "",
		"sales@sakes.example":        "", // may be sent as, gets nothing
		"@other.example":             "",
		"anna":                       "",
		"":                           "",
		"anna@[192.0.2.1]":           "",
		"anna@sakes.example\r\nx":    "",
	} {
		verdicts, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: []string{recipient}})
		if err != nil || len(verdicts) != 1 || verdicts[0].Recipient != recipient {
			t.Fatalf("%q: %+v, %v", recipient, verdicts, err)
		}
		if f := verdicts[0].Failure; (f == nil) != (want != "") || f != nil && f.Kind != backends.NotFound {
			t.Errorf("%q: %v", recipient, f)
		}
		got := w.deliver(backends.Delivery{Key: "to " + keyMark(recipient), Recipients: []string{recipient}}, hello)
		if f := got[0].Failure; (f == nil) != (want != "") || f != nil && f.Kind != backends.NotFound {
			t.Errorf("delivered to %q: %v", recipient, f)
		}
		for _, user := range []string{anna, ben, cyrus} {
			n := 0
			for _, name := range w.files(user) {
				if strings.Contains(name, keyMark("to "+keyMark(recipient))) {
					n++
				}
			}
			if (n == 1) != (user == want) || n > 1 {
				t.Errorf("for %q, %s has %d messages", recipient, user, n)
			}
		}
	}
}

func TestWithoutSeparator(t *testing.T) {
	w := newWorld(t, map[string]any{"detail_separator": ""})
	verdicts, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: []string{"anna+x@sakes.example", "Postmaster"}})
	if err != nil || verdicts[0].Failure == nil || verdicts[1].Failure != nil {
		t.Errorf("%+v, %v", verdicts, err)
	}
}

func TestManyRecipientsShareOneFile(t *testing.T) {
	w := newWorld(t, nil)
	verdicts := w.deliver(backends.Delivery{
		Key: "k", ReversePath: "sender@far.example",
		Recipients: []string{anna, "nobody@sakes.example", ben, "info@sakes.example", cyrus},
	}, hello)
	for i, v := range verdicts {
		if (v.Failure == nil) != (i != 1) || v.Recipient != []string{anna, "nobody@sakes.example", ben, "info@sakes.example", cyrus}[i] {
			t.Errorf("verdict %d: %+v", i, v)
		}
	}
	var first os.FileInfo
	for _, user := range []string{anna, ben, cyrus} {
		if got := w.messages(user); len(got) != 1 || got[0] != returnPath+hello {
			t.Errorf("%s has %q", user, got)
		}
		files := w.files(user)
		if len(files) != 1 {
			t.Fatalf("%s has files %v", user, files)
		}
		info, err := os.Stat(filepath.Join(w.root, files[0]))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%v, %v", info, err)
		}
		if first == nil {
			first = info
		}
		if !os.SameFile(first, info) {
			t.Errorf("%s has a file of its own", user)
		}
	}
}

func TestWithoutLinks(t *testing.T) {
	w := newWorld(t, nil)
	faulty := &faultyDisk{fail: func(_ int, name, _ string) error {
		if name == "link" {
			return &os.LinkError{Op: "link", Err: syscall.EXDEV}
		}
		return nil
	}}
	w.disk, w.use.boxes.disk = faulty, faulty
	w.take("k", hello, anna, ben, cyrus)
	for _, user := range []string{anna, ben, cyrus} {
		if got := w.messages(user); len(got) != 1 || got[0] != returnPath+hello {
			t.Errorf("%s has %q", user, got)
		}
		if files := w.files(user); len(files) != 1 {
			t.Errorf("%s has files %v", user, files)
		}
	}
}

func TestFileNameTellsSizes(t *testing.T) {
	for lf, stored := range map[bool]int{true: len(strings.ReplaceAll(returnPath+hello, "\r\n", "\n")), false: len(returnPath + hello)} {
		w := newWorld(t, map[string]any{"lf": lf})
		w.take("k", hello, anna)
		name := w.files(anna)[0]
		info, err := os.Stat(filepath.Join(w.root, name))
		if err != nil || info.Size() != int64(stored) {
			t.Errorf("lf %v: %d octets, %v; want %d", lf, info.Size(), err, stored)
		}
		if want := fmt.Sprintf(",S=%d,W=%d", stored, len(returnPath+hello)); !strings.HasSuffix(name, want) {
			t.Errorf("lf %v: %s does not end in %s", lf, name, want)
		}
	}
}

// TestContents puts in what is not canonical, too: what comes out is, and is always the same.
func TestContents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"canonical":        {hello, returnPath + hello},
		"no body":          {"Subject: x\r\n", returnPath + "Subject: x\r\n"},
		"nothing":          {"", returnPath},
		"bare LF":          {"Subject: x\n\ny\n", returnPath + "Subject: x\r\n\r\ny\r\n"},
		"bare CR":          {"Subject: x\r\n\r\na\rb\r\n", returnPath + "Subject: x\r\n\r\na b\r\n"},
		"CR CR LF":         {"Subject: x\r\n\r\na\r\r\n", returnPath + "Subject: x\r\n\r\na \r\n"},
		"no end":           {"Subject: x\r\n\r\nend", returnPath + "Subject: x\r\n\r\nend\r\n"},
		"NUL and 8 bit":    {"Subject: x\r\n\r\n\x00\xff\r\n", returnPath + "Subject: x\r\n\r\n\x00\xff\r\n"},
		"a Return-Path":    {"Return-Path: <old@x.example>\r\n\r\n", returnPath + "Return-Path: <old@x.example>\r\n\r\n"},
		"a line of 1 MB":   {"A: b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n", returnPath + "A: b\r\n\r\n" + strings.Repeat("x", 1<<20) + "\r\n"},
		"many empty lines": {strings.Repeat("\r\n", 100_000), returnPath + strings.Repeat("\r\n", 100_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, lf := range []bool{true, false} {
				w := newWorld(t, map[string]any{"lf": lf})
				w.take("k", c.in, anna)
				if got := w.messages(anna); len(got) != 1 || got[0] != c.want {
					t.Errorf("lf %v: %.200q, want %.200q", lf, got, c.want)
				}
			}
		})
	}
}

func TestNullSenderAndBadOnes(t *testing.T) {
	w := newWorld(t, nil)
	if v := w.deliver(backends.Delivery{Key: "k", Recipients: []string{anna}}, hello); v[0].Failure != nil {
		t.Fatal(v[0].Failure)
	}
	if got := w.messages(anna); got[0] != "Return-Path: <>\r\n"+hello {
		t.Errorf("%q", got)
	}
	for _, d := range []backends.Delivery{
		{Key: "k2", ReversePath: "a@b.example>\r\nX-Evil: yes", Recipients: []string{anna}},
		{Key: "k3", ReversePath: "a\x00@b.example", Recipients: []string{anna}},
		{Key: "", Recipients: []string{anna}},
		{Key: strings.Repeat("k", 65), Recipients: []string{anna}},
	} {
		if _, err := w.Deliver(t.Context(), d, strings.NewReader(hello)); backends.KindOf(err) != backends.Permanent {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestContentThatFails(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("the line broke")
	for name, content := range map[string]io.Reader{
		"at once":        iotest.ErrReader(broken),
		"later":          io.MultiReader(strings.NewReader(hello), iotest.ErrReader(broken)),
		"much later":     io.MultiReader(strings.NewReader(strings.Repeat(hello, 10_000)), iotest.ErrReader(broken)),
		"before its end": io.MultiReader(strings.NewReader(hello), iotest.ErrReader(fmt.Errorf("%w: %w", broken, io.ErrUnexpectedEOF))),
	} {
		_, err := w.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: []string{anna, ben}}, content)
		if !errors.Is(err, broken) || backends.KindOf(err) != backends.Temporary {
			t.Errorf("%s: %v", name, err)
		}
		if left := append(w.files(anna), w.files(ben)...); len(left) > 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	// The same key works afterwards.
	w.take("k", hello, anna, ben)
}

func TestMessageLimit(t *testing.T) {
	w := newWorld(t, map[string]any{"message_limit": len(hello)})
	w.take("fits", hello, anna)
	for name, d := range map[string]backends.Delivery{
		"announced":     {Key: "k1", Recipients: []string{anna}, Size: int64(len(hello) + 1)},
		"not announced": {Key: "k2", Recipients: []string{anna}},
	} {
		v, err := w.Deliver(t.Context(), d, strings.NewReader(hello+"\r\n"))
		if err != nil || v[0].Failure == nil || v[0].Failure.Kind != backends.TooLarge {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
	v, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: []string{anna, "nobody@sakes.example"}, Size: int64(len(hello) + 1)})
	if err != nil || v[0].Failure.Kind != backends.TooLarge || v[1].Failure.Kind != backends.NotFound {
		t.Errorf("Resolve: %+v, %v", v, err)
	}
	if n := len(w.files(anna)); n != 1 {
		t.Errorf("%d files", n)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	again := backends.Delivery{Key: "k", Retry: true, ReversePath: "sender@far.example", Recipients: []string{anna, ben}}
	only := func(w *world, when string) {
		t.Helper()
		for _, v := range w.deliver(again, hello) {
			if v.Failure != nil {
				t.Errorf("%s: %v", when, v.Failure)
			}
		}
		for _, user := range []string{anna, ben} {
			if n := len(w.files(user)); n != 1 {
				t.Errorf("%s: %s has %v", when, user, w.files(user))
			}
		}
	}
	w := newWorld(t, nil)
	only(w, "when nothing had been delivered")
	only(w, "in the same process")
	w.take("k", hello, anna, ben)
	only(w, "without saying that it is one")

	// A store that knows nothing but what is on the disk.
	restarted := func() *world { return openWorld(t, w.root, nil) }
	only(restarted(), "after a restart")
	box := filepath.Join(w.root, "sakes.example", "anna")
	move := func(from, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Base(w.files(anna)[0])
	move(filepath.Join(box, "new", name), filepath.Join(box, "cur", name+":2,S"))
	only(restarted(), "after it was read")
	move(filepath.Join(box, "cur", name+":2,S"), filepath.Join(box, ".Sub.Folder", "cur", name+":2,S"))
	only(restarted(), "after it was filed")

	// One has it, the other does not.
	if err := os.Remove(filepath.Join(box, ".Sub.Folder", "cur", name+":2,S")); err != nil {
		t.Fatal(err)
	}
	only(restarted(), "when one of two had it")

	// It was taken, read and removed: the process that took it remembers.
	m := w.open(anna, "")
	for _, e := range list(t, m) {
		if _, err := m.Remove(t.Context(), []backends.MessageID{e.ID}, backends.DisposalRemove); err != nil {
			t.Fatal(err)
		}
	}
	if v := w.deliver(again, hello); v[0].Failure != nil || len(w.files(anna)) != 0 {
		t.Errorf("after it was removed: %+v, %v", v, w.files(anna))
	}
	// Content that breaks off is a failure, whether anybody needed it or not.
	if _, err := w.Deliver(t.Context(), again, io.MultiReader(strings.NewReader(hello), iotest.ErrReader(io.ErrUnexpectedEOF))); backends.KindOf(err) != backends.Temporary {
		t.Errorf("content that breaks off: %v", err)
	}
	// Another key is another message.
	w.take("another", hello, anna)
	if len(w.files(anna)) != 1 {
		t.Error("another key finds the first message")
	}
}

// TestRetryWhileTheFirstAttemptRuns: the gateway has given up on a delivery that goes on.
func TestRetryWhileTheFirstAttemptRuns(t *testing.T) {
	w := newWorld(t, nil)
	content, feed := io.Pipe()
	first := make(chan []backends.Verdict, 1)
	d := backends.Delivery{Key: "k", Recipients: []string{anna}}
	go func() {
		v, _ := w.Deliver(t.Context(), d, content)
		first <- v
	}()
	if _, err := io.WriteString(feed, "Subject: x\r\n"); err != nil { // it has begun to read
		t.Fatal(err)
	}
	second := make(chan []backends.Verdict, 1)
	go func() {
		again := d
		again.Retry = true
		v, _ := w.Deliver(t.Context(), again, strings.NewReader("Subject: x\r\n\r\n"))
		second <- v
	}()
	select {
	case <-second:
		t.Error("the second attempt did not wait for the first")
	case <-time.After(20 * time.Millisecond): // whatever is wrong would show at once
	}
	_, _ = io.WriteString(feed, "\r\n")
	_ = feed.Close()
	for _, v := range [][]backends.Verdict{<-first, <-second} {
		if len(v) != 1 || v[0].Failure != nil {
			t.Errorf("%+v", v)
		}
	}
	if n := len(w.files(anna)); n != 1 {
		t.Errorf("%d messages", n)
	}
	if len(w.use.keys.held) != 0 {
		t.Error("a key is still held")
	}
}

func TestQuota(t *testing.T) {
	const each = 1000
	message := func(n int) string {
		head := fmt.Sprintf("Subject: %d\r\n\r\n", n)
		// With LF, and with the Return-Path, it is `each` octets on the disk.
		return head + strings.Repeat("x", each-len(returnPath)-len(head)+2) + "\r\n"
	}
	w := newWorld(t, map[string]any{"quota": "3500B"})
	over := func(v backends.Verdict) bool { return v.Failure != nil && v.Failure.Kind == backends.OverQuota }
	resolve := func(size int64) backends.Verdict {
		v, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: []string{anna}, Size: size})
		if err != nil {
			t.Fatal(err)
		}
		return v[0]
	}
	for n := range 3 {
		if v := resolve(each); v.Failure != nil {
			t.Fatalf("before message %d: %v", n, v.Failure)
		}
		w.take(fmt.Sprint(n), message(n), anna)
	}
	if v := w.deliver(backends.Delivery{Key: "3", Recipients: []string{anna, ben}}, message(3)); !over(v[0]) || v[1].Failure != nil {
		t.Errorf("the fourth: %+v", v)
	}
	if v := resolve(each); !over(v) || v.Failure.Reply().SMTP != 452 || v.Failure.Reply().Code != "4.2.2" {
		t.Errorf("a fourth: %v", v.Failure)
	}
	if v := resolve(200); v.Failure != nil {
		t.Errorf("a small one: %v", v.Failure)
	}
	if v := resolve(4000); v.Failure == nil || v.Failure.Kind != backends.TooLarge {
		t.Errorf("one that never fits: %v", v.Failure)
	}
	// What does not say its size is found out while it is written.
	v, err := w.Deliver(t.Context(), backends.Delivery{Key: "4", Recipients: []string{anna, cyrus}}, strings.NewReader(message(4)))
	if err != nil || !over(v[0]) || v[1].Failure != nil || len(w.files(anna)) != 3 || len(w.files(cyrus)) != 1 {
		t.Errorf("without a size: %+v, %v", v, err)
	}
	// Other programs make room, and take it, also in other folders and without sizes in the names.
	box := filepath.Join(w.root, "sakes.example", "anna")
	names := w.files(anna)
	if err := os.Remove(filepath.Join(w.root, names[0])); err != nil {
		t.Fatal(err)
	}
	if v := resolve(each); v.Failure != nil {
		t.Errorf("after another program made room: %v", v.Failure)
	}
	if err := os.MkdirAll(filepath.Join(box, ".Old", "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(box, ".Old", "cur", "1.x:2,S"), strings.Repeat("x", 1400))
	if v := resolve(each); !over(v) {
		t.Errorf("after another program filled a folder: %v", v.Failure)
	}
	// An account's own quota comes first.
	text, _ := os.ReadFile(filepath.Join(w.root, "accounts.yaml"))
	writeFile(t, filepath.Join(w.root, "accounts.yaml"), strings.Replace(string(text), "name: Anna Sakes", "quota: 1MiB", 1))
	if v := resolve(each); v.Failure != nil {
		t.Errorf("with a quota of its own: %v", v.Failure)
	}
}

// TestQuotaCountsWhatIsUnderWay delivers at the same time what fits only one after the other.
func TestQuotaCountsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t, map[string]any{"quota": 3000})
	body := "Subject: x\r\n\r\n" + strings.Repeat("x", 1800) + "\r\n"
	results := make(chan *backends.Failure, 8)
	for n := range cap(results) {
		go func() {
			v, err := w.Deliver(t.Context(), backends.Delivery{Key: fmt.Sprint(n), Recipients: []string{anna}, Size: int64(len(body))}, strings.NewReader(body))
			if err != nil {
				t.Error(err)
			}
			results <- v[0].Failure
		}()
	}
	taken := 0
	for range cap(results) {
		if f := <-results; f == nil {
			taken++
		} else if f.Kind != backends.OverQuota {
			t.Error(f)
		}
	}
	if taken != 1 || len(w.files(anna)) != 1 {
		t.Errorf("%d were taken, %d are there", taken, len(w.files(anna)))
	}
}

func TestOldTmpFilesAreSwept(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	tmp := filepath.Join(w.root, "sakes.example", "anna", "tmp")
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "young": 35 * time.Hour} {
		writeFile(t, filepath.Join(tmp, name), "x")
		when := time.Now().Add(-age)
		_ = os.Chtimes(filepath.Join(tmp, name), when, when)
	}
	_ = openWorld(t, w.root, nil).open(anna, "").Close()
	left, _ := os.ReadDir(tmp)
	if len(left) != 1 || left[0].Name() != "young" {
		t.Errorf("left in tmp: %v", left)
	}
}

// TestFoldersThatVanish removes a mailbox's folders between two deliveries.
func TestFoldersThatVanish(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.take("1", hello, anna, ben)
	for _, gone := range []string{"sakes.example/anna", "sakes.example/ben", "sakes.example"} {
		if err := os.RemoveAll(filepath.Join(w.root, gone)); err != nil {
			t.Fatal(err)
		}
		w.take("after "+keyMark(gone), hello, anna, ben)
	}
	if err := os.RemoveAll(w.root); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: []string{anna}}, strings.NewReader(hello)); backends.KindOf(err) != backends.Temporary {
		t.Errorf("without the root: %v", err)
	}
	if _, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: []string{anna}}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Resolve without the root: %v", err)
	}
	if _, err := w.Open(t.Context(), backends.OpenRequest{Credential: password(anna)}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Open without the root: %v", err)
	}
	if err := w.Health(t.Context()); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Health without the root: %v", err)
	}
}

// TestDeliveryFaults makes every step of a delivery to three accounts fail, one after the
// other, and for each sees to it that what was promised is there, whole, and nothing else.
func TestDeliveryFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode  string
		fault error
	}{{"links", syscall.EIO}, {"links", syscall.ENOSPC}, {"copies", syscall.EIO}} {
		t.Run(c.mode+"/"+c.fault.Error(), func(t *testing.T) {
			t.Parallel()
			steps := map[string]int{}
			for n := 1; faultAt(t, c.mode, n, c.fault, steps); n++ {
			}
			for _, name := range []string{"create", "write", "sync", "close", "syncdir", "rename", "mkdir"} {
				if steps[name] == 0 {
					t.Errorf("no %s was made to fail", name)
				}
			}
		})
	}
}

// faultAt makes step n fail, and says whether there was such a step.
func faultAt(t *testing.T, mode string, n int, fault error, steps map[string]int) bool {
	w := newWorld(t, nil)
	failing := "no step"
	faulty := &faultyDisk{fail: func(step int, name, _ string) error {
		switch {
		case mode == "copies" && name == "link":
			return syscall.EXDEV
		case step == n:
			failing = name
			steps[name]++
			return fault
		}
		return nil
	}}
	w.disk, w.use.boxes.disk = faulty, faulty
	users := []string{anna, ben, cyrus}
	verdicts := w.deliver(backends.Delivery{Key: "k", ReversePath: "sender@far.example", Recipients: users}, hello)
	first := faulty.steps
	when, failed := fmt.Sprintf("step %d (%s)", n, failing), 0
	for i, v := range verdicts {
		if v.Failure != nil {
			failed++
			if r := v.Failure.Reply(); r.SMTP != 451 || fault == syscall.ENOSPC && r.Code != "4.3.1" || strings.Contains(r.Text, "/") {
				t.Errorf("%s: %+v", when, r)
			}
		}
		w.holds(users[i], v.Failure == nil, when)
	}
	harmless := []string{"remove", "names", "lstat", "close after reading", "no step"} // cleaning up
	if (failed == 0) != slices.Contains(harmless, failing) {
		t.Errorf("%s: %d recipients failed", when, failed)
	}
	// Tried again, by this process and by one that knows nothing, each has it once.
	again := backends.Delivery{Key: "k", Retry: true, ReversePath: "sender@far.example", Recipients: users}
	for _, other := range []*world{w, openWorld(t, w.root, nil)} {
		for i, v := range other.deliver(again, hello) {
			if v.Failure != nil {
				t.Errorf("%s, tried again: %v", when, v.Failure)
			}
			w.holds(users[i], true, when+", tried again")
		}
	}
	return n <= first
}

// holds sees to it that an account has the message once and whole, or not at all, and that
// nothing is left over.
func (w *world) holds(user string, want bool, when string) {
	w.t.Helper()
	files := w.files(user)
	if want && (len(files) != 1 || !strings.Contains(files[0], "/new/")) || !want && len(files) != 0 {
		w.t.Errorf("%s: %s has %v", when, user, files)
		return
	}
	if !want {
		return
	}
	text, err := os.ReadFile(filepath.Join(w.root, files[0]))
	if err != nil || string(text) != strings.ReplaceAll(returnPath+hello, "\r\n", "\n") {
		w.t.Errorf("%s: %s has %q, %v", when, user, text, err)
	}
}

// TestFailedSyncIsNotBelieved: a name whose sync failed, and that could not be taken back
// either, is not what a second attempt may find and call delivered (I1).
func TestFailedSyncIsNotBelieved(t *testing.T) {
	w := newWorld(t, nil)
	broken := true
	faulty := &faultyDisk{fail: func(_ int, name, path string) error {
		if broken && (name == "syncdir" && strings.HasSuffix(path, "/new") || name == "remove") {
			return syscall.EIO
		}
		return nil
	}}
	w.disk, w.use.boxes.disk = faulty, faulty
	d := backends.Delivery{Key: "k", ReversePath: "sender@far.example", Recipients: []string{anna}}
	if v := w.deliver(d, hello); v[0].Failure == nil {
		t.Fatal("delivered without a sync")
	}
	before := w.files(anna)
	if len(before) != 1 {
		t.Fatalf("%v", before)
	}
	d.Retry = true
	if v := w.deliver(d, hello); v[0].Failure == nil {
		t.Error("still broken, and delivered")
	}
	broken = false
	if v := w.deliver(d, hello); v[0].Failure != nil {
		t.Error(v[0].Failure)
	}
	if after := w.files(anna); len(after) != 1 || slices.Equal(after, before) {
		t.Errorf("before: %v, after: %v", before, after)
	}
}

// TestFoundIsSyncedFirst: a copy that a second attempt finds is delivered when its name is
// durable, for the first attempt may not have come to that.
func TestFoundIsSyncedFirst(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	again := openWorld(t, w.root, nil)
	broken := true
	faulty := &faultyDisk{fail: func(_ int, name, path string) error {
		if broken && name == "syncdir" && strings.HasSuffix(path, "/new") {
			return syscall.EIO
		}
		return nil
	}}
	again.disk, again.use.boxes.disk = faulty, faulty
	d := backends.Delivery{Key: "k", Retry: true, Recipients: []string{anna}}
	for range 2 {
		if v := again.deliver(d, hello); v[0].Failure == nil || v[0].Failure.Kind != backends.Temporary {
			t.Errorf("%+v", v)
		}
	}
	broken = false
	if v := again.deliver(d, hello); v[0].Failure != nil || len(w.files(anna)) != 1 {
		t.Errorf("%+v, %v", v, w.files(anna))
	}
}

func FuzzDeliver(f *testing.F) {
	for _, seed := range []string{hello, "", "\r", "\n", "a\r\r\nb", "Subject: x\n\n.\n", "\x00"} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, content []byte, lf bool) {
		w := newWorld(t, map[string]any{"lf": lf})
		w.take("k", string(content), anna)
		got := w.messages(anna) // checks the sizes, too
		if len(got) != 1 || !strings.HasPrefix(got[0], returnPath) {
			t.Fatalf("%q gives %q", content, got)
		}
		if flaw := strings.Contains(strings.ReplaceAll(got[0], "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(got[0], "\r\n", ""), "\r") || !strings.HasSuffix(got[0], "\r\n"); flaw {
			t.Errorf("%q gives %q", content, got)
		}
		if canonical := strings.ReplaceAll(string(content), "\r\n", ""); !strings.ContainsAny(canonical, "\r\n") &&
			(len(content) == 0 || strings.HasSuffix(string(content), "\r\n")) && got[0] != returnPath+string(content) {
			t.Errorf("%q comes back as %q", content, got)
		}
	})
}

// TestOrderOfSteps: content before its name, names before the promise.
func TestOrderOfSteps(t *testing.T) {
	w := newWorld(t, nil)
	w.take("0", hello, anna, ben) // the folders are made
	var steps []string
	faulty := &faultyDisk{fail: func(_ int, name, path string) error {
		rel, _ := filepath.Rel(w.root, path)
		parts := strings.Split(rel, string(filepath.Separator))
		if len(parts) >= 3 {
			steps = append(steps, name+" "+parts[1]+"/"+parts[2])
		}
		return nil
	}}
	w.disk = faulty
	for _, user := range []string{anna, ben} {
		a, _ := parseAddress(user)
		w.use.boxes.of(a).disk = faulty
	}
	w.take("1", hello, anna, ben)
	want := []string{
		"create anna/tmp", "write anna/tmp", "sync anna/tmp", "close anna/tmp",
		"link ben/new", "rename anna/new", "syncdir ben/new", "syncdir anna/new",
	}
	if !slices.Equal(steps, want) {
		t.Errorf("%q, want %q", steps, want)
	}
}
