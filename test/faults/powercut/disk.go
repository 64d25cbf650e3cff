//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// rootIno is the root folder's number.
const rootIno = 1

// disk is the file system, without FUSE: what is seen now, and what a cut would leave of it.
type disk struct {
	mu      sync.Mutex
	dir     string // a file for each file, with what is durable of it
	rng     *rand.Rand
	nodes   map[uint64]*node
	last    uint64 // the last number that was given to a file
	seq     uint64 // of the last change
	journal []change
	dirty   int64   // octets of pages in memory
	opened  []*node // whose file is open, the one that was opened first in front

	cuts int

	frozen, full, ignore bool
	writes, syncs        float64 // how many fail
}

// node is a file or a folder.
type node struct {
	ino     uint64
	mode    uint32
	owner   owner
	changed time.Time
	links   int // names that are seen
	opens   int

	// of a folder
	names, durable map[string]uint64

	// of a file
	size      int64
	onDisk    int      // names that are durable
	file      *os.File // what is durable; nil: it is not open
	pages     map[int64]*page
	truncated []truncation
}

// owner is whose it is. Nobody is kept out by it, but there are programs that want to own what they work on.
type owner struct{ uid, gid uint32 }

func (n *node) isDir() bool { return n.mode&syscall.S_IFMT == syscall.S_IFDIR }

// newDisk is an empty one. Its files are in a folder that nobody else uses.
func newDisk(dir string, seed uint64) *disk {
	d := &disk{dir: dir, rng: rand.New(rand.NewPCG(seed, 0)), nodes: map[uint64]*node{}, last: rootIno}
	d.nodes[rootIno] = folder(rootIno, 0o755)
	return d
}

func folder(ino uint64, permissions uint32) *node {
	return &node{
		ino: ino, mode: syscall.S_IFDIR | permissions, links: 1, changed: time.Now(),
		names: map[string]uint64{}, durable: map[string]uint64{},
	}
}

// do runs an operation, unless the power is cut.
func (d *disk) do(f func() syscall.Errno) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.frozen {
		return syscall.EIO
	}
	return f()
}

func (d *disk) chance(p float64) bool { return p > 0 && d.rng.Float64() < p }

// create makes a file, or a folder.
func (d *disk) create(parent uint64, name string, mode uint32) (made *node, errno syscall.Errno) {
	dir := d.nodes[parent]
	if _, is := dir.names[name]; is {
		return nil, syscall.EEXIST
	}
	if d.full {
		return nil, syscall.ENOSPC
	}
	ino := d.last + 1
	if mode&syscall.S_IFMT == syscall.S_IFDIR {
		made = folder(ino, mode&0o7777)
	} else {
		file, err := os.OpenFile(d.path(ino), os.O_CREATE|os.O_RDWR|os.O_EXCL, 0o600)
		if err != nil {
			return nil, syscall.EIO
		}
		made = &node{ino: ino, mode: syscall.S_IFREG | mode&0o7777, links: 1, changed: time.Now(), pages: map[int64]*page{}}
		d.hold(made, file)
	}
	d.last = ino
	d.nodes[ino] = made
	dir.names[name] = ino
	d.note(change{parent: parent, name: name, ino: ino})
	return made, 0
}

// openMost is how many files are open at a time: a disk has more of them than a process may open.
const openMost = 200

// file is what is durable of a file, open until so many others were opened.
func (d *disk) file(n *node) (*os.File, error) {
	if n.file != nil {
		return n.file, nil
	}
	file, err := os.OpenFile(d.path(n.ino), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	d.hold(n, file)
	return file, nil
}

func (d *disk) hold(n *node, file *os.File) {
	if len(d.opened) >= openMost {
		d.close(d.opened[0])
	}
	n.file = file
	d.opened = append(d.opened, n)
}

func (d *disk) close(n *node) {
	if n.file == nil {
		return
	}
	_ = n.file.Close() // nothing of it is synced: the kernel below is not what fails here
	n.file = nil
	d.opened = slices.DeleteFunc(d.opened, func(o *node) bool { return o == n })
}

func (d *disk) path(ino uint64) string { return filepath.Join(d.dir, fmt.Sprint(ino)) }

// sync is fsync: of a file its content, of a folder the names in it.
func (d *disk) sync(n *node) syscall.Errno {
	if d.ignore {
		return 0
	}
	if d.chance(d.syncs) {
		n.lose()
		return syscall.EIO
	}
	if n.isDir() {
		d.commitNames(n.ino)
		return 0
	}
	return d.writeBack(n, d.seq)
}

// dirtyMost is how much that is not synced is kept in memory, and namesMost how many changes of names.
const dirtyMost, namesMost = 64 << 20, 10_000

// writeBackOld writes back as a kernel does that has much to write. Nobody may rely on it.
func (d *disk) writeBackOld() {
	if d.dirty > dirtyMost {
		d.settle()
	}
	if len(d.journal) > namesMost {
		d.commit(namesMost / 2)
	}
}

// settle makes everything durable.
func (d *disk) settle() {
	for _, n := range d.nodes {
		if !n.isDir() {
			d.writeBack(n, d.seq)
		}
	}
	d.commit(len(d.journal))
}

// cut loses what is not durable, but for what has got to the disk by chance. Nothing is open afterwards.
func (d *disk) cut() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cuts++
	// Now and then nothing has got there, or everything: both are easy for a lucky program.
	survives := [...]float64{0, 1, d.rng.Float64(), d.rng.Float64()}[d.rng.IntN(4)]
	d.commit(int(survives * float64(len(d.journal)+1) * 0.999))
	d.journal = nil
	kept := map[uint64]*node{}
	d.reach(d.nodes[rootIno], kept)
	for ino, n := range d.nodes {
		if kept[ino] == nil && !n.isDir() {
			d.dirty -= int64(len(n.pages)) * pageSize
			d.close(n)
			if err := os.Remove(d.path(ino)); err != nil {
				return err
			}
		}
	}
	d.nodes = kept
	for _, n := range inOrder(kept) {
		if n.isDir() {
			continue
		}
		if err := n.lottery(d, survives); err != nil {
			return err
		}
	}
	d.frozen, d.full, d.writes, d.syncs = false, false, 0, 0
	return nil
}

// reach collects what durable names lead to, and lets it be seen under those alone.
func (d *disk) reach(dir *node, kept map[uint64]*node) {
	kept[dir.ino] = dir
	dir.names, dir.opens, dir.links = map[string]uint64{}, 0, 1
	for name, ino := range dir.durable {
		n := d.nodes[ino]
		dir.names[name] = ino
		switch {
		case n.isDir():
			d.reach(n, kept)
		case kept[ino] == nil:
			kept[ino] = n
			n.opens, n.links = 0, 1
		default:
			n.links++
		}
	}
}
