//go:build linux

package main

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// inode is a node as FUSE asks for it.
type inode struct {
	fs.Inode
	d    *disk
	n    *node
	cuts int // that there had been when it was mounted
}

// do runs an operation. After a cut nothing is done any more for who had the file system mounted before it.
func (i *inode) do(f func() syscall.Errno) syscall.Errno {
	return i.d.do(func() syscall.Errno {
		if i.cuts != i.d.cuts {
			return syscall.EIO
		}
		return f()
	})
}

// cached is how long the kernel may remember names and attributes: nobody else changes them.
const cached = time.Minute

// mount lets a disk be seen.
func mount(d *disk, at string) error {
	keep := cached
	_, err := fs.Mount(at, &inode{d: d, n: d.nodes[rootIno], cuts: d.cuts}, &fs.Options{
		AttrTimeout: &keep, EntryTimeout: &keep,
		RootStableAttr: &fs.StableAttr{Mode: syscall.S_IFDIR, Ino: rootIno},
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, AllowOther: true, FsName: "powercut", Name: "powercut", DisableXAttrs: true, MaxWrite: 1 << 20,
			// The kernel would take a time that has changed for somebody else's change, and read what is mapped anew: after a write that
			// has failed memory that is shared by a mapping would fall back to what it was, as no kernel does with a disk that fails.
			ExplicitDataCacheControl: true,
		},
	})
	return err
}

func (i *inode) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Size, out.Nlink = i.n.ino, i.n.mode, uint64(i.n.size), uint32(i.n.links)
	out.Blocks, out.Blksize = uint64(i.n.size+511)/512, pageSize
	out.Uid, out.Gid = i.n.owner.uid, i.n.owner.gid
	out.SetTimes(nil, &i.n.changed, &i.n.changed)
}

// child is a node below this one, for the kernel.
func (i *inode) child(ctx context.Context, n *node, out *fuse.EntryOut) *fs.Inode {
	c := &inode{d: i.d, n: n, cuts: i.cuts}
	c.attributes(&out.Attr)
	return i.NewInode(ctx, c, fs.StableAttr{Mode: n.mode & syscall.S_IFMT, Ino: n.ino})
}

func (i *inode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (found *fs.Inode, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		n := i.d.nodes[i.n.names[name]]
		if n == nil {
			return syscall.ENOENT
		}
		found = i.child(ctx, n, out)
		return 0
	})
	return found, errno
}

func (i *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return i.do(func() syscall.Errno {
		i.attributes(&out.Attr)
		return 0
	})
}

func (i *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return i.do(func() syscall.Errno {
		if size, ok := in.GetSize(); ok {
			if errno := i.d.truncate(i.n, int64(size)); errno != 0 {
				return errno
			}
		}
		if mode, ok := in.GetMode(); ok {
			i.n.mode = i.n.mode&syscall.S_IFMT | mode&0o7777
		}
		if uid, ok := in.GetUID(); ok {
			i.n.owner.uid = uid
		}
		if gid, ok := in.GetGID(); ok {
			i.n.owner.gid = gid
		}
		if at, ok := in.GetMTime(); ok {
			i.n.changed = at
		}
		i.attributes(&out.Attr)
		return 0
	})
}

func (i *inode) Readdir(context.Context) (stream fs.DirStream, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		var entries []fuse.DirEntry
		for name, ino := range i.n.names {
			entries = append(entries, fuse.DirEntry{Name: name, Ino: ino, Mode: i.d.nodes[ino].mode})
		}
		stream = fs.NewListDirStream(entries)
		return 0
	})
	return stream, errno
}

// opened is an open file. One that was opened so syncs each write.
type opened struct{ synced bool }

func (i *inode) open(flags uint32) *opened {
	i.n.opens++
	return &opened{synced: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0}
}

func (i *inode) Open(_ context.Context, flags uint32) (file fs.FileHandle, _ uint32, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		if flags&syscall.O_TRUNC != 0 {
			if errno := i.d.truncate(i.n, 0); errno != 0 {
				return errno
			}
		}
		file = i.open(flags)
		return 0
	})
	return file, fuse.FOPEN_KEEP_CACHE, errno
}

func (i *inode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (made *fs.Inode, file fs.FileHandle, _ uint32, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		n, errno := i.d.create(i.n.ino, name, syscall.S_IFREG|mode)
		if errno != 0 {
			return errno
		}
		n.owner = caller(ctx)
		made = i.child(ctx, n, out)
		file = (&inode{d: i.d, n: n}).open(flags)
		return 0
	})
	return made, file, fuse.FOPEN_KEEP_CACHE, errno
}

func (i *inode) Release(context.Context, fs.FileHandle) syscall.Errno {
	return i.do(func() syscall.Errno {
		i.n.opens--
		i.d.forget(i.n.ino)
		return 0
	})
}

func (i *inode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (made *fs.Inode, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		n, errno := i.d.create(i.n.ino, name, syscall.S_IFDIR|mode&0o7777)
		if errno == 0 {
			n.owner = caller(ctx)
			made = i.child(ctx, n, out)
		}
		return errno
	})
	return made, errno
}

// caller is who asks for something.
func caller(ctx context.Context) owner {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return owner{}
	}
	return owner{c.Uid, c.Gid}
}

func (i *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (result fuse.ReadResult, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		n, errno := i.d.read(i.n, dest, off)
		result = fuse.ReadResultData(dest[:n])
		return errno
	})
	return result, errno
}

func (i *inode) Write(_ context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	errno := i.do(func() syscall.Errno {
		errno := i.d.write(i.n, data, off)
		if o, ok := f.(*opened); ok && o.synced && errno == 0 {
			return i.d.sync(i.n)
		}
		return errno
	})
	if errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

func (i *inode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return i.do(func() syscall.Errno { return i.d.sync(i.n) })
}

func (i *inode) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (made *fs.Inode, errno syscall.Errno) {
	errno = i.do(func() syscall.Errno {
		n := target.EmbeddedInode().Operations().(*inode).n
		errno := i.d.link(n, i.n.ino, name)
		if errno == 0 {
			made = i.child(ctx, n, out)
		}
		return errno
	})
	return made, errno
}

func (i *inode) Unlink(_ context.Context, name string) syscall.Errno {
	return i.do(func() syscall.Errno { return i.d.remove(i.n.ino, name, false) })
}

func (i *inode) Rmdir(_ context.Context, name string) syscall.Errno {
	return i.do(func() syscall.Errno { return i.d.remove(i.n.ino, name, true) })
}

func (i *inode) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	to := newParent.EmbeddedInode().Operations().(*inode).n
	return i.do(func() syscall.Errno { return i.d.rename(i.n.ino, name, to.ino, newName, flags != 0) })
}

// Statfs tells what the disk below has, also when it is said to be full: a program that looks before it
// writes would not get as far as the error.
func (i *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return i.do(func() syscall.Errno {
		var s syscall.Statfs_t
		if err := syscall.Statfs(i.d.dir, &s); err != nil {
			return fs.ToErrno(err)
		}
		out.FromStatfsT(&s)
		return 0
	})
}
