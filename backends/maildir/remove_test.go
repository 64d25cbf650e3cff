package maildir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/dipylon/dipylon/backends"
)

func ids(entries []backends.Entry) []backends.MessageID {
	var all []backends.MessageID
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

func remove(t *testing.T, m backends.Maildrop, ids []backends.MessageID, disposal backends.Disposal) {
	t.Helper()
	removals, err := m.Remove(t.Context(), ids, disposal)
	if err != nil || len(removals) != len(ids) {
		t.Fatalf("Remove: %+v, %v", removals, err)
	}
	for i, r := range removals {
		if r.ID != ids[i] || r.Failure != nil {
			t.Errorf("%s: %+v", ids[i], r)
		}
	}
}

func TestTrash(t *testing.T) {
	w := newWorld(t, nil)
	w.take("1", hello, anna)
	w.take("2", hello, anna)
	box := w.box(anna)
	m := w.open(anna, "")
	entries := list(t, m)
	// Another program has marked one of them meanwhile.
	name := string(entries[1].ID)
	if err := os.Rename(filepath.Join(box, "new", name), filepath.Join(box, "cur", name+":2,FS")); err != nil {
		t.Fatal(err)
	}
	remove(t, m, ids(entries), backends.DisposalTrash)
	if got := w.messages(anna); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
	trashed := w.open(anna, "Trash")
	again := list(t, trashed)
	if len(again) != 2 || again[0].ID != entries[0].ID || again[0].Seen || !again[1].Seen || fetch(t, trashed, again[1].ID) != returnPath+hello {
		t.Errorf("in the trash: %+v", again)
	}
	if _, err := os.Stat(filepath.Join(box, ".Trash", "cur", name+":2,FS")); err != nil {
		t.Errorf("its flags: %v", err)
	}
	if _, err := trashed.Remove(t.Context(), ids(again), backends.DisposalTrash); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("from the trash to the trash: %v", err)
	}
	remove(t, trashed, ids(again), backends.DisposalRemove)
	if files := w.files(anna); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
	if _, err := m.Remove(t.Context(), ids(again), 99); backends.KindOf(err) != backends.Unsupported {
		t.Errorf("a disposal that there is not: %v", err)
	}
}

func TestMark(t *testing.T) {
	w := newWorld(t, nil)
	w.take("1", hello, anna)
	m := w.open(anna, "")
	e := list(t, m)
	remove(t, m, ids(e), backends.DisposalMark)
	remove(t, m, ids(e), backends.DisposalMark)
	if files := w.files(anna); len(files) != 1 || !strings.HasSuffix(files[0], ":2,T") || !strings.Contains(files[0], "/cur/") {
		t.Errorf("%v", files)
	}
	if got := fetch(t, m, e[0].ID); got != returnPath+hello {
		t.Errorf("%q", got)
	}
	if again := list(t, w.open(anna, "")); len(again) != 0 {
		t.Errorf("it is listed again: %+v", again)
	}
}

func TestFolders(t *testing.T) {
	w := newWorld(t, nil)
	box := w.box(anna)
	for _, dir := range []string{".Sub.Folder", ".Entw&APw-rfe", ".Füße"} {
		if err := os.MkdirAll(filepath.Join(box, dir, "cur"), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(box, dir, "cur", "1.x"), "Folder: "+dir+"\n")
	}
	for folder, dir := range map[string]string{"Sub/Folder": ".Sub.Folder", "Entwürfe": ".Entw&APw-rfe", "Füße": ".Füße"} {
		m := w.open(anna, folder)
		if entries := list(t, m); len(entries) != 1 || fetch(t, m, entries[0].ID) != "Folder: "+dir+"\r\n" {
			t.Errorf("%s: %+v", folder, entries)
		}
	}
	for _, folder := range []string{"Nowhere", "../ben", "..", "Sub", "a.b", "Sub/../../ben", "/", "Sub/Folder\x00"} {
		if _, err := w.Open(t.Context(), backends.OpenRequest{Credential: password(anna), Folder: folder}); backends.KindOf(err) != backends.NotFound {
			t.Errorf("%q: %v", folder, err)
		}
	}
}

