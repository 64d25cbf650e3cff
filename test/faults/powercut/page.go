//go:build linux

package main

import (
	"bytes"
	"cmp"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"syscall"
	"time"
)

const pageSize, sectorSize = 4096, 512

// page is one that is not, or not as it is seen, on the disk.
type page struct {
	seen     [pageSize]byte
	versions []version // since the last sync, the newest last; none: a sync has failed, and it is clean
}

// version is a state of a page.
type version struct {
	seq   uint64
	data  []byte
	valid int64 // octets within the file's length
}

// versionsMost bounds a page's versions. What is left out is in the middle.
const versionsMost = 6

// truncation is a length that was set.
type truncation struct {
	seq  uint64
	size int64
}

// floor is how many octets of the file on the disk are still seen.
func (n *node) floor() int64 {
	floor := int64(math.MaxInt64)
	for _, t := range n.truncated {
		floor = min(floor, t.size)
	}
	return floor
}

// base is a page as it is on the disk, as far as it is still seen.
func (d *disk) base(n *node, at int64) (data [pageSize]byte, err error) {
	end := min(pageSize, n.floor()-at*pageSize)
	if end <= 0 {
		return data, nil
	}
	file, err := d.file(n)
	if err != nil {
		return data, err
	}
	_, err = file.ReadAt(data[:end], at*pageSize)
	if err == io.EOF {
		err = nil
	}
	return data, err
}

// read reads what is seen.
func (d *disk) read(n *node, out []byte, off int64) (int, syscall.Errno) {
	out = out[:max(0, min(int64(len(out)), n.size-off))]
	for done := 0; done < len(out); {
		at, within := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		if p := n.pages[at]; p != nil {
			done += copy(out[done:], p.seen[within:])
			continue
		}
		data, err := d.base(n, at)
		if err != nil {
			return done, syscall.EIO
		}
		done += copy(out[done:], data[within:])
	}
	return len(out), 0
}

// write changes what is seen.
func (d *disk) write(n *node, data []byte, off int64) syscall.Errno {
	if d.chance(d.writes) {
		return syscall.EIO
	}
	if d.full && off+int64(len(data)) > n.size {
		return syscall.ENOSPC
	}
	d.seq++
	n.changed = time.Now()
	n.size = max(n.size, off+int64(len(data)))
	for len(data) > 0 {
		at, within := off/pageSize, off%pageSize
		p, err := d.page(n, at)
		if err != nil {
			return syscall.EIO
		}
		done := copy(p.seen[within:], data)
		p.add(d.seq, min(pageSize, n.size-at*pageSize))
		data, off = data[done:], off+int64(done)
	}
	d.writeBackOld()
	return 0
}

// page brings a page into memory.
func (d *disk) page(n *node, at int64) (*page, error) {
	if p := n.pages[at]; p != nil {
		return p, nil
	}
	data, err := d.base(n, at)
	if err != nil {
		return nil, err
	}
	p := &page{seen: data}
	n.pages[at] = p
	d.dirty += pageSize
	return p, nil
}

func (p *page) add(seq uint64, valid int64) {
	if len(p.versions) == versionsMost {
		p.versions = slices.Delete(p.versions, versionsMost/2, versionsMost/2+1)
	}
	p.versions = append(p.versions, version{seq, bytes.Clone(p.seen[:valid]), valid})
}

// truncate sets the length.
func (d *disk) truncate(n *node, size int64) syscall.Errno {
	if size == n.size {
		return 0
	}
	d.seq++
	n.changed = time.Now()
	last := size / pageSize
	for at, p := range n.pages {
		switch {
		case at > last || at == last && size%pageSize == 0:
			delete(n.pages, at)
			d.dirty -= pageSize
		case at == last:
			clear(p.seen[size%pageSize:])
			p.add(d.seq, min(size-at*pageSize, pageSize))
		}
	}
	n.truncated = append(n.truncated, truncation{d.seq, size})
	n.size = size
	return 0
}

// clean says that all that is seen of a file is on the disk.
func (n *node) clean() bool { return len(n.pages) == 0 && len(n.truncated) == 0 }

// writeBack makes a file's content durable, as it was after a change.
func (d *disk) writeBack(n *node, until uint64) syscall.Errno {
	if n.clean() {
		return 0
	}
	file, err := d.file(n)
	if err != nil {
		return syscall.EIO
	}
	for len(n.truncated) > 0 && n.truncated[0].seq <= until {
		if file.Truncate(n.truncated[0].size) != nil {
			return syscall.EIO
		}
		n.truncated = n.truncated[1:]
	}
	for at, p := range n.pages {
		newest := -1
		for i, v := range p.versions {
			if v.seq <= until {
				newest = i
			}
		}
		if newest < 0 {
			continue
		}
		if _, err := file.WriteAt(p.versions[newest].data, at*pageSize); err != nil {
			return syscall.EIO
		}
		if p.versions = slices.Delete(p.versions, 0, newest+1); len(p.versions) == 0 {
			delete(n.pages, at)
			d.dirty -= pageSize
		}
	}
	return 0
}

// lose is a failed sync: what should have been written is clean now. A folder's names stay in the journal,
// which the kernel stops at an error.
func (n *node) lose() {
	for _, p := range n.pages {
		p.versions = nil
	}
}

// inOrder are nodes by their numbers: what chance decides must not depend on a map.
func inOrder(nodes map[uint64]*node) []*node {
	return slices.SortedFunc(maps.Values(nodes), func(a, b *node) int { return cmp.Compare(a.ino, b.ino) })
}

// lottery decides what of a file's content has got to the disk, and lets that be seen.
func (n *node) lottery(d *disk, survives float64) error {
	if n.clean() {
		return nil
	}
	file, err := d.file(n)
	if err != nil {
		return err
	}
	from, until, err := n.drawLength(d, file, survives)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	for _, at := range slices.Sorted(maps.Keys(n.pages)) {
		candidates := slices.DeleteFunc(slices.Clone(n.pages[at].versions), func(v version) bool { return v.seq < from || v.seq >= until })
		d.dirty -= pageSize
		if len(candidates) == 0 || !d.chance(survives) {
			continue
		}
		v := candidates[len(candidates)-1]
		if survives < 1 {
			v = candidates[d.rng.IntN(len(candidates))]
		}
		if err := n.putPage(d, file, at, v, survives); err != nil {
			return err
		}
		size = max(size, at*pageSize+v.valid)
	}
	n.pages, n.truncated, n.size = map[int64]*page{}, nil, size
	return file.Truncate(size)
}

// drawLength decides how many of the lengths that were set have got to the disk. Content can be there that was
// written from the one change to the other.
func (n *node) drawLength(d *disk, file *os.File, survives float64) (from, until uint64, err error) {
	until = math.MaxUint64
	for _, t := range n.truncated {
		if !d.chance(survives) {
			return from, t.seq, nil
		}
		if err := file.Truncate(t.size); err != nil {
			return 0, 0, err
		}
		from = t.seq
	}
	return from, until, nil
}

// putPage writes a page, which may be torn.
func (n *node) putPage(d *disk, file *os.File, at int64, v version, survives float64) error {
	torn := survives < 1 && d.rng.IntN(4) == 0
	for off := int64(0); off < v.valid; off += sectorSize {
		if torn && d.rng.IntN(2) == 0 {
			continue
		}
		if _, err := file.WriteAt(v.data[off:min(off+sectorSize, v.valid)], at*pageSize+off); err != nil {
			return err
		}
	}
	return nil
}
