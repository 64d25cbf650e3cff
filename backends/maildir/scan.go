package maildir

import (
	"context"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// record is one message of a folder as a scan saw it.
type record struct {
	arrived int64  // microseconds since 1970; 0: the name does not say
	name    string // base and flags
	base    int    // length of the base
	cur     bool   // in cur, or else in new
}

func (r record) id() string { return r.name[:r.base] }

func (r record) path(dir string) string {
	if r.cur {
		return filepath.Join(dir, "cur", r.name)
	}
	return filepath.Join(dir, "new", r.name)
}

// compare orders records: oldest first, then by name.
func compare(arrivedA int64, idA string, arrivedB int64, idB string) int {
	switch {
	case arrivedA < arrivedB:
		return -1
	case arrivedA > arrivedB:
		return 1
	}
	return strings.Compare(idA, idB)
}

// listing is the messages of a folder, oldest first, each id once.
type listing []record

func (l listing) find(id string) (record, bool) {
	i, found := l.index(id)
	if !found {
		return record{}, false
	}
	return l[i], true
}

func (l listing) index(id string) (int, bool) {
	when := arrived(id)
	i := sort.Search(len(l), func(i int) bool { return compare(l[i].arrived, l[i].id(), when, id) >= 0 })
	return i, i < len(l) && l[i].id() == id
}

// folder is one folder of a mailbox: an inbox, or a Maildir++ folder.
type folder struct {
	disk fileSystem
	dir  string
}

// mostScans is how often a folder is read when it changes all the time; tick is how far apart
// two changes must be to have different times on a file system with coarse clocks.
const (
	mostScans = 4
	tick      = 20 * time.Millisecond
)

// scan reads the folder's names.
//
// While a folder is read, other programs rename files in it, and the system may then give a
// file twice or not at all. So it is read again until nothing has changed meanwhile; when
// that does not come to an end, all that was seen is taken together: a message too many shows
// when it is fetched, one too few would be missing without a sign.
func (f folder) scan(ctx context.Context) (listing, error) {
	var seen listing
	for range mostScans {
		if err := ctx.Err(); err != nil {
			return nil, backends.Fail(backends.Temporary, "reading a folder: %w", err)
		}
		start := time.Now()
		last := f.changed()
		fresh, err := f.records()
		if err != nil {
			return nil, storageFailure("reading a folder", err)
		}
		seen = append(seen, fresh...)
		if after := f.changed(); after == last && start.Sub(time.Unix(0, max(after.new, after.cur))) > tick {
			return order(fresh), nil
		}
	}
	return order(seen), nil
}

// changes are when new and cur changed last, in nanoseconds since 1970; 0: they are not there.
type changes struct{ new, cur int64 }

func (f folder) changed() (c changes) {
	if info, err := f.disk.Lstat(filepath.Join(f.dir, "new")); err == nil {
		c.new = info.ModTime().UnixNano()
	}
	if info, err := f.disk.Lstat(filepath.Join(f.dir, "cur")); err == nil {
		c.cur = info.ModTime().UnixNano()
	}
	return c
}

// records reads new before cur: what moves on in between is seen twice, and never missed.
func (f folder) records() (listing, error) {
	fresh, err := f.disk.Names(filepath.Join(f.dir, "new"))
	if err != nil && !isGone(err) {
		return nil, err
	}
	cur, err := f.disk.Names(filepath.Join(f.dir, "cur"))
	if err != nil && !isGone(err) {
		return nil, err
	}
	l := make(listing, 0, len(fresh)+len(cur))
	return l.add(together(fresh), false).add(together(cur), true), nil
}

// namesTogether is how many names of a folder are kept as one string.
const namesTogether = 1024

// together makes names parts of a few strings. A session keeps the names of its folder, and most sessions are idle: each
// name by itself would be an object that the collector visits, with gaps around it in memory.
func together(names []string) []string {
	for some := range slices.Chunk(names, namesTogether) {
		all := strings.Join(some, "")
		for i, name := range some {
			some[i], all = all[:len(name)], all[len(name):]
		}
	}
	return names
}

func (l listing) add(names []string, cur bool) listing {
	for _, name := range names {
		base := baseOf(name)
		if base == "" || base[0] == '.' {
			continue // no message, https://cr.yp.to/proto/maildir.html
		}
		l = append(l, record{arrived: arrived(base), name: name, base: len(base), cur: cur})
	}
	return l
}

// order sorts records, and keeps one of those with the same id: that in cur, for messages move
// there from new and not back.
func order(l listing) listing {
	slices.SortFunc(l, func(a, b record) int {
		if c := compare(a.arrived, a.id(), b.arrived, b.id()); c != 0 || a.cur == b.cur {
			return c
		}
		if a.cur {
			return -1
		}
		return 1
	})
	return slices.CompactFunc(l, func(a, b record) bool { return a.id() == b.id() })
}