// TestRemoveFaults makes every step of a removal fail: what is said to be gone is gone.
func TestRemoveFaults(t *testing.T) {
	t.Parallel()
	for _, disposal := range []backends.Disposal{backends.DisposalRemove, backends.DisposalTrash, backends.DisposalMark} {
		t.Run(fmt.Sprint(disposal), func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				w := newWorld(t, nil)
				for k := range 3 {
					w.take(fmt.Sprint(k), hello, anna)
				}
				m := w.open(anna, "")
				entries := list(t, m)
				faulty := &faultyDisk{fail: func(step int, _, _ string) error {
					if step == n {
						return syscall.EIO
					}
					return nil
				}}
				w.disk, w.use.boxes.of(address{"anna", "sakes.example"}).disk, m.(*maildrop).folder.disk = faulty, faulty, faulty
				removals, err := m.Remove(t.Context(), ids(entries), disposal)
				left := strings.Join(w.files(anna), " ")
				failed := err != nil
				for _, r := range removals {
					failed = failed || r.Failure != nil
					there := strings.Contains(left, "/new/"+string(r.ID))
					if r.Failure == nil && there {
						t.Errorf("step %d (%s): %s is there and was told to be gone", n, faulty.last, r.ID)
					}
				}
				if faulty.steps < n {
					if failed || n < 4 {
						t.Errorf("without a fault, after %d steps: %v, %+v", n, err, removals)
					}
					return
				}
				if !failed {
					t.Errorf("step %d (%s) fails, and nothing is told", n, faulty.last)
				}
			}
		})
	}
}

// syncsOfNew is a disk on which the syncs of new are another function's, and that tells of a new name.
type syncsOfNew struct {
	disk
	sync  func() error
	named func()
}

func (d syncsOfNew) Rename(from, to string) error {
	defer d.named()
	return d.disk.Rename(from, to)
}

func (d syncsOfNew) SyncDir(path string) error {
	if filepath.Base(path) == "new" {
		return d.sync()
	}
	return d.disk.SyncDir(path)
}

// TestFailureOfRemoval: the system tells of a failure once, so a removal's sync that fails has failed for a delivery, too, whose name was there
// by then (I1).
func TestFailureOfRemoval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.take("old", hello, anna)
	m := w.open(anna, "")
	entries := list(t, m)
	begun, named, proceed := make(chan struct{}), make(chan struct{}), make(chan error)
	w.disk = syncsOfNew{sync: func() error {
		close(begun)
		return <-proceed
	}}
	var removals []backends.Removal
	var verdicts []backends.Verdict
	var both sync.WaitGroup
	both.Go(func() { removals, _ = m.Remove(t.Context(), ids(entries), backends.DisposalRemove) })
	<-begun
	w.disk = syncsOfNew{sync: func() error { return nil }, named: func() { close(named) }}
	both.Go(func() { verdicts = w.deliver(backends.Delivery{Key: "new", Recipients: backends.To(anna)}, hello) })
	<-named
	proceed <- syscall.EIO
	both.Wait()
	if len(removals) != 1 || removals[0].Failure == nil {
		t.Errorf("the removal: %+v", removals)
	}
	if len(verdicts) != 1 || verdicts[0].Failure == nil {
		t.Errorf("the delivery: %+v", verdicts)
	}
}

