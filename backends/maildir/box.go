package maildir

import (
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// boxes are the mailboxes that have been used since the start.
type boxes struct {
	disk fileSystem
	now  func() time.Time
	root string

	mu  sync.Mutex
	all map[address]*box
}

func newBoxes(disk fileSystem, now func() time.Time, root string) *boxes {
	return &boxes{disk: disk, now: now, root: root, all: map[address]*box{}}
}

func (b *boxes) of(a address) *box {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := b.all[a]
	if found == nil {
		found = &box{disk: b.disk, now: b.now, root: b.root, dir: boxDir(b.root, a), usage: usage{dirs: map[string]dirUsage{}}}
		b.all[a] = found
	}
	return found
}

// box is the folders of one account.
type box struct {
	disk fileSystem
	now  func() time.Time
	root string
	dir  string

	mu    sync.Mutex
	made  bool // the folders of the inbox are there, durably
	swept time.Time
	usage usage
}

// make makes the inbox's folders, durably. Folders that are there are synced once, too: who
// made them may not have lived to do it.
func (b *box) make() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made {
		return nil
	}
	if err := mkdirs(b.disk, filepath.Dir(b.dir), b.dir); err != nil {
		return err
	}
	if err := makeFolder(b.disk, b.dir); err != nil {
		return err
	}
	if err := syncDirs(b.disk, filepath.Dir(b.dir), b.root); err != nil {
		return err
	}
	b.made = true
	return nil
}

// forget makes the next make look again.
func (b *box) forget() {
	b.mu.Lock()
	b.made = false
	b.mu.Unlock()
}

// makeFolder makes tmp, new and cur in a folder that is there.
func makeFolder(disk fileSystem, dir string) error {
	if err := mkdirs(disk, filepath.Join(dir, "tmp"), filepath.Join(dir, "new"), filepath.Join(dir, "cur")); err != nil {
		return err
	}
	return disk.SyncDir(dir)
}

// tmpLife is how long a file may lie in tmp before it is known to be left over
// (https://cr.yp.to/proto/maildir.html), and sweepEvery how often that is looked for.
const (
	tmpLife    = 36 * time.Hour
	sweepEvery = time.Hour
)

// sweep removes what deliveries that were cut off have left in tmp.
func (b *box) sweep() {
	b.mu.Lock()
	due := b.now().Sub(b.swept) > sweepEvery
	if due {
		b.swept = b.now()
	}
	b.mu.Unlock()
	if !due {
		return
	}
	sweepTmp(b.disk, b.dir, b.now())
	sweepTmp(b.disk, filepath.Join(b.dir, outboxFolder), b.now())
}

// sweepTmp removes what is left over in the tmp of a folder.
func sweepTmp(disk fileSystem, dir string, now time.Time) {
	tmp := filepath.Join(dir, "tmp")
	names, _ := disk.Names(tmp) // a tmp that cannot be read has nothing that could be removed
	for _, name := range names {
		path := filepath.Join(tmp, name)
		if info, err := disk.Lstat(path); err == nil && info.Mode().IsRegular() && now.Sub(info.ModTime()) > tmpLife {
			_ = disk.Remove(path)
		}
	}
}

// folders are all folders of the mailbox, the inbox ("") first.
func (b *box) folders() ([]string, error) {
	names, err := b.disk.Names(b.dir)
	if err != nil && !isGone(err) {
		return nil, err
	}
	all := []string{""}
	for _, name := range names {
		if len(name) > 1 && name[0] == '.' && name != ".." {
			all = append(all, name)
		}
	}
	return all, nil
}

// usage is what a mailbox holds, as far as it is known.
//
// Other programs work in the folders too, so what is known is only good as long as the
// folders' times stay. Each sum is kept per folder.
type usage struct {
	dirs    map[string]dirUsage
	sum     int64
	counted time.Time     // when sum was made
	took    time.Duration // how long that lasted
	added   int64         // by this process since then
	pending int64         // of deliveries under way
}

type dirUsage struct {
	changed time.Time
	octets  int64
	settled bool // a later change shows in the folder's time
}

// A sum that took longer than cheapCount to make lives graceFactor times as long, at most
// mostGrace: that there is room may be told on an old sum, that there is none never is.
const (
	cheapCount  = 5 * time.Millisecond
	graceFactor = 20
	mostGrace   = 2 * time.Second
)

// grace is how long the sum may be used for.
func (u *usage) grace() time.Duration {
	if u.took < cheapCount {
		return 0
	}
	return min(graceFactor*u.took, mostGrace)
}

// reserve makes room for a message under way. release is to be called when it is in its
// place (true) or will never be (false).
func (b *box) reserve(quota, size int64) (release func(stored bool), failure *backends.Failure) {
	if quota <= 0 {
		return func(bool) {}, nil
	}
	if size > quota {
		return nil, tooLarge(size, quota)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	u := &b.usage
	recent := b.now().Sub(u.counted) < u.grace()
	if !recent || u.sum+u.added+u.pending+size > quota {
		if err := b.count(); err != nil {
			return nil, storageFailure("counting what a mailbox holds", err)
		}
	}
	if held := u.sum + u.added + u.pending; held+size > quota {
		return nil, backends.Fail(backends.OverQuota, "%d octets of %d are used, %d would be added", held, quota, size)
	}
	u.pending += size
	return func(stored bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		u.pending -= size
		if stored {
			u.added += size
		}
	}, nil
}

// count makes the sum over all folders.
func (b *box) count() error {
	start := b.now()
	folders, err := b.folders()
	if err != nil {
		return err
	}
	sum, dirs := int64(0), make(map[string]dirUsage, 2*len(folders))
	for _, folder := range folders {
		for _, part := range []string{"new", "cur"} {
			dir := filepath.Join(b.dir, folder, part)
			u, err := b.countDir(dir, b.usage.dirs[dir])
			if isGone(err) {
				continue
			}
			if err != nil {
				return err
			}
			dirs[dir] = u
			sum += u.octets
		}
	}
	b.usage.dirs, b.usage.sum, b.usage.added = dirs, sum, 0
	b.usage.counted, b.usage.took = start, b.now().Sub(start)
	return nil
}

func (b *box) countDir(dir string, known dirUsage) (dirUsage, error) {
	info, err := b.disk.Lstat(dir)
	if err != nil {
		return dirUsage{}, err
	}
	if known.settled && known.changed.Equal(info.ModTime()) {
		return known, nil
	}
	u := dirUsage{changed: info.ModTime(), settled: b.now().Sub(info.ModTime()) > coarseTime}
	names, err := b.disk.Names(dir)
	if err != nil {
		return dirUsage{}, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		size, ok := storedSize(baseOf(name))
		if !ok {
			if size, err = b.lookedUp(filepath.Join(dir, name)); err != nil {
				return dirUsage{}, err
			}
		}
		u.octets += size
	}
	return u, nil
}

// lookedUp is the size of a file whose name does not say; none, if it is gone by now.
func (b *box) lookedUp(path string) (int64, error) {
	info, err := b.disk.Lstat(path)
	if isGone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, nil
	}
	return info.Size(), nil
}
