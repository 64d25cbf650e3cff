package maildir

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dipylon/dipylon/backends"
)

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
	if _, err := w.Deliver(t.Context(), backends.Delivery{Key: "k", Recipients: backends.To(anna)}, strings.NewReader(hello)); backends.KindOf(err) != backends.Temporary {
		t.Errorf("without the root: %v", err)
	}
	if _, err := w.Resolve(t.Context(), backends.ResolveQuery{Recipients: backends.To(anna)}); backends.KindOf(err) != backends.Temporary {
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
	verdicts := w.deliver(backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(users...)}, hello)
	first := faulty.steps
	when, failed := fmt.Sprintf("step %d (%s)", n, failing), 0
	for i, v := range verdicts {
		if v.Failure != nil {
			failed++
			if r := v.Failure.Reply(); !isReplyTo(fault, r) || strings.Contains(r.Text, "/") {
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
	again := backends.Delivery{Key: "k", Retry: true, Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(users...)}
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
	d := backends.Delivery{Key: "k", Envelope: backends.Envelope{From: "sender@far.example"}, Recipients: backends.To(anna)}
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
	d := backends.Delivery{Key: "k", Retry: true, Recipients: backends.To(anna)}
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
		"link ben/new", "rename anna/new", "syncdir anna/new", "syncdir ben/new",
	}
	if len(steps) == len(want) {
		slices.Sort(steps[len(want)-2:]) // the folders are synced at the same time
	}
	if !slices.Equal(steps, want) {
		t.Errorf("%q, want %q", steps, want)
	}
}

// isReplyTo says whether a disk's fault is told as what it is: 452 is for too little room (RFC 5321
// §4.2.3).
func isReplyTo(fault error, r backends.Reply) bool {
	if fault == syscall.ENOSPC {
		return r.SMTP == 452 && r.Code == "4.3.1"
	}
	return r.SMTP == 451
}