// TestOrderOfRemoval: removals are durable before they are told, and what is moved is durable
// where it went before it is where it was.
func TestOrderOfRemoval(t *testing.T) {
	for disposal, want := range map[backends.Disposal][]string{
		backends.DisposalRemove: {"remove new", "remove new", "syncdir new"},
		backends.DisposalMark:   {"rename cur", "rename cur", "syncdir cur", "syncdir new"},
		backends.DisposalTrash:  {"rename .Trash/cur", "rename .Trash/cur", "syncdir .Trash/cur", "syncdir new"},
	} {
		w := newWorld(t, nil)
		w.take("1", hello, anna)
		w.take("2", hello, anna)
		m := w.open(anna, "")
		entries := list(t, m)
		if err := m.(*maildrop).box.makeTrash(); err != nil {
			t.Fatal(err)
		}
		var steps []string
		w.disk = &faultyDisk{fail: func(_ int, name, path string) error {
			rel, _ := filepath.Rel(w.box(anna), path)
			if rel = strings.TrimSuffix(rel, filepath.Base(rel)); name == "syncdir" {
				rel, _ = filepath.Rel(w.box(anna), path)
			}
			steps = append(steps, name+" "+strings.TrimSuffix(rel, "/"))
			return nil
		}}
		remove(t, m, ids(entries), disposal)
		if !slices.Equal(steps, want) {
			t.Errorf("disposal %d: %q, want %q", disposal, steps, want)
		}
	}
}

// TestRemoveWhatMovesAway: a message is removed although another program renames it at
// every turn; one that cannot be reached is not said to be gone.
func TestRemoveWhatMovesAway(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	box := w.box(anna)
	m := w.open(anna, "")
	e := list(t, m)[0]
	moves, most := 0, 2
	w.disk = &faultyDisk{fail: func(_ int, name, path string) error {
		if name == "remove" && moves < most {
			moves++
			if err := os.Rename(path, filepath.Join(box, "cur", fmt.Sprintf("%s:2,%s", e.ID, strings.Repeat("a", moves)))); err != nil {
				t.Error(err)
			}
		}
		return nil
	}}
	remove(t, m, []backends.MessageID{e.ID}, backends.DisposalRemove)
	if files := w.files(anna); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
	w.take("k2", hello, anna)
	m2 := w.open(anna, "")
	e = list(t, m2)[0]
	moves, most = 0, 1000
	removals, err := m2.Remove(t.Context(), []backends.MessageID{e.ID}, backends.DisposalRemove)
	if err != nil || removals[0].Failure == nil || removals[0].Failure.Kind != backends.Temporary {
		t.Errorf("%+v, %v", removals, err)
	}
}

func TestRemoveEndsWithItsContext(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	m := w.open(anna, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	removals, err := m.Remove(ctx, ids(list(t, m)), backends.DisposalRemove)
	if err != nil || removals[0].Failure == nil || len(w.files(anna)) != 1 {
		t.Errorf("%+v, %v", removals, err)
	}
}

func TestClosedMaildrop(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", hello, anna)
	m := w.open(anna, "")
	e := list(t, m)[0]
	c, err := m.Fetch(t.Context(), backends.FetchRequest{ID: e.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = m.Close()
	_ = m.Close()
	if n, err := c.Read(make([]byte, 100)); n != 0 || backends.KindOf(err) != backends.Temporary {
		t.Errorf("Read: %d, %v", n, err)
	}
	if _, err := m.Fetch(t.Context(), backends.FetchRequest{ID: e.ID}); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Fetch: %v", err)
	}
	if _, err := m.Remove(t.Context(), []backends.MessageID{e.ID}, backends.DisposalRemove); backends.KindOf(err) != backends.Temporary {
		t.Errorf("Remove: %v", err)
	}
	for _, err := range m.List(t.Context()) {
		if backends.KindOf(err) != backends.Temporary {
			t.Errorf("List: %v", err)
		}
	}
}

// TestFetchEnds: the context of a fetch covers the reading.
func TestFetchEnds(t *testing.T) {
	w := newWorld(t, nil)
	w.take("k", "Subject: x\r\n\r\n"+strings.Repeat("0123456789\r\n", 50_000), anna)
	m := w.open(anna, "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := m.Fetch(ctx, backends.FetchRequest{ID: list(t, m)[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 10)
	if _, err := c.Read(buf); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = c.Read(buf)
	}
	if backends.KindOf(err) != backends.Temporary {
		t.Errorf("%v", err)
	}
}
