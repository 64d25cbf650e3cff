//go:build linux

package main

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// change is a change of names, in the order in which they come to the disk.
type change struct {
	seq    uint64
	parent uint64
	name   string
	ino    uint64 // what gets the name; 0: the name is removed

	// of a rename, where the name was before
	fromParent uint64
	fromName   string
	// ordered says that the content comes before the name.
	ordered bool
}

func (d *disk) note(c change) {
	d.seq++
	c.seq = d.seq
	d.journal = append(d.journal, c)
	d.nodes[c.parent].changed = time.Now()
	if from := d.nodes[c.fromParent]; from != nil {
		from.changed = time.Now()
	}
	d.writeBackOld()
}

// commitNames makes the names in a folder durable, and what comes before them.
func (d *disk) commitNames(dir uint64) {
	for i := len(d.journal) - 1; i >= 0; i-- {
		if c := d.journal[i]; c.parent == dir || c.fromParent == dir {
			d.commit(i + 1)
			return
		}
	}
}

// commit makes the first changes of names durable.
func (d *disk) commit(changes int) {
	done := d.journal[:changes]
	d.journal = slices.Clone(d.journal[changes:])
	var unnamed []uint64
	for _, c := range done {
		unnamed = append(unnamed, d.apply(c)...)
	}
	for _, ino := range unnamed {
		d.forget(ino)
	}
}

// apply makes a change durable, and says what has lost a name by it.
func (d *disk) apply(c change) (unnamed []uint64) {
	if c.ordered {
		d.writeBack(d.nodes[c.ino], c.seq)
	}
	if c.fromParent != 0 {
		unnamed = append(unnamed, d.name(c.fromParent, c.fromName, 0))
	}
	return append(unnamed, d.name(c.parent, c.name, c.ino))
}

// name gives a durable name to something, or to nothing (0), and says what had it.
func (d *disk) name(parent uint64, name string, ino uint64) (before uint64) {
	dir := d.nodes[parent]
	before = dir.durable[name]
	if ino == 0 {
		delete(dir.durable, name)
	} else {
		dir.durable[name] = ino
		d.nodes[ino].onDisk++
	}
	if before != 0 {
		d.nodes[before].onDisk--
	}
	return before
}

// forget removes what has no name any more, nowhere, and that nobody has open.
func (d *disk) forget(ino uint64) {
	n := d.nodes[ino]
	if n == nil || n.links > 0 || n.onDisk > 0 || n.opens > 0 ||
		slices.ContainsFunc(d.journal, func(c change) bool { return c.ino == ino || c.parent == ino || c.fromParent == ino }) {
		return
	}
	delete(d.nodes, ino)
	if !n.isDir() {
		d.dirty -= int64(len(n.pages)) * pageSize
		d.close(n)
		_ = os.Remove(d.path(ino))
	}
}

func (d *disk) link(n *node, parent uint64, name string) syscall.Errno {
	dir := d.nodes[parent]
	if _, is := dir.names[name]; is {
		return syscall.EEXIST
	}
	if d.full {
		return syscall.ENOSPC
	}
	dir.names[name] = n.ino
	n.links++
	d.note(change{parent: parent, name: name, ino: n.ino})
	return 0
}

func (d *disk) remove(parent uint64, name string, isDir bool) syscall.Errno {
	dir := d.nodes[parent]
	n := d.nodes[dir.names[name]]
	switch {
	case n == nil:
		return syscall.ENOENT
	case isDir && !n.isDir():
		return syscall.ENOTDIR
	case !isDir && n.isDir():
		return syscall.EISDIR
	case len(n.names) > 0:
		return syscall.ENOTEMPTY
	}
	delete(dir.names, name)
	n.links--
	d.note(change{parent: parent, name: name})
	return 0
}

// rename moves a name. It takes another one's place (rename(2)), unless that must not be there.
func (d *disk) rename(fromParent uint64, fromName string, parent uint64, name string, alone bool) syscall.Errno {
	from, to := d.nodes[fromParent], d.nodes[parent]
	n, there := d.nodes[from.names[fromName]], d.nodes[to.names[name]]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n == there:
		return 0
	case there != nil && alone:
		return syscall.EEXIST
	case there != nil && len(there.names) > 0:
		return syscall.ENOTEMPTY
	}
	delete(from.names, fromName)
	to.names[name] = n.ino
	if there != nil {
		there.links--
	}
	d.note(change{
		parent: parent, name: name, ino: n.ino, fromParent: fromParent, fromName: fromName,
		ordered: there != nil && !n.isDir(),
	})
	return 0
}
