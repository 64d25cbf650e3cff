package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/dipylon/dipylon/plugins/serve"
)

// runHelper is what the test binary does as another process.
func runHelper(name string) int {
	var err error
	switch name {
	case "adduser":
		err = addUsers(os.Args[1], os.Args[2])
	case "plugin":
		serve.Store(New(WithLogger(serve.Logger())))
	case "deliver":
		err = deliverForever(os.Args[1])
	case "othermail":
		err = otherProgram(os.Args[1])
	default:
		err = fmt.Errorf("no helper %q", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// faultyDisk counts the steps that change something or make it durable, and asks fail before
// each, by number, name and path, whether it is to fail.
type faultyDisk struct {
	disk
	fail func(step int, name, path string) error

	mu    sync.Mutex
	steps int
	last  string // the name of the step that failed
}

func (d *faultyDisk) step(name, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	err := d.fail(d.steps, name, path)
	if err != nil {
		d.last = name
	}
	return err
}

func (d *faultyDisk) Create(path string) (file, error) {
	if err := d.step("create", path); err != nil {
		return nil, err
	}
	f, err := d.disk.Create(path)
	return &faultyFile{file: f, disk: d, path: path}, err
}

func (d *faultyDisk) Open(path string) (readable, error) {
	if err := d.step("open", path); err != nil {
		return nil, err
	}
	f, err := d.disk.Open(path)
	return &faultyReader{readable: f, disk: d, path: path}, err
}

func (d *faultyDisk) Names(dir string) ([]string, error) {
	if err := d.step("names", dir); err != nil {
		return nil, err
	}
	return d.disk.Names(dir)
}

func (d *faultyDisk) Lstat(path string) (fs.FileInfo, error) {
	if err := d.step("lstat", path); err != nil {
		return nil, err
	}
	return d.disk.Lstat(path)
}

func (d *faultyDisk) Mkdir(path string) error {
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	return d.disk.Mkdir(path)
}

func (d *faultyDisk) Link(from, to string) error {
	if err := d.step("link", to); err != nil {
		return err
	}
	return d.disk.Link(from, to)
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	return d.disk.Rename(from, to)
}

func (d *faultyDisk) Remove(path string) error {
	if err := d.step("remove", path); err != nil {
		return err
	}
	return d.disk.Remove(path)
}

func (d *faultyDisk) SyncDir(path string) error {
	if err := d.step("syncdir", path); err != nil {
		return err
	}
	return d.disk.SyncDir(path)
}

type faultyFile struct {
	file
	disk *faultyDisk
	path string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	if err := f.disk.step("write", f.path); err != nil {
		n, _ := f.file.Write(p[:len(p)/2])
		return n, err
	}
	return f.file.Write(p)
}

func (f *faultyFile) Sync() error {
	if err := f.disk.step("sync", f.path); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Close() error {
	err := f.disk.step("close", f.path)
	if closing := f.file.Close(); err == nil {
		err = closing
	}
	return err
}

type faultyReader struct {
	readable
	disk *faultyDisk
	path string
}

func (f *faultyReader) Read(p []byte) (int, error) {
	if err := f.disk.step("read", f.path); err != nil {
		return 0, err
	}
	return f.readable.Read(p)
}

func (f *faultyReader) Close() error {
	return errors.Join(f.disk.step("close after reading", f.path), f.readable.Close())
}
